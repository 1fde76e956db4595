# SPDX-License-Identifier: GPL-2.0-or-later
"""
A hostile user with a writable directory: what makes the daemon's memory grow has a limit, and other users do not wait.
"""

import errno
import os
import resource
import signal
from itertools import count

import pytest

from helpers.backends import MIB
from helpers.children import Child, in_child
from helpers.mount import wait_until
from helpers.processes import NO_HOLDERS, holders_of, resident, threads_of
from helpers.syscalls import opened

SCALE = float(os.environ.get("DMEMFS_TEST_SCALE", "1"))
MALLORY, ALICE = 1001, 1002
LIMIT = MIB
# Of a daemon that holds nothing, and what malloc(3) and the record's own caches may add to LIMIT; a sanitizer, which the scale
# of time stands for, keeps what was freed for a while.
ROOM = 24 * MIB * (10 if SCALE > 1 else 1)
THREADS = 4

pytestmark = pytest.mark.page_sizes("4K")


def until_refused(call):
    """Runs call(number) until it fails with ENOSPC. Returns how often it succeeded."""
    for number in count():
        try:
            call(number)
        except OSError as error:
            assert error.errno == errno.ENOSPC, error
            return number


def long_name(number):
    return f"{number:0255}"


def make_files(directory):
    return until_refused(lambda number: os.close(os.open(directory / long_name(number), os.O_CREAT | os.O_EXCL, 0o600)))


def make_nameless_files(directory):
    kept, most = [], resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return until_refused(lambda _: kept.append(os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)))


def make_directories(directory):
    """Each directory lies in the one before."""
    os.chdir(directory)

    def deeper(number):
        os.mkdir(f"{number}")
        os.chdir(f"{number}")

    return until_refused(deeper)


def make_symlinks(directory):
    return until_refused(lambda number: os.symlink("t" * 4000, directory / f"{number}"))


def make_links(directory):
    (directory / "file").touch()
    return until_refused(lambda number: os.link(directory / "file", directory / long_name(number)))


def make_attributes(directory):
    """Each file gets as many bytes of attributes as it can have."""
    def one(number):
        path = directory / f"{number // 2}"
        path.touch()
        os.setxattr(path, f"user.{number}", b"v" * 60_000)

    return until_refused(one)


def make_small_attributes(directory):
    def one(number):
        path = directory / f"{number // 10_000}"
        path.touch()
        os.setxattr(path, f"user.{number}", b"")

    return until_refused(one)


@pytest.fixture
def playground(fs):
    (fs / "playground").mkdir()
    (fs / "playground").chmod(0o1777)
    return fs / "playground"


def clear(directory, depth):
    """Removes all that was made. @depth: the number of directories that lie in each other."""
    if depth:
        in_child(climb_and_remove, directory, depth)
    for path, directories, files in os.walk(directory, topdown=False):
        for name in files:
            os.unlink(f"{path}/{name}")
        for name in directories:
            place = f"{path}/{name}"
            os.unlink(place) if os.path.islink(place) else os.rmdir(place)


@pytest.mark.timeout(120)
@pytest.mark.dmemfs(max_metadata=LIMIT)
@pytest.mark.parametrize("make", [make_files, make_nameless_files, make_directories, make_symlinks, make_links,
                                  make_attributes, make_small_attributes], ids=lambda make: make.__name__[5:])
def test_daemon_does_not_grow_past_its_limit(fs, playground, make):
    """The user makes as much as the daemon accepts. After all of it is removed, as much can be made again."""
    fs.daemon.stop()
    fs.daemon.manager.keeps = True
    fs.daemon.start()
    most = os.statvfs(fs.root).f_ffree
    made = in_child(make, playground, uid=MALLORY, timeout=100)
    depth = made if make is make_directories else 0
    assert made > 10
    assert resident(fs.daemon.pid) < LIMIT + ROOM
    if make is not make_nameless_files:
        left = os.statvfs(fs.root).f_ffree
        os.kill(fs.daemon.pid, signal.SIGKILL)
        fs.daemon.process.wait()
        fs.daemon.ended_by_test = True
        fs.daemon.take_over()
        assert os.statvfs(fs.root).f_ffree == left < most / 10
    clear(playground, depth)
    wait_until(lambda: fs.stats()["inodes"] == 2, "all are gone")
    os.mkdir(fs / long_name(1))
    os.rmdir(fs / long_name(1))
    assert in_child(make, playground, uid=MALLORY, timeout=100) == made
    clear(playground, depth)


