# SPDX-License-Identifier: GPL-2.0-or-later
"""Start and stop: when READY is sent, how a mount ends, what a crash leaves behind, and which daemons are refused."""

import errno
import hashlib
import os
import re
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from helpers.children import Child
from helpers.daemon import Daemon
from helpers.expect import fails_with, refused
from helpers.mount import wait_until
from helpers.processes import processes_naming, state_of
from helpers.syscalls import Mapping, make_mount_namespace, opened

pytestmark = pytest.mark.page_sizes("2M")


NOBODY = 65534


def run(daemon, *options):
    """Runs dmemfsd with the configuration of @daemon until it ends."""
    return subprocess.run(daemon.command(*options), capture_output=True, text=True, env=daemon.environment(),
                          timeout=30, check=False)


def daemonised(daemon):
    """The pid of the daemon that runs in the background with this configuration."""
    pids = processes_naming(str(daemon.config))
    assert len(pids) == 1
    return pids[0]


def settings_of(daemon):
    """The keys of [daemon], to start another one like it."""
    lines = daemon.config.read_text().split("\n[region")[0].splitlines()[1:]
    return dict(line.split("=", 1) for line in lines if line)


@pytest.fixture
def holder(fs):
    """A process that maps a file as a guest does, without an open descriptor."""

    def guest(pipe):
        with opened(fs.make_file("vm1", size=fs.unit)) as fd:
            mapping = Mapping(fd, fs.unit)
        with mapping:
            mapping.write(0, b"guest")
            pipe.send("mapped")
            while pipe.recv() == "look":
                pipe.send(mapping.read(0, 5))
                mapping.write(fs.unit - 5, b"alive")

    with Child(guest, with_pipe=True) as child:
        assert child.receive() == "mapped"
        yield child


def alive(holder):
    holder.pipe.send("look")
    return holder.receive() == b"guest"


def end(holder):
    holder.pipe.send("end")
    holder.wait()


def test_ready_means_that_the_mount_answers(daemon):
    daemon.start()
    assert daemon.mounted
    assert os.listdir(daemon.mountpoint) == []
    daemon.stop()
    assert not daemon.mounted
    assert os.listdir(daemon.mountpoint) == []


def test_without_foreground_it_returns_when_the_mount_answers(daemon):
    done = run(daemon)
    try:
        assert (done.returncode, done.stdout) == (0, "")
        assert os.statvfs(daemon.mountpoint).f_bfree > 0
        pid = daemonised(daemon)
        assert os.getsid(pid) == pid
        assert os.readlink(f"/proc/{pid}/cwd") == "/"
    finally:
        assert daemon.unmount() is None
    wait_until(lambda: not processes_naming(str(daemon.config)), "the daemon has ended")


def test_mount_is_named_in_proc_mounts(fs):
    with open("/proc/mounts", encoding="utf-8") as mounts:
        line = next(line for line in mounts if f" {fs.root} " in line)
    assert line.startswith("dmemfs ")
    assert line.split()[2] == "fuse.dmemfs"


def test_fusermount_ends_it_with_status_0(daemon):
    daemon.start()
    assert daemon.unmount() is None
    assert daemon.wait() == 0


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_signals_to_stop_end_it_with_status_0(daemon, number):
    daemon.start()
    os.kill(daemon.pid, number)
    assert daemon.wait() == 0
    assert not daemon.mounted


def test_signal_ends_it_while_files_are_open_and_full(daemon):
    daemon.start()
    with opened(daemon.mountpoint / "file", os.O_CREAT | os.O_RDWR) as fd:
        os.ftruncate(fd, 4 << 20)
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait() == 0
        with fails_with(errno.ENOTCONN, errno.ECONNABORTED, errno.EIO):
            os.pread(fd, 1, 0)


def test_unmounting_is_ebusy_while_a_guest_maps_a_file(fs, holder):
    assert "busy" in fs.daemon.unmount()
    assert fs.daemon.mounted
    assert (fs / "vm1").read_bytes()[:5] == b"guest"
    assert alive(holder)
    end(holder)


def test_unmounting_is_ebusy_while_a_file_is_open(fs):
    with opened(fs.make_file("file"), os.O_RDONLY):
        assert "busy" in fs.daemon.unmount()
    assert fs.daemon.mounted


def find_copies(log):
    """The pids that the command in the log prints."""
    command = re.search(r"\((grep -l .*) finds the copies\)", log).group(1)
    found = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False).stdout
    return [int(path.split("/")[2]) for path in found.split()]


