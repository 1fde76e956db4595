# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon dies, stops or is upgraded while its users go on. They see a pause and no error."""

import errno
import fcntl
import os
import random
import shutil
import signal
import struct
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.backends import MIB
from helpers.children import Child
from helpers.clients import Client, pauses
from helpers.daemon import DaemonError
from helpers.effort import rounds
from helpers.expect import fails_with
from helpers.mount import wait_until
from helpers.snapshot import snapshot
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, RENAME_EXCHANGE, Mapping, fallocate, opened, renameat2
from mount.test_durable import TAKEOVERS, furnish, record_times


def die(daemon):
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.process.wait()
    daemon.ended_by_test = True


def test_kill_and_takeover_keep_everything(kept):
    furnish(kept.root, kept.unit)
    record_times(kept.root)
    before = snapshot(kept.root)
    mounted = os.stat(kept.root).st_dev
    die(kept.daemon)
    kept.daemon.take_over()
    assert "took over the mount" in kept.daemon.log
    assert os.stat(kept.root).st_dev == mounted
    assert snapshot(kept.root) == before


def test_open_files_go_on(kept):
    """Descriptors and mappings from before the kill still work, those of unlinked and unnamed files included."""
    unit = kept.unit

    def client(pipe):
        files = {name: os.open(kept / name, os.O_RDWR | os.O_CREAT | os.O_EXCL) for name in ("named", "unlinked")}
        files["unnamed"] = os.open(kept.root, os.O_RDWR | os.O_TMPFILE)
        directory = os.open(kept.root, os.O_RDONLY)
        for name, fd in files.items():
            os.ftruncate(fd, 2 * unit)
            os.pwrite(fd, name.encode(), unit)
        os.unlink(kept / "unlinked")
        mappings = {name: Mapping(fd, 2 * unit) for name, fd in files.items()}
        pipe.send("ready")
        pipe.recv()
        for name, fd in files.items():
            assert os.pread(fd, len(name), unit) == name.encode()
            assert mappings[name].read(unit, len(name)) == name.encode()
            assert os.fstat(fd).st_nlink == (name == "named")
            os.pwrite(fd, b"after", 0)
            assert mappings[name].read(0, 5) == b"after"
            os.ftruncate(fd, 3 * unit)
            assert os.fstat(fd).st_size == 3 * unit
        assert os.listdir(directory) == ["named"]
        with opened(kept / "named", os.O_RDWR) as again:
            assert os.pread(again, 5, 0) == b"after"
        pipe.send("done")
        pipe.recv()

    with Child(client, with_pipe=True) as child:
        assert child.receive() == "ready"
        for _ in range(2):
            die(kept.daemon)
            kept.daemon.take_over()
        child.pipe.send("go on")
        assert child.receive() == "done"
        assert kept.free() == kept.capacity - 9 * unit
        child.pipe.send("end")
        child.wait()
    assert kept.wait_free(kept.capacity - 3 * unit) == kept.capacity - 3 * unit


# --- requests in flight ---

def make_exclusively(fs):
    os.close(os.open(fs / "new", os.O_RDWR | os.O_CREAT | os.O_EXCL))


def make_unnamed(fs):
    with opened(fs.root, os.O_RDWR | os.O_TMPFILE) as fd:
        os.pwrite(fd, b"x", 0)


def write_past_the_end(fs):
    with opened(fs / "file", os.O_WRONLY | os.O_APPEND) as fd:
        assert os.write(fd, b"more") == 4


OPERATIONS = {
    "create": make_exclusively,
    "tmpfile": make_unnamed,
    "mkdir": lambda fs: os.mkdir(fs / "new"),
    "rmdir": lambda fs: os.rmdir(fs / "directory"),
    "mknod": lambda fs: os.mkfifo(fs / "new"),
    "symlink": lambda fs: os.symlink("target", fs / "new"),
    "link": lambda fs: os.link(fs / "file", fs / "new"),
    "unlink": lambda fs: os.unlink(fs / "file"),
    "rename": lambda fs: os.rename(fs / "file", fs / "new"),
    "exchange": lambda fs: renameat2(fs / "file", fs / "other", RENAME_EXCHANGE),
    "chmod": lambda fs: os.chmod(fs / "file", 0o600),
    "truncate": lambda fs: os.truncate(fs / "file", 3 * fs.unit),
    "shrink": lambda fs: os.truncate(fs / "file", 1),
    "fallocate": lambda fs: allocate(fs / "file", fs.unit),
    "append": write_past_the_end,
    "setxattr": lambda fs: os.setxattr(fs / "file", "user.new", b"x", os.XATTR_CREATE),
    "lost-contents": lambda fs: os.setxattr(fs / "file", "dmemfs.lost_contents", b"remove", os.XATTR_CREATE),
    "removexattr": lambda fs: os.removexattr(fs / "file", "user.old"),
}


