# SPDX-License-Identifier: GPL-2.0-or-later
"""A user who means harm, and has a directory to write in: what the daemon grows by has a limit."""

import errno
import os
import signal
from itertools import count

import pytest

from helpers.backends import MIB
from helpers.children import in_child
from helpers.mount import wait_until
from helpers.processes import resident

MALLORY = 1001
LIMIT = MIB
# Of a daemon that holds nothing, and what malloc(3) and the record's own caches may add to LIMIT.
ROOM = 24 * MIB

pytestmark = pytest.mark.page_sizes("4K")


def until_refused(call):
    """How often call(number) works before it is ENOSPC."""
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
    kept = []
    return until_refused(lambda _: kept.append(os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600)))


def make_directories(directory):
    """Each in the one before."""
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
    """As much as a file can have in each file."""
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
    """@depth: of directories in directories."""
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
    """And what was made can be removed again: then there is as much room as before."""
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
