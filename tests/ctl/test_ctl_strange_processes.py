# SPDX-License-Identifier: GPL-2.0-or-later
"""doctor and ls, as root, with processes and files that someone without privilege made to trouble or mislead them."""

import json
import os
import re
import resource
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.backends import GIB
from helpers.control import DONE, FOUND
from test_ctl_earlier_mounts import stop

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.memory_only("processes: the backend makes no difference")]

PREPARE = """
import ctypes, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
def place(address, length, flags, fd=-1):
    at = libc.mmap(ctypes.c_void_p(address), ctypes.c_size_t(length), 3, flags, fd, ctypes.c_long(0))
    assert at != ctypes.c_void_p(-1).value
    return at
SHARED, PRIVATE, FIXED, ANONYMOUS, NORESERVE = 0x1, 0x2, 0x10, 0x20, 0x4000
fd = os.open(sys.argv[1], os.O_RDWR)
"""
HOLD = PREPARE + """
# 2 MiB that are aligned, so that all is well.
at = place(0, 4 << 20, PRIVATE | ANONYMOUS | NORESERVE)
place((at + (2 << 20) - 1) // (2 << 20) * (2 << 20), 2 << 20, SHARED | FIXED, fd)
"""
# The same page of the file again and again, so that the kernel cannot merge the mappings, all bound to node 0.
MANY = PREPARE + """
COUNT = 60000
at = place(0, COUNT * 4096, PRIVATE | ANONYMOUS | NORESERVE)
for i in range(COUNT):
    place(at + i * 4096, 4096, SHARED | FIXED, fd)
nodes = ctypes.c_ulong(1)
assert libc.syscall(237, ctypes.c_void_p(at), ctypes.c_ulong(COUNT * 4096), 2, ctypes.byref(nodes), 64, 0) == 0
"""
# The file and another one in turn, where very many mounts are seen, and that of the file is not.
ALTERNATE = PREPARE + """
COUNT = 20000
other = os.memfd_create("other")
os.ftruncate(other, 4096)
assert libc.unshare(0x20000) == 0 and libc.mount(b"none", b"/", None, 0x44000, None) == 0
assert libc.umount2(os.fsencode(sys.argv[2]), 2) == 0
for _ in range(2000):
    assert libc.mount(b"/proc", os.fsencode(sys.argv[3]), None, 0x1000, None) == 0
at = place(0, COUNT * 4096, PRIVATE | ANONYMOUS | NORESERVE)
for i in range(COUNT):
    place(at + i * 4096, 4096, SHARED | FIXED, (fd, other)[i % 2])
os.close(fd)
"""
# It claims that its arguments are 64 GiB of zeroes (PR_SET_MM_MAP).
LONG = PREPARE + """
at = place(0, 64 << 30, PRIVATE | ANONYMOUS | NORESERVE)
ctypes.memmove(at, b"qemu-system-x86_64", 18)
mapping = place(0, (4 << 20) + 4096, PRIVATE | ANONYMOUS | NORESERVE)
place((mapping + (2 << 20)) // (2 << 20) * (2 << 20) + 4096, 2 << 20, SHARED | FIXED, fd)
stat = [0, 0] + list(open("/proc/self/stat").read().rpartition(")")[2].split())
code, end_code, stack, data, end_data, brk = (int(stat[i]) for i in (25, 26, 27, 44, 45, 46))
values = struct.pack("11QQII", code, end_code, data, end_data, brk, brk, stack, at, at + (64 << 30),
                     at, at, 0, 0, 0xffffffff)
assert libc.prctl(35, 14, values, len(values), 0) == 0, os.strerror(ctypes.get_errno())
"""