def test_unmounting_with_a_copy_in_another_namespace(fs):
    """
    A container that was made meanwhile has a copy of the mount. The daemon goes on, logs why, and ends with the
    copy.
    """

    def container(pipe):
        make_mount_namespace()
        pipe.send("copied")
        pipe.recv()

    daemon = fs.daemon
    daemon.expected.append("unmounted here, but")
    # What else is mounted and unmounted is no reason to say so, nor to look no more.
    other = daemon.work / "other"
    other.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", other], check=True)
    time.sleep(11)
    subprocess.run(["umount", other], check=True)
    assert "unmounted here" not in daemon.log
    with Child(container, with_pipe=True) as child:
        assert child.receive() == "copied"
        assert daemon.unmount() is None
        wait_until(lambda: f"warning: {fs.root}: unmounted here, but" in daemon.log, "it says that it goes on", 30)
        assert daemon.running
        assert daemon.manager.wait_for(f"STATUS=Unmounted from {fs.root}, serving processes that still use it", 5)
        assert find_copies(daemon.log) == [child.pid]
        child.pipe.send("end")
        child.wait()
    assert daemon.wait() == 0


def test_unmounting_lazily_while_a_guest_maps_a_file(fs, holder):
    fs.daemon.expected.append("unmounted here, but")
    subprocess.run(["umount", "-l", fs.root], check=True)
    wait_until(lambda: "unmounted here, but" in fs.daemon.log, "it says that it goes on", 30)
    assert fs.daemon.running
    assert alive(holder)
    end(holder)
    assert fs.daemon.wait() == 0


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
@pytest.mark.parametrize("lazily", (True, False))
def test_stop_touches_no_other_mount(fs, number, lazily):
    """
    The daemon stops while another file system is mounted on the mount point, above the daemon's mount or after that
    was unmounted lazily.
    """
    daemon = fs.daemon
    with opened(fs.make_file("file", b"x")):
        if lazily:
            subprocess.run(["umount", "-l", fs.root], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", fs.root], check=True)
        try:
            (fs / "other").touch()
            os.kill(daemon.pid, number)
            assert daemon.wait() == 0
            assert os.listdir(fs.root) == ["other"]
        finally:
            subprocess.run(["umount", fs.root], check=True)
    if not lazily:
        daemon.expected.append("still mounted: another file system is mounted over it")
        subprocess.run(["umount", fs.root], check=True)


def test_stop_where_the_mountpoint_is_a_link(daemon):
    real = daemon.work / "real"
    real.mkdir()
    daemon.mountpoint.rmdir()
    daemon.mountpoint.symlink_to(real)
    daemon.start()
    os.kill(daemon.pid, signal.SIGTERM)
    assert daemon.wait() == 0
    assert not os.path.ismount(real)


def test_guest_outlives_sigterm(fs, holder):
    """A guest keeps its memory: it needs no daemon to access it."""
    os.kill(fs.daemon.pid, signal.SIGTERM)
    assert fs.daemon.wait() == 0
    assert not fs.daemon.mounted
    assert alive(holder)
    end(holder)


def test_guest_outlives_a_killed_daemon_and_the_next_one_starts(fs, holder):
    fs.daemon.kill()
    refused(errno.ENOTCONN, os.listdir, fs.root)
    assert alive(holder)

    fs.daemon.process = None
    fs.daemon.start()
    assert "the connection of an earlier daemon's mount is lost" in fs.daemon.log
    assert alive(holder)
    fs.make_file("vm2", b"next guest", size=fs.unit)
    assert alive(holder)
    end(holder)


@pytest.mark.memory_only("two daemons at a time")
def test_mount_of_another_daemon_is_left_alone(fs):
    """Only the daemon with its record may take a mount over or unmount it, whether the mount is alive or dead."""
    other = fs.daemon.work / "other"
    other.mkdir()
    keys = settings_of(fs.daemon)
    keys.update({"state-dir": str(other / "state"), "memory-dir": tempfile.mkdtemp(dir="/dev/shm")})
    second = Daemon(fs.daemon.program, other, keys)
    done = run(second, "--foreground")
    assert done.returncode == 1
    assert f"{fs.root} is a mount point already" in done.stderr
    fs.make_file("file", b"first goes on")
    fs.daemon.kill()
    stale = run(second, "--foreground")
    assert stale.returncode == 1
    assert "stale mount" in stale.stderr and f"fusermount3 -u {fs.root}" in stale.stderr
    shutil.rmtree(keys["memory-dir"])
    fs.daemon.process = None
    fs.daemon.start()
    assert (fs / "file").read_bytes() == b"first goes on"


def test_second_daemon_on_the_same_state_directory_is_refused(fs, backend):
    other = fs.daemon.work / "other"
    other.mkdir()
    keys = {**settings_of(fs.daemon), "mountpoint": str(other)}
    second = Daemon(fs.daemon.program, other, keys, fs.daemon.groups)
    done = run(second, "--foreground")
    assert done.returncode == 1
    assert f"pid {fs.daemon.pid}" in done.stderr
    assert str(fs.daemon.state_dir) in done.stderr
    fs.make_file("file", b"first goes on")


@pytest.mark.memory_only("memory-dir is a key of the memory backend")
def test_second_daemon_on_the_same_memory_directory_is_refused(fs):
    """It would remove the first daemon's files as left-overs of a crash."""
    path = fs.make_file("file", b"kept")
    other = fs.daemon.work / "other"
    other.mkdir()
    keys = settings_of(fs.daemon)
    del keys["mountpoint"], keys["state-dir"]
    second = Daemon(fs.daemon.program, other, keys)
    done = run(second, "--check-config")
    assert done.returncode == 0, done.stderr
    done = run(second)
    if second.mounted:
        second.unmount()
    assert done.returncode == 1
    assert keys["memory-dir"] in done.stderr
    assert path.read_bytes() == b"kept"
    assert fs.backend.object_path(path.stat().st_ino).read_bytes() == b"kept"


def test_next_daemon_waits_for_the_last_one(daemon):
    """A daemon is started directly after umount, while the last one still runs."""
    daemon.start()
    last = daemon.process
    with daemon.frozen():
        assert daemon.unmount() is None
        daemon.process = None
        text = subprocess.PIPE
        following = daemon.manager.spawn(daemon.command("--foreground"), env=daemon.environment(), stderr=text, text=True)
        assert daemon.manager.wait_for(f"STATUS=Waiting for the daemon with pid {last.pid} to end", 10)
        assert f"waiting for the daemon with pid {last.pid}" in following.stderr.readline()
        assert following.poll() is None and not daemon.mounted
        daemon.process = last
    assert last.wait(30) == 0
    assert daemon.manager.wait_for("READY=1", 30)
    daemon.process = following
    assert daemon.mounted


def test_umount_and_start_many_times(daemon):
    for _ in range(5):
        assert run(daemon).returncode == 0
        assert daemon.unmount() is None
    wait_until(lambda: not processes_naming(str(daemon.config)), "the daemon has ended", 30)


def test_state_directory_is_free_again_after_a_stop(daemon):
    for _ in range(3):
        daemon.start()
        daemon.stop()


# --- what it makes is its own ---

def modes_below(directory):
    return {path.name: path.stat().st_mode & 0o7777 for path in directory.iterdir()}


@pytest.mark.memory_only("memory-dir is a key of the memory backend")
@pytest.mark.parametrize("umask", [0, 0o777])
def test_what_it_makes_is_private_whatever_the_umask(daemon, umask):
    """The caller's umask affects neither the daemon's own files nor the files that users make on the mount."""
    daemon.state_dir.rmdir()
    memory_dir = Path(tempfile.mkdtemp(dir="/dev/shm")) / "memory"
    keys = settings_of(daemon)
    daemon.config.write_text(daemon.config.read_text().replace(keys["memory-dir"], str(memory_dir)))
    before = os.umask(umask)
    try:
        daemon.start()
    finally:
        os.umask(before)
    try:
        (daemon.mountpoint / "file").write_bytes(b"x")
        (daemon.mountpoint / "directory").mkdir()
        modes = modes_below(daemon.mountpoint)
        made = {path: path.stat().st_mode & 0o7777 for path in (daemon.state_dir, memory_dir)}
        files = {**modes_below(daemon.state_dir), **modes_below(memory_dir)}
        daemon.stop()
    finally:
        shutil.rmtree(memory_dir.parent)
    assert modes == {"file": 0o644, "directory": 0o755}
    assert set(made.values()) == {0o700}
    assert {"lock", "metadata.db", "metadata.db-wal", "mark"} <= set(files)
    assert set(files.values()) == {0o600}


def test_record_that_others_could_read_is_private_again(daemon):
    """The files are readable by others, as an earlier version left them."""
    daemon.start()
    daemon.stop()
    for path in daemon.state_dir.iterdir():
        path.chmod(0o644)
    daemon.start()
    assert set(modes_below(daemon.state_dir).values()) == {0o600}


@pytest.mark.parametrize("name", ["lock", "metadata.db", "metadata.db-wal"])
@pytest.mark.parametrize("plant, says", [
    (lambda path: path.write_bytes(b"") or os.chown(path, NOBODY, NOBODY), "belongs to user 65534"),
    (lambda path: path.write_bytes(b"") or path.chmod(0o666), "can be written by others"),
    (lambda path: path.symlink_to("/etc/passwd"), "Too many levels of symbolic links"),
    (os.mkfifo, "is not a regular file"),
])
def test_file_of_somebody_else_is_refused(daemon, name, plant, says):
    path = daemon.state_dir / name
    plant(path)
    done = run(daemon, "--foreground")
    path.unlink()
    assert done.returncode == 1
    assert f"{path}" in done.stderr and says in done.stderr


@pytest.mark.memory_only("memory-dir is a key of the memory backend")
@pytest.mark.expect_log(f"was made by user {NOBODY}: renamed to .*, remove that")
@pytest.mark.parametrize("squat", ["directory", "file", "link"])
def test_default_memory_directory_cannot_be_taken(daemon, squat):
    """Its name can be guessed, and any user can make a file of that name in /dev/shm."""
    text = re.sub("^memory-dir=.*\n", "", daemon.config.read_text(), flags=re.MULTILINE)
    daemon.config.write_text(text)
    path = Path("/dev/shm/dmemfs-" + hashlib.sha256(str(daemon.state_dir).encode()).hexdigest()[:8])

    def take():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        if squat == "directory":
            path.mkdir()
            (path / "mark").write_bytes(bytes(16))
        elif squat == "file":
            path.write_bytes(b"")
        else:
            path.symlink_to("/etc")

    with Child(take) as child:
        child.wait()
    assert run(daemon, "--check-config").returncode == 0
    daemon.start()
    status = path.lstat()
    daemon.stop()
    shutil.rmtree(path)
    for other in path.parent.glob(path.name + ".*"):
        if other.is_dir() and not other.is_symlink():
            shutil.rmtree(other)
        else:
            other.unlink()
    assert stat.S_ISDIR(status.st_mode)
    assert (status.st_uid, status.st_mode & 0o7777) == (0, 0o700)


@pytest.mark.page_sizes("4K")
def test_descriptor_is_needed_only_while_a_file_is_open(fs):
    """Files that nobody has open need no descriptor of the daemon."""
    def descriptors():
        return len(os.listdir(f"/proc/{fs.daemon.pid}/fd"))

    before = descriptors()
    for number in range(200):
        fs.make_file(f"file{number}", b"x")
    wait_until(lambda: descriptors() <= before + 8, "the daemon has no descriptors for files that nobody has open")


def cpu_time_of(pid):
    """The CPU time of all its threads, in seconds."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime: proc_pid_stat(5)


@pytest.mark.dmemfs(busy_poll="50us")
@pytest.mark.expect_log(r"dmemfsd\.conf:\d+: \[daemon\] busy-poll: is obsolete and has no effect")
def test_key_of_an_earlier_version_does_not_keep_the_daemon_from_starting(fs):
    (fs / "file").write_bytes(b"x")
    assert "busy-poll: is obsolete and has no effect: remove the line" in fs.daemon.log
    before = cpu_time_of(fs.daemon.pid)
    time.sleep(1)
    assert cpu_time_of(fs.daemon.pid) - before < 0.5  # nor does an idle one take CPU time


def test_hung_client_does_not_block_the_others(fs):
    """A process is stopped with a file open. Others can use and remove the file."""

    def client(pipe):
        with opened(fs / "file", os.O_CREAT | os.O_RDWR) as fd:
            os.write(fd, b"mine")
            pipe.send("open")
            pipe.recv()

    with Child(client, with_pipe=True) as child:
        assert child.receive() == "open"
        os.kill(child.pid, signal.SIGSTOP)
        wait_until(lambda: state_of(child.pid) == "T", "the client is stopped")
        assert (fs / "file").read_bytes() == b"mine"
        os.truncate(fs / "file", 2 * fs.unit)
        os.unlink(fs / "file")
        os.kill(child.pid, signal.SIGCONT)
        child.pipe.send("end")
        child.wait()


def test_killed_client_leaves_nothing_behind(fs):
    def client(pipe):
        with opened(fs.root, os.O_TMPFILE | os.O_RDWR) as fd:
            os.ftruncate(fd, 8 * fs.unit)
            with Mapping(fd, 8 * fs.unit) as mapping:
                mapping.write(0, b"x")
                pipe.send("mapped")
                pipe.recv()

    with Child(client, with_pipe=True) as child:
        assert child.receive() == "mapped"
        assert fs.free() == fs.capacity - 8 * fs.unit
        child.kill()
    assert fs.wait_free(fs.capacity) == fs.capacity