def allocate(path, unit):
    with opened(path, os.O_RDWR) as fd:
        fallocate(fd, FALLOC_FL_KEEP_SIZE, unit, unit)


def lay_out(fs):
    fs.make_file("file", b"file")
    fs.make_file("other", b"other")
    os.setxattr(fs / "file", "user.old", b"x")
    (fs / "directory").mkdir()


def without_times(root):
    """The snapshot without times and numbers, which differ between runs."""
    seen = snapshot(root)
    for entry in seen.values():
        for key in ("mtime_ns", "ctime_ns", "ino", "extents"):
            entry.pop(key, None)
    return seen


@pytest.mark.page_sizes("4K")
@pytest.mark.parametrize("point", ["before-commit", "after-commit"])
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.dmemfs(zero_in_advance="false")  # which has commits of its own
def test_request_in_flight_is_applied_once(kept, operation, point):
    """The daemon dies after it has received the request, before or after the commit. The client sees no difference."""
    lay_out(kept)
    OPERATIONS[operation](kept)
    expected = without_times(kept.root)
    for name in os.listdir(kept.root):
        path = kept / name
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink()
    lay_out(kept)
    os.listdir(kept.root)
    kept.daemon.stop()
    kept.daemon.start(DMEMFS_CRASH_AT=point)
    with Child(OPERATIONS[operation], kept) as client:
        wait_until(lambda: not kept.daemon.running, f"the daemon has died at {point}")
        kept.daemon.ended_by_test = True
        kept.daemon.take_over()
        client.wait()
    assert without_times(kept.root) == expected


def statistics(path):
    """A request that the kernel never answers from its cache."""
    os.statvfs(path)


@pytest.mark.page_sizes("4K")
@pytest.mark.parametrize("point", TAKEOVERS)
@pytest.mark.dmemfs(zero_in_advance="false")
def test_crash_during_the_takeover(kept, point):
    """The second daemon dies during its takeover. The third takes over as the second would have."""
    furnish(kept.root, kept.unit)
    record_times(kept.root)
    before = snapshot(kept.root)
    kept.daemon.stop()
    kept.daemon.start(DMEMFS_CRASH_AT="after-commit")
    with Child(os.mkdir, kept / "new") as client:
        wait_until(lambda: not kept.daemon.running, "the first daemon has died")
        kept.daemon.ended_by_test = True
        other = None
        if point == "replayed":  # when a request comes that is not one of those that come again
            kept.daemon.take_over(DMEMFS_CRASH_AT=point)
            other = Child(statistics, kept.root)
            wait_until(lambda: not kept.daemon.running, "the second daemon has died")
        else:
            with pytest.raises(DaemonError):
                kept.daemon.take_over(DMEMFS_CRASH_AT=f"start/{point}")
        kept.daemon.ended_by_test = True
        kept.daemon.take_over()
        client.wait()
        if other:
            other.wait()
    (kept / "new").rmdir()
    after = snapshot(kept.root)
    for seen in (before["."], after["."]):
        del seen["mtime_ns"], seen["ctime_ns"]
    assert after == before


def test_registration_without_a_record_is_ended(kept):
    """Else the registration would keep the memory of the file until the mount ends."""
    kept.make_file("file", b"x" * kept.unit)
    kept.daemon.stop()
    kept.daemon.start(DMEMFS_CRASH_AT="registered")

    def client():
        with opened(kept / "file", os.O_RDONLY) as fd:
            assert os.pread(fd, 1, 0) == b"x"

    with Child(client) as child:
        wait_until(lambda: not kept.daemon.running, "the daemon has died")
        kept.daemon.ended_by_test = True
        kept.daemon.take_over()
        child.wait()
    os.unlink(kept / "file")
    assert kept.wait_free(kept.capacity) == kept.capacity


@contextmanager
def immutable(directory):
    """Nobody can make a file in the directory: FS_IOC_SETFLAGS with FS_IMMUTABLE_FL, ioctl_iflags(2)."""
    with opened(directory, os.O_RDONLY) as fd:
        fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0x10))
        try:
            yield
        finally:
            fcntl.ioctl(fd, 0x40086602, struct.pack("l", 0))