def climb_and_remove(directory, depth):
    os.chdir(directory)
    for number in range(depth):
        os.chdir(f"{number}")
    for number in reversed(range(depth)):
        os.chdir("..")
        os.rmdir(f"{number}")


# --- nobody waits for somebody else's requests ---

@pytest.fixture
def stuck(fs, playground):
    """
    stuck(POINT) restarts the daemon. Its first request that reaches POINT stays there, and holds the lock of its
    file.
    """
    def restart(point):
        fs.daemon.stop()
        fs.daemon.manager.keeps = True
        fs.daemon.start(DMEMFS_HANG_AT=point)
        return fs.daemon

    yield restart
    if fs.daemon.running:
        fs.daemon.kill()
    fs.daemon.take_over()
    wait_until(lambda: holders_of(str(fs.root)) == NO_HOLDERS, "processes that waited for the daemon have got an answer and ended")


def use(directory):
    """Makes, sizes, reads, renames and removes files, as other users do."""
    for number in range(20):
        path = directory / f"{os.getuid()}.{number}"
        with opened(path, os.O_CREAT | os.O_EXCL | os.O_RDWR) as fd:
            os.ftruncate(fd, 4096)
            assert os.pread(fd, 2, 0) == bytes(2)
        os.rename(path, f"{path}x")
        os.unlink(f"{path}x")


def attack(pipe, path):
    pipe.send("here")
    with opened(path):
        pass


@pytest.mark.dmemfs(threads=THREADS)
def test_one_users_requests_leave_threads_for_others(fs, playground, stuck):
    """
    One user opens a file whose lock is held, with ten times as many processes as the daemon has threads. Others are
    still served.
    """
    (playground / "file").touch()
    os.chown(playground / "file", MALLORY, MALLORY)
    stuck("registered")
    children = [Child(attack, playground / "file", uid=MALLORY, with_pipe=True) for _ in range(10 * THREADS)]
    try:
        for child in children:
            child.receive()
        in_child(use, playground, uid=ALICE)
        in_child(use, playground)
        fs.daemon.kill()
        fs.daemon.take_over()
        for child in children:
            child.wait()  # each of them is answered, by the next daemon
    finally:
        for child in children:
            child.kill()


def shrink(pipe, path):
    """Opens the file often. Then, while one of its calls hangs, closes all descriptors."""
    fds = [os.open(path, os.O_RDWR) for _ in range(10 * THREADS)]
    with Child(os.truncate, path, 4096):
        pipe.recv()
        for fd in fds:
            os.close(fd)
        pipe.send("closed")
        pipe.recv()


@pytest.mark.dmemfs(threads=THREADS)
def test_closing_does_not_wait(fs, playground, stuck):
    """The kernel sends RELEASE on its own: such a request waits for no other request of the user."""
    path = fs.make_file("playground/file", size=4 * 4096)
    os.chown(path, MALLORY, MALLORY)
    daemon = stuck("memory-taken")
    with Child(shrink, path, uid=MALLORY, with_pipe=True) as child:
        wait_until(lambda: any("fuse-" in name for name in hung_threads(daemon.pid)), "a thread stands still")
        child.pipe.send("close them")
        assert child.receive() == "closed"
        in_child(use, playground, uid=ALICE)
        in_child(use, playground)


def hung_threads(pid):
    """Names of threads in pause(2)."""
    names = threads_of(pid, "comm")
    return [names[task].strip() for task, call in threads_of(pid, "syscall").items() if call.split()[0] == "34" and task in names]
