# SPDX-License-Identifier: GPL-2.0-or-later
"""Mounts and processes as /proc shows them. No function here accesses the file system under test, so none can hang."""

import ctypes
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

FUSECTL = Path("/sys/fs/fuse/connections")
NO_HOLDERS = "nobody that /proc shows"


def mounts_under(directory):
    """{mount point: minor device number} of everything mounted in or below @directory, deepest last."""
    prefix = str(directory).rstrip("/")
    found = {}
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        point = fields[4].encode().decode("unicode_escape")
        if point == prefix or point.startswith(prefix + "/"):
            found[point] = int(fields[2].split(":")[1])
    return found


def processes_naming(text):
    """Pids of processes whose command line contains @text, without this one."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if text.encode() in (entry / "cmdline").read_bytes() and not is_zombie(int(entry.name)):
                    found.append(int(entry.name))
    return found


def state_of(pid):
    """The letter of proc(5): R, S, D, T, Z; None when there is no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def is_zombie(pid):
    return state_of(pid) == "Z"


def freeze(pid):
    """Sends SIGSTOP and waits until all threads have stopped: until then one of them may still answer a request."""
    os.kill(pid, signal.SIGSTOP)
    while any(state_of(task.name) not in ("T", None) for task in Path(f"/proc/{pid}/task").iterdir()):
        time.sleep(0.001)


def descriptors_of(pid):
    """Its descriptors and what they refer to, without those that it closes meanwhile."""
    found = {}
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found[entry] = os.readlink(entry)
    return found


def threads_of(pid, name):
    """What the file @name in /proc/PID/task/TID says, for each thread, without those that end meanwhile."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            found[task.name] = (task / name).read_text()
    return found


def computed(pid):
    """CPU time of all its threads, in seconds."""
    return sum(int(text.split()[0]) for text in threads_of(pid, "schedstat").values()) / 1e9


def resident(pid):
    """Bytes of anonymous memory that are resident."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


def children_of(pid):
    return [int(child) for text in threads_of(pid, "children").values() for child in text.split()]


def holders_of(mountpoint):
    """Which processes keep the mount busy, and with what, as text."""
    lines = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            links = {entry / "cwd": os.readlink(entry / "cwd"), **descriptors_of(entry.name)}
            held = [f"{link.name} -> {path}" for link, path in links.items() if path.startswith(mountpoint)]
            held += [line for line in (entry / "maps").read_text().splitlines() if mountpoint in line]
            lines += [f"process {entry.name}: {what}" for what in held]
    return "\n".join(lines) or NO_HOLDERS


def stacks_of(pid, user=True):
    """
    Where each thread of the process is, in the kernel and (@user, where there is gdb) in user space. gdb is kept from a
    process that waits for a FUSE reply: it cannot stop there, and would stop for good once the reply came.
    """
    text = [f"== process {pid}: {_read(f'/proc/{pid}/cmdline')}"]
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            text.append(f"-- thread {task.name} {_read(task / 'comm')} state {state_of(task.name)}")
            text.append(_read(task / "syscall"))
            text.append(_read(task / "stack"))
    if user and not any("request_wait_answer" in part for part in text):
        text.append(_user_stacks(pid))
    return "\n".join(text) + "\n"


def _user_stacks(pid):
    gdb = ["gdb", "-p", str(pid), "-batch", "-nx", "-ex", "set pagination off", "-ex", "thread apply all bt"]
    try:
        return subprocess.run(gdb, capture_output=True, text=True, errors="replace", timeout=20, check=False).stdout
    except FileNotFoundError:
        return "(no gdb)"
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)  # gdb may have died with its victim stopped
        return "(gdb took more than 20 s)"


def _read(path):
    try:
        return Path(path).read_bytes().decode(errors="replace").replace("\0", " ").strip()
    except OSError as error:
        return f"({error.strerror})"


def abort_connection(minor):
    """Aborts the FUSE connection: all waiting requests fail, and their callers can be killed."""
    if not (FUSECTL / str(minor)).is_dir():
        subprocess.run(["mount", "-t", "fusectl", "fusectl", str(FUSECTL)], check=False)
    with suppress(OSError):
        (FUSECTL / str(minor) / "abort").write_text("1")


def mount_silent_fuse(directory):
    """
    Mounts a FUSE whose daemon answers nothing, as one that hangs: requests block for ever. Returns its connection, to be closed: then
    they fail.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    fuse = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0"
    if libc.mount(b"silent", os.fsencode(directory), b"fuse.silent", 0, options.encode()):
        raise OSError(ctypes.get_errno(), "mount", str(directory))
    return fuse


def lazy_unmount(directory):
    """Unmounts everything below @directory, also mounts that are dead."""
    for point, minor in reversed(list(mounts_under(directory).items())):
        abort_connection(minor)
        subprocess.run(["umount", "-l", point], check=False)