@pytest.mark.memory_only("its objects are made in a directory, which can be made immutable")
def test_create_that_is_undone_when_it_came_again(kept, backend):
    """
    The first daemon has recorded the name and died. The next one cannot open the file, so it removes the name and
    answers with an error.
    """
    kept.daemon.stop()
    kept.daemon.start(DMEMFS_CRASH_AT="after-commit")
    with Child(make_exclusively, kept) as client:
        wait_until(lambda: not kept.daemon.running, "the daemon has died")
        kept.daemon.ended_by_test = True
        with immutable(backend.object_path(0).parent):
            kept.daemon.take_over()
            with fails_with(errno.EPERM):
                client.wait()
    assert os.listdir(kept.root) == []
    make_exclusively(kept)
    die(kept.daemon)
    kept.daemon.take_over()
    assert os.listdir(kept.root) == ["new"]


# --- who ends what ---

def test_sigterm_leaves_the_mount_to_the_next_daemon(kept):
    kept.make_file("file", b"kept")
    os.kill(kept.daemon.pid, signal.SIGTERM)
    assert kept.daemon.wait() == 0
    assert kept.daemon.mounted
    kept.daemon.take_over()
    assert (kept / "file").read_bytes() == b"kept"


def test_sigint_unmounts_and_tells_the_keeper(kept):
    os.kill(kept.daemon.pid, signal.SIGINT)
    assert kept.daemon.wait() == 0
    assert not kept.daemon.mounted
    assert kept.daemon.manager.wait_for("FDSTOREREMOVE=1", 5)


def test_unmount_while_no_daemon_runs(kept):
    kept.make_file("file", b"kept")
    die(kept.daemon)
    assert kept.daemon.unmount() is None
    kept.daemon.take_over()
    assert "the FUSE connection that was kept is no more" not in kept.daemon.log  # there is no mount to ask about
    assert (kept / "file").read_bytes() == b"kept"


def test_connection_that_was_aborted(kept):
    """The mount exists but is dead. The next daemon mounts anew."""
    kept.make_file("file", b"kept")
    die(kept.daemon)
    abort(kept.root)
    kept.daemon.take_over()
    assert "the FUSE connection that was kept is no more" in kept.daemon.log
    assert (kept / "file").read_bytes() == b"kept"


def abort(mountpoint):
    from helpers.processes import abort_connection, mounts_under
    abort_connection(mounts_under(mountpoint)[str(mountpoint)])


def test_descriptor_of_something_else_is_no_connection(kept):
    kept.make_file("file", b"kept")
    die(kept.daemon)
    pipe, other = os.pipe()
    os.close(other)
    os.dup2(pipe, kept.daemon.manager.stored)
    os.close(pipe)
    kept.daemon.take_over()
    assert (kept / "file").read_bytes() == b"kept"


# --- reload ---

def hang_up(daemon):
    """
    Sends SIGHUP. With ThreadSanitizer it waits until the main loop waits: ThreadSanitizer holds a signal back until
    the next system call, and that of GCC 12 sometimes loses it.
    """
    if "TSAN_OPTIONS" in os.environ:
        wait_until(lambda: "poll" in Path(f"/proc/{daemon.pid}/wchan").read_text(), "the main loop waits")
    os.kill(daemon.pid, signal.SIGHUP)


def reload(daemon):
    daemon.manager.messages.clear()
    hang_up(daemon)
    assert daemon.manager.wait_for("READY=1", 10)


def test_reload_goes_on_with_the_new_configuration(fs):
    """Nothing keeps the connection: the process stays the same."""
    fs.make_file("file", b"kept")
    threads = len(os.listdir(f"/proc/{fs.daemon.pid}/task"))
    fs.daemon.config.write_text(fs.daemon.config.read_text().replace("[daemon]\n", "[daemon]\nthreads=23\n"))
    with opened(fs / "file", os.O_RDWR) as fd:
        reload(fs.daemon)
        assert os.pread(fd, 4, 0) == b"kept"
    assert len(os.listdir(f"/proc/{fs.daemon.pid}/task")) != threads


def start_copy(daemon, program):
    """Starts the daemon from a copy of its program at @program, which the test may replace later."""
    original = daemon.program
    shutil.copy2(original, program)
    daemon.stop()
    daemon.program = str(program)
    daemon.start()
    daemon.program = original