@contextmanager
def process(code, *arguments):
    with subprocess.Popen([sys.executable, "-c", code + "\nprint(flush=True)\nsys.stdin.read()", *map(str, arguments)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"\n"
            yield child.pid
        finally:
            child.kill()


def limits(ctl, seconds, memory):
    """AddressSanitizer reserves terabytes of addresses: such a build has only the limit of time."""
    sanitized = b"__asan_init" in Path(ctl.program).read_bytes()

    def apply():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        if not sanitized:
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    return apply


def test_process_with_very_many_mappings(ctl, far):
    path = far.make_file("vm1", size=far.unit)
    with process(MANY, path) as pid:
        (file,) = ctl.json("ls", far.root, preexec_fn=limits(ctl, 10, GIB))["files"]
    (user,) = file["mapped_by"]
    assert (user["pid"], user["mapped_bytes"], user["unmet_nodes"]) == (pid, 60000 * 4096, "9")


def test_process_with_very_many_mappings_and_mounts(ctl, fs, work):
    """Its mounts are not read again for each mapping by an earlier mount."""
    path = fs.make_file("vm1", size=fs.unit)
    place = work / "place"
    place.mkdir()
    with process(ALTERNATE, path, fs.root, place) as pid:
        stop(fs.daemon)
        fs.daemon.start()
        (file,) = ctl.json("ls", fs.root, preexec_fn=limits(ctl, 10, GIB))["files"]
    (user,) = file["mapped_by"]
    assert (user["pid"], user["mapped_bytes"], user["earlier_mount"]) == (pid, 10000 * 4096, True)


def test_process_that_claims_to_have_endless_arguments(ctl, fs):
    path = fs.make_file("vm1", size=fs.unit)
    with process(LONG, path) as pid:
        done = ctl.run("doctor", "--config", fs.daemon.config, preexec_fn=limits(ctl, 10, GIB))
    assert done.returncode == FOUND, done
    assert f"({pid}) maps vm1 at an address that allows pages of 4K only" in done.stdout
    assert "object-add" in done.stdout  # the beginning of the arguments is read


def alone(ctl, *command, prepare=":"):
    """Runs @command where other dmemfs than that of the test are not mounted, after the shell's commands @prepare."""
    others = f"findmnt -rno TARGET -t fuse.dmemfs | grep -v '^{ctl.work}/' | xargs -r umount -l"
    script = f'{others}; {prepare} && exec "$@"'
    return subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *map(str, command)], cwd=ctl.work, timeout=30,
                          capture_output=True, text=True, check=False)


def problems(done):
    """What doctor calls a problem, but for a host that cannot have guests: that is not of dmemfs."""
    assert done.returncode in (DONE, FOUND), done
    return re.findall(r"^problem +(?! |kvm ).*", done.stdout, re.M)


def test_user_who_may_not_see_where_memory_lies(ctl, fs):
    """doctor does not call fine what it did not examine, and a name does not steer the terminal."""
    os.chmod(fs.root, 0o755)
    fs.make_file("a\n\x1b[31m", size=fs.unit)
    done = alone(ctl, "setpriv", "--reuid=65534", ctl.program, "doctor", "--config", fs.daemon.config)
    assert not problems(done) and r"a\x0a\x1b[31m: dmemfs.extents" in done.stdout, done
    assert "direct-io" not in done.stdout and "vfio" not in done.stdout and "\x1b" not in done.stdout


@pytest.mark.parametrize("below", [".", "tenant"])
def test_mount_that_is_bound_to_another_place(ctl, fs, below):
    """It counts once, also when a container has only a directory of it."""
    os.mkdir(fs / "tenant")
    path = fs.make_file("vm1", size=fs.unit)
    (ctl.work / "place").mkdir()
    bind = f"mount --bind {fs / below} place"
    with process(HOLD, path) as pid:
        listed = alone(ctl, ctl.program, "ls", "--json", prepare=bind)
        done = alone(ctl, ctl.program, "doctor", "--config", fs.daemon.config, prepare=bind)
    assert listed.returncode == DONE, listed
    (file,) = json.loads(listed.stdout)["files"]
    assert file["path"] == "vm1" and [user["pid"] for user in file["mapped_by"]] == [pid]
    assert not problems(done) and done.stdout.count("served by dmemfsd") == 1, done
    assert "1 mapped files: all mappings" in done.stdout and "/place" not in done.stdout
