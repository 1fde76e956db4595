# SPDX-License-Identifier: GPL-2.0-or-later
"""
A signal ends a call that sizes a file and takes long. The file is as it was. Nothing else ends it: QEMU goes on without its memory
when a call is interrupted, and then fails.
"""

import errno
import os
import signal
import threading
import time

import pytest

from helpers.children import Child
from helpers.locked_directory import keep_locked
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, Mapping, close_a_ring, fallocate, ftruncate_raw, opened

pytestmark = [pytest.mark.page_sizes("4K"), pytest.mark.dmemfs(populate="false", zero_in_advance="false")]
LONG = 10  # seconds, of which a wait for memory that does not come back would take one

SIZINGS = {
    "truncate": lambda fd, size: ftruncate_raw(fd, size),
    "fallocate": lambda fd, size: fallocate(fd, 0, 0, size),
    "keep-size": lambda fd, size: fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, size),
}


class Sizer(Child):
    """
    A process that handles SIGALRM and sizes the file. Its result is True when the file was sized, and False on
    EINTR.
    """

    def __init__(self, path, how, size, just_before=lambda: None, prepare=lambda: None):
        super().__init__(self._size, path, how, size, prepare, with_pipe=True)
        assert self.receive() == "ready"
        just_before()
        self.pipe.send("go")
        assert self.receive() == "sizes"

    @staticmethod
    def _size(pipe, path, how, size, prepare):
        signal.signal(signal.SIGALRM, lambda *_: None)
        with opened(path) as fd:
            pipe.send("ready")
            pipe.recv()
            prepare()
            pipe.send("sizes")
            try:
                SIZINGS[how](fd, size)
            except OSError as error:
                if error.errno != errno.EINTR:
                    raise
                return False
        return True

    @property
    def has_ended(self):
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None


class Shortage:
    """A call frees memory, so that the daemon goes on waiting for more: up to a second after the latest (POOL_PATIENCE_MS)."""

    def __init__(self, fs):
        self._fs = fs
        self._started, self._longest = None, 0

    def __call__(self):
        before, self._started = self._started, time.monotonic()
        os.unlink(self._fs.make_file("short-lived", size=self._fs.unit))
        if before:
            self._longest = max(self._longest, time.monotonic() - before)

    def try_in_time(self, attempt):
        """Calls attempt() until it has succeeded, or has failed although memory always came back in half of that second."""
        while True:
            self._started, self._longest = None, 0
            try:
                return attempt()
            except (AssertionError, OSError):
                if self._longest < 0.5:
                    raise