def install_slow_program(program, original, go, first=":"):
    """
    Replaces @program. The first time that the new one checks a configuration, it waits until @go exists, then does
    @first. Returns the path of a file that exists once it was asked.
    """
    asked = program.with_suffix(".asked")
    script = program.with_suffix(".new")
    script.write_text(f"""#!/bin/sh
case "$*" in *--check-config*)
    if ! [ -e {asked} ]; then
        touch {asked}
        while ! [ -e {go} ]; do sleep 0.05; done
        {first}
    fi
esac
exec {original} "$@"
""")
    script.chmod(0o755)
    os.replace(script, program)
    return asked


def test_memory_comes_back_while_the_configuration_is_checked(fs, work):
    start_copy(fs.daemon, work / "dmemfsd")
    asked = install_slow_program(work / "dmemfsd", fs.daemon.program, work / "go")
    fs.daemon.manager.messages.clear()
    hang_up(fs.daemon)
    wait_until(asked.exists, "the program is asked")
    for _ in range(3):
        os.unlink(fs.make_file("all", size=fs.capacity))  # ENOSPC if what the last one had does not come back
    hang_up(fs.daemon)  # the configuration may have changed since
    (work / "go").touch()
    assert fs.daemon.manager.wait_for("READY=1", 30)


def test_reload_is_asked_for_again_while_the_configuration_is_checked(fs, work):
    """The first check is refused; the second one, of the configuration as it is then, is accepted."""
    start_copy(fs.daemon, work / "dmemfsd")
    fs.daemon.expected.append("not reloaded: bananas")
    asked = install_slow_program(work / "dmemfsd", fs.daemon.program, work / "go", "echo bananas >&2; exit 1")
    fs.daemon.manager.messages.clear()
    hang_up(fs.daemon)
    wait_until(asked.exists, "the program is asked")
    hang_up(fs.daemon)
    time.sleep(0.2)  # the main loop has taken it
    (work / "go").touch()
    assert fs.daemon.manager.wait_for("READY=1", 30)


def test_stop_while_the_configuration_is_checked(fs, work):
    start_copy(fs.daemon, work / "dmemfsd")
    asked = install_slow_program(work / "dmemfsd", fs.daemon.program, work / "go")
    hang_up(fs.daemon)
    wait_until(asked.exists, "the program is asked")
    os.kill(fs.daemon.pid, signal.SIGINT)
    wait_until(lambda: not fs.daemon.mounted, "it is unmounted")
    (work / "go").touch()
    assert fs.daemon.wait() == 0
    assert "reloading" not in fs.daemon.log


@pytest.mark.dmemfs(size=512 * MIB)
def test_reload_again_and_again_under_load(fs):
    clients = [Client(fs, number) for number in range(4)]
    for _ in range(rounds(10)):
        time.sleep(0.05)
        reload(fs.daemon)
    for client in clients:
        client.finish()


@pytest.mark.expect_log("not reloaded: .*bananas")
def test_reload_with_a_bad_configuration_changes_nothing(fs):
    fs.make_file("file", b"kept")
    good = fs.daemon.config.read_text()
    fs.daemon.config.write_text(good + "\nbananas=yes\n")
    hang_up(fs.daemon)
    wait_until(lambda: "not reloaded" in fs.daemon.log, "the reload is refused")
    assert (fs / "file").read_bytes() == b"kept"
    fs.daemon.config.write_text(good)
    reload(fs.daemon)
    assert (fs / "file").read_bytes() == b"kept"


# --- many deaths ---

@pytest.mark.timeout(3600)
@pytest.mark.dmemfs(size=512 * MIB)
def test_kill_rounds_under_eight_clients(kept):
    """The clients see a pause at each kill and no error. All bytes and names are as they left them."""
    clients = [Client(kept, number) for number in range(8)]
    deaths = []
    for _ in range(rounds(25)):
        time.sleep(random.uniform(0.001, 0.1))
        deaths.append(time.monotonic())
        die(kept.daemon)
        kept.daemon.take_over()
        for client in clients:
            assert client.running, client.finish()
    results = [client.finish() for client in clients]
    waits = sorted(pauses(results, deaths))
    print(f"{len(deaths)} rounds, {sum(result.operations for result in results)} operations; pause: median "
          f"{waits[len(waits) // 2] * 1000:.0f} ms, worst {waits[-1] * 1000:.0f} ms")  # -rP shows it
    kept.check()