@pytest.fixture
def shortage(fs):
    """Half of the memory belongs to a removed file that is still mapped."""
    with opened(fs.make_file("removed", size=fs.capacity // 2)) as fd:
        mapping = Mapping(fd, fs.capacity // 2)
    os.unlink(fs / "removed")
    yield Shortage(fs)
    mapping.unmap()


def is_ended(sizer, number, meanwhile):
    """
    Sends the signal until the process has ended, because the first signal may come before it waits. Returns True
    when the file was not sized.
    """
    deadline = time.monotonic() + LONG
    while not sizer.has_ended:
        assert time.monotonic() < deadline, "the process does not end after the signal"
        os.kill(sizer.pid, number)
        meanwhile()
    return sizer.status < 0 or not sizer.wait()


def assert_waits(sizer, meanwhile, seconds=1.2):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        meanwhile()
        assert not sizer.has_ended


@pytest.mark.parametrize("how, number", [*((how, signal.SIGALRM) for how in SIZINGS), ("truncate", signal.SIGKILL)])
def test_a_signal_ends_the_wait_for_memory(fs, shortage, how, number):
    path = fs.make_file("file", b"kept", size=fs.unit)
    before = fs.extents(path), os.stat(path)

    def attempt():
        with Sizer(path, how, fs.capacity, shortage) as sizer:
            assert_waits(sizer, shortage)
            assert is_ended(sizer, number, shortage)

    shortage.try_in_time(attempt)
    assert (fs.extents(path), os.stat(path)) == before


@pytest.mark.parametrize("how", SIZINGS)
def test_a_closed_ring_ends_no_wait(fs, shortage, how):
    """The kernel tells the daemon of an interruption, but the process got no signal. A signal still ends the wait."""
    path = fs.make_file("file", b"kept", size=fs.unit)

    def attempt():
        with Sizer(path, how, fs.capacity, shortage, close_a_ring) as sizer:
            assert_waits(sizer, shortage)
            assert is_ended(sizer, signal.SIGALRM, shortage)

    shortage.try_in_time(attempt)


def test_a_process_that_is_stopped_waits_on(fs, shortage):
    """As a debugger or a shell stops it. When it goes on, a signal still ends the wait."""
    path = fs.make_file("file", b"kept", size=fs.unit)

    def attempt():
        with Sizer(path, "truncate", fs.capacity, shortage) as sizer:
            assert_waits(sizer, shortage, 0.2)
            os.kill(sizer.pid, signal.SIGSTOP)
            assert_waits(sizer, shortage, 0.5)
            os.kill(sizer.pid, signal.SIGCONT)
            assert_waits(sizer, shortage, 0.5)
            assert is_ended(sizer, signal.SIGALRM, shortage)

    shortage.try_in_time(attempt)


def test_a_locked_directory_of_proc_stalls_nobody(fs, shortage):
    """The daemon must know what interrupts the process. Any user can have others wait for the directory of his process in /proc."""
    path = fs.make_file("file", b"kept", size=fs.unit)
    alive = []

    def lock():
        threading.Timer(LONG, os._exit, (0,)).start()
        alive.append(keep_locked(f"/proc/{threading.get_native_id()}"))

    def attempt():
        with Sizer(path, "truncate", fs.capacity, shortage, lock) as sizer:
            until = time.monotonic() + LONG / 5
            while time.monotonic() < until:
                for number in (signal.SIGSTOP, signal.SIGCONT):
                    os.kill(sizer.pid, number)
                before = time.monotonic()
                shortage()
                if time.monotonic() - before > LONG / 2:
                    pytest.fail("the daemon waits for the directory")
                assert not sizer.has_ended

    shortage.try_in_time(attempt)


@pytest.mark.parametrize("number", [signal.SIGALRM, signal.SIGKILL])
@pytest.mark.parametrize("early", [True, False], ids=("before-takeover", "after-takeover"))
def test_a_signal_ends_a_sizing_that_came_again(kept, shortage, early, number):
    """
    The daemon dies while the request waits; the kernel sends the request to the next daemon, where the signal ends
    it.
    """
    path = kept.make_file("file", b"kept", size=kept.unit)
    before = kept.extents(path), os.stat(path)
    with Sizer(path, "truncate", kept.capacity, shortage) as sizer:
        assert_waits(sizer, shortage, 0.2)
        os.kill(kept.daemon.pid, signal.SIGKILL)
        kept.daemon.process.wait()
        kept.daemon.ended_by_test = True
        if early:
            os.kill(sizer.pid, number)
        kept.daemon.take_over()
        if early:
            assert is_ended(sizer, 0, shortage)
        else:
            assert_waits(sizer, shortage)
            assert is_ended(sizer, number, shortage)
    assert (kept.extents(path), os.stat(path)) == before


@pytest.mark.dmemfs(zero_in_advance="false")
def test_a_signal_ends_zeroing(fs, backend):
    """The signal comes while memory is zeroed. Later the file can be sized, and the new part reads as zeroes."""
    if backend.looks_inside:
        pytest.skip("the memory backend has nothing to zero")
    path = fs.make_file("file", b"kept", size=fs.unit)
    before = fs.extents(path), os.stat(path)
    for _ in range(100):
        with opened(fs.make_file("dirty", size=fs.capacity - fs.unit)) as fd, Mapping(fd, fs.capacity - fs.unit) as mapping:
            mapping.write(0, b"x" * (fs.capacity - fs.unit))
        os.unlink(fs / "dirty")
        assert fs.wait_free(fs.capacity - fs.unit) == fs.capacity - fs.unit
        with Sizer(path, "truncate", fs.capacity) as sizer:
            if is_ended(sizer, signal.SIGALRM, lambda: None):
                break
        assert path.read_bytes() == b"kept".ljust(fs.capacity, b"\0")
        os.truncate(path, fs.unit)
    else:
        pytest.fail("a hundred signals were sent, and none came while memory was zeroed")
    assert (fs.extents(path), os.stat(path)[:7]) == (before[0], before[1][:7])
    os.truncate(path, fs.capacity)
    assert path.read_bytes() == b"kept".ljust(fs.capacity, b"\0")
