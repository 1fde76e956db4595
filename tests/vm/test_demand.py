# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that get memory when it is touched, on a mount: the daemon and the module together."""

import errno
import os
import signal
import subprocess
import time

import pytest

from helpers.backends import MIB
from helpers.children import Child
from helpers.expect import fails_with
from helpers.mount import wait_until
from helpers.syscalls import (FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MADV_DONTNEED, MADV_REMOVE, Mapping, fallocate,
                              opened)

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.dmemfs(alloc="demand")]
PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
UNIT = 2 * MIB
CRASHES_OF_A_TOUCH = ("cleaned", "extents-committed", "extents-given")
CRASHES_OF_A_PUNCH = ("punched-found", "hole-committed", "hole-taken")


def die(daemon):
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.process.wait()
    daemon.ended_by_test = True


def promised(fs):
    return fs.stats()["promised_bytes"]


class Toucher(Child):
    """A process that maps the file, touches it on request, and answers with what it read."""

    def __init__(self, path, length):
        super().__init__(self._serve, path, length, with_pipe=True)
        assert self.receive() == "ready"

    @staticmethod
    def _serve(pipe, path, length):
        with opened(path) as fd:
            mapping = Mapping(fd, length, skew=0)
        pipe.send("ready")
        while (wanted := pipe.recv()) is not None:
            what, *arguments = wanted
            pipe.send(getattr(mapping, what)(*arguments))
        mapping.unmap()

    def ask(self, what, *arguments):
        self.pipe.send((what, *arguments))

    def do(self, what, *arguments):
        self.ask(what, *arguments)
        return self.receive()

    def end(self):
        self.pipe.send(None)
        self.wait()


@pytest.fixture
def guest(request, fs):
    """A process that maps 16 MiB of vm1."""
    path = fs.make_file("vm1", size=16 * MIB)
    with Toucher(path, 16 * MIB) as child:
        yield child
        if child.status is None:
            child.end()


def test_memory_comes_unit_by_unit(fs, guest):
    path = fs / "vm1"
    assert (os.stat(path).st_blocks, fs.free() , promised(fs)) == (0, fs.capacity - 16 * MIB, 16 * MIB)
    guest.do("write", 5 * MIB, b"hello")
    assert [(run.offset, run.length) for run in fs.extents(path)] == [(4 * MIB, UNIT)]
    assert os.stat(path).st_blocks * 512 == UNIT and promised(fs) == 14 * MIB
    with opened(path) as fd:
        assert os.lseek(fd, 0, os.SEEK_DATA) == 4 * MIB and os.lseek(fd, 4 * MIB, os.SEEK_HOLE) == 6 * MIB
        assert os.pread(fd, 5, 5 * MIB) == b"hello" and os.pread(fd, 5, 0) == bytes(5)
        os.pwrite(fd, b"there", 9 * MIB)
    assert guest.do("read", 9 * MIB, 5) == b"there"
    assert fs.allocated(path) == 2 * UNIT
    served = dict(line.split() for line in os.getxattr(path, "dmemfs.faults").decode().splitlines())
    assert served["2M"] != "0" and served["4K"] == "0"


@pytest.mark.parametrize("threads", [1, 64])
def test_threads(fs, toucher, threads):
    path = fs.make_file("vm1", size=64 * MIB)
    done = subprocess.run([toucher, "touch", path, str(UNIT), str(threads)], stdout=subprocess.PIPE, text=True, check=True)
    assert done.stdout.startswith("touched 32 refused 0 ")
    assert fs.allocated(path) == 64 * MIB and fs.free() == 0


@pytest.mark.page_sizes("4K")
@pytest.mark.dmemfs(alloc="demand", demand_extent="2M")
def test_small_units_come_in_large_pages(fs, guest):
    guest.do("write", 3 * MIB, b"x")
    assert [(run.offset, run.length) for run in fs.extents(fs / "vm1")] == [(2 * MIB, 2 * MIB)]
    served = dict(line.split() for line in os.getxattr(fs / "vm1", "dmemfs.faults").decode().splitlines())
    assert served["2M"] != "0"


def test_two_processes(fs, guest):
    with Toucher(fs / "vm1", 16 * MIB) as other, fs.daemon.frozen():
        guest.ask("write", 0, b"first")
        other.ask("write", 100, b"second")
        time.sleep(0.5)
        os.kill(fs.daemon.pid, signal.SIGCONT)
        guest.receive()
        other.receive()
        os.kill(fs.daemon.pid, signal.SIGSTOP)
        wait_until(lambda: open(f"/proc/{fs.daemon.pid}/stat").read().split()[2] == "T", "the daemon is stopped")
        assert guest.do("read", 100, 6) == b"second"
        other.end()


def test_a_stopped_daemon_is_waited_for(fs, guest):
    with fs.daemon.frozen():
        guest.ask("write", 0, b"late")
        assert not guest.pipe.poll(1)
    guest.receive()
    assert fs.allocated(fs / "vm1") == UNIT


def test_a_waiting_process_can_be_killed(fs, guest):
    with fs.daemon.frozen():
        guest.ask("write", 0, b"never")
        assert not guest.pipe.poll(0.5)
        guest.kill()
    assert guest.status == -signal.SIGKILL


def test_a_killed_daemon_is_waited_for(kept):
    path = kept.make_file("vm1", size=16 * MIB)
    with Toucher(path, 16 * MIB) as guest:
        for at in range(0, 16 * MIB, 4 * MIB):
            die(kept.daemon)
            guest.ask("write", at, b"late")
            assert not guest.pipe.poll(0.5)
            kept.daemon.take_over()
            guest.receive()
        assert kept.allocated(path) == 4 * UNIT
        guest.end()


@pytest.mark.parametrize("place", CRASHES_OF_A_TOUCH)
def test_a_daemon_that_dies_at_a_touch(kept, place):
    path = kept.make_file("vm1", size=16 * MIB)
    die(kept.daemon)
    kept.daemon.take_over(DMEMFS_CRASH_AT=place)
    with Toucher(path, 16 * MIB) as guest:
        guest.ask("write", 0, b"late")
        kept.daemon.process.wait(30)
        kept.daemon.ended_by_test = True
        kept.daemon.take_over()
        guest.receive()
        assert guest.do("read", 0, 4) == b"late"
        assert kept.allocated(path) == UNIT
        guest.end()


@pytest.mark.parametrize("place", CRASHES_OF_A_PUNCH)
def test_a_daemon_that_dies_at_a_punch(kept, place):
    path = kept.make_file("vm1", size=16 * MIB)
    with Toucher(path, 16 * MIB) as guest:
        for at in range(0, 16 * MIB, UNIT):
            guest.do("write", at, b"secret")
        die(kept.daemon)
        kept.daemon.take_over(DMEMFS_CRASH_AT=place)
        guest.do("advise", MADV_REMOVE, 4 * MIB, 6 * MIB)
        kept.daemon.process.wait(30)
        kept.daemon.ended_by_test = True
        kept.daemon.take_over()
        assert [guest.do("read", at, 6) for at in (2 * MIB, 4 * MIB, 10 * MIB)] == [b"secret", bytes(6), b"secret"]
        wait_until(lambda: kept.allocated(path) == 12 * MIB, "the memory is free again, except units that were read")
        guest.end()


@pytest.mark.dmemfs(alloc="demand", zero_in_advance="false")  # which has commits of its own
@pytest.mark.parametrize("place", ["size-committed", "before-commit", "after-commit"])
def test_a_daemon_that_dies_while_a_file_grows(kept, place):
    path = kept.make_file("vm1", size=4 * MIB)
    die(kept.daemon)
    kept.daemon.take_over(DMEMFS_CRASH_AT=place)
    with Child(os.truncate, path, 16 * MIB) as child:
        kept.daemon.process.wait(30)
        kept.daemon.ended_by_test = True
        kept.daemon.take_over()
        child.wait()
    assert path.stat().st_size == 16 * MIB
    assert promised(kept) == 16 * MIB


@pytest.mark.parametrize("place", ["hole-taken", "hole-committed"])
def test_a_daemon_that_dies_while_a_hole_is_made(kept, place):
    path = kept.make_file("vm1", size=16 * MIB)
    path.write_bytes(b"x" * 16 * MIB)
    with Toucher(path, 16 * MIB) as guest, opened(path) as fd:
        die(kept.daemon)
        kept.daemon.take_over(DMEMFS_CRASH_AT=place)
        with Child(fallocate, fd, PUNCH, 4 * MIB, 6 * MIB) as child:
            kept.daemon.process.wait(30)
            kept.daemon.ended_by_test = True
            kept.daemon.take_over()
            child.wait()
        assert kept.allocated(path) == 10 * MIB
        assert [guest.do("read", at, 1) for at in (4 * MIB - 1, 4 * MIB, 10 * MIB - 1, 10 * MIB)] == [b"x", b"\0", b"\0", b"x"]
        guest.end()
    assert promised(kept) == 16 * MIB - kept.allocated(path)


def test_punches_without_a_daemon_are_found(kept):
    path = kept.make_file("vm1", size=16 * MIB)
    with Toucher(path, 16 * MIB) as guest:
        for at in range(0, 16 * MIB, UNIT):
            guest.do("write", at, b"secret")
        die(kept.daemon)
        guest.do("advise", MADV_REMOVE, 0, 8 * MIB)
        kept.daemon.take_over()
        assert kept.allocated(path) == 8 * MIB
        guest.end()


@pytest.mark.parametrize("way", ["madvise", "fallocate"])
def test_holes_give_memory_back(fs, guest, way):
    path = fs / "vm1"
    for at in range(0, 16 * MIB, UNIT):
        guest.do("write", at, b"secret")
    if way == "madvise":
        guest.do("advise", MADV_REMOVE, MIB, 6 * MIB)
    else:
        with opened(path) as fd:
            fallocate(fd, PUNCH, MIB, 6 * MIB)
    wait_until(lambda: fs.allocated(path) == 12 * MIB, "two units are back in the pool")
    assert promised(fs) == 4 * MIB
    assert [guest.do("read", at, 6) for at in (0, 2 * MIB, 4 * MIB, 6 * MIB, 8 * MIB)] == [
        b"secret", bytes(6), bytes(6), bytes(6), b"secret"]


def test_punching_under_load(fs, toucher):
    path = fs.make_file("vm1", size=16 * MIB)
    done = subprocess.run([toucher, "punch", path, str(UNIT), "10"], stdout=subprocess.PIPE, text=True, check=True)
    assert int(done.stdout) > 8


@pytest.mark.dmemfs(alloc="demand", overcommit=2)
@pytest.mark.expect_log("gets SIGBUS at offset .* there is no memory left")
def test_exhaustion_hits_who_cannot_grow(fs, toucher):
    first, second = fs.make_file("vm1", size=64 * MIB), fs.make_file("vm2", size=64 * MIB)
    with fails_with(errno.ENOSPC), opened(fs / "vm3", os.O_RDWR | os.O_CREAT) as fd:
        os.ftruncate(fd, 2 * MIB)
    os.unlink(fs / "vm3")
    with Toucher(first, 64 * MIB) as guest:
        for at in range(0, 40 * MIB, UNIT):
            guest.do("write", at, b"mine")
        done = subprocess.run([toucher, "touch", second, str(UNIT), "4"], stdout=subprocess.PIPE, text=True, check=True)
        assert done.stdout.startswith("touched 12 refused 20 ")
        assert fs.stats()["free_bytes"] == 0
        assert all(guest.do("read", at, 4) == b"mine" for at in range(0, 40 * MIB, UNIT))
        # Who grew gives some back, and the other one can go on.
        guest.do("advise", MADV_REMOVE, 0, 40 * MIB)
        wait_until(lambda: fs.stats()["free_bytes"] == 40 * MIB, "the memory came back")
        time.sleep(1.5)
        done = subprocess.run([toucher, "touch", second, str(64 * MIB), "1"], stdout=subprocess.PIPE, text=True, check=False)
        with Toucher(second, 64 * MIB) as other:
            other.do("write", 62 * MIB, b"late")
            other.end()
        guest.end()


def test_shrinking_ends_the_wait(fs, guest):
    fs.daemon.manager.keeps = False
    with fs.daemon.frozen():
        guest.ask("write", 8 * MIB, b"never")
        assert not guest.pipe.poll(0.5)
        shrinker = Child(os.truncate, fs / "vm1", 4 * MIB)
        time.sleep(0.2)
    shrinker.wait()
    # Either the memory came first, or the end did.
    assert guest.pipe.poll(30)
    try:
        guest.receive()
    except (AssertionError, OSError):
        assert guest.status == -signal.SIGBUS


def map_and_remove(pipe, path):
    with opened(path) as fd:
        mapping = Mapping(fd, 16 * MIB)
    os.unlink(path)
    pipe.send("removed")
    pipe.recv()
    mapping.write(0, b"x" * 8 * MIB)
    mapping.advise(MADV_REMOVE, 0, 4 * MIB)
    pipe.send(mapping.read(0, 1) + mapping.read(7 * MIB, 1))
    pipe.recv()


@pytest.mark.parametrize("keeper", [True, False])
def test_removed_files_get_memory_as_long_as_they_are_mapped(fs, keeper):
    """They do so also after their mount has ended with its daemon."""
    fs.daemon.manager.keeps = keeper
    fs.daemon.stop()
    fs.daemon.start()
    with Child(map_and_remove, fs.make_file("vm1", size=16 * MIB), with_pipe=True) as child:
        assert child.receive() == "removed"
        die(fs.daemon)
        child.pipe.send("go on")
        time.sleep(0.5)
        if keeper:
            fs.daemon.take_over()
        else:
            fs.daemon.next()
        assert child.receive() == b"\0x"
        child.pipe.send("end")
        child.wait()
    assert fs.wait_free(fs.capacity) == fs.capacity
    assert promised(fs) == 0


def touch_as_it_goes(fs, name, turns):
    """In each round the file loses its name and its last descriptor while its units are touched for the first time."""
    for turn in range(turns):
        fd = os.open(fs / f"{name}.{turn}", os.O_RDWR | os.O_CREAT | os.O_EXCL)
        os.ftruncate(fd, 4 * UNIT)
        with Mapping(fd, 4 * UNIT) as mapping:
            mapping.write(0, b"0")
            os.unlink(fs / f"{name}.{turn}")
            os.close(fd)
            for number in (1, 2, 3):
                mapping.write(number * UNIT, b"%d" % number)
            assert [mapping.read(number * UNIT, 1) for number in range(4)] == [b"0", b"1", b"2", b"3"]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("deaths", [0, 5])
def test_a_touch_finds_the_owner_of_a_file_that_just_went(kept, deaths):
    """A file between its last close and its entry in unlinked_mapped, also while the daemon dies."""
    children = [Child(touch_as_it_goes, kept, f"vm{number}", 40) for number in range(3)]
    try:
        for _ in range(deaths):
            time.sleep(0.3)
            die(kept.daemon)
            kept.daemon.take_over()
        for child in children:
            child.wait(100)
    finally:
        for child in children:
            child.kill()
    assert kept.wait_free(kept.capacity) == kept.capacity
    assert promised(kept) == 0


def test_discarding_mappings(fs):
    path = fs.make_file("vm1")
    os.setxattr(path, "dmemfs.discard", b"1")
    os.truncate(path, 8 * MIB)
    with Toucher(path, 8 * MIB) as guest:
        guest.do("write", 0, b"kept")
        guest.do("advise", MADV_DONTNEED, 0, 8 * MIB)
        assert guest.do("read", 0, 4) == b"kept"
        guest.end()
    assert os.getxattr(path, "dmemfs.discard") == b"1"


def test_what_is_on_record_comes_back(fs):
    directory = fs / "tenant"
    os.mkdir(directory)
    os.setxattr(directory, "dmemfs.alloc", b"eager")
    (directory / "vm1").write_bytes(b"")
    fs.make_file("vm2", size=8 * MIB)
    with opened(fs / "vm2") as fd:
        os.pwrite(fd, b"x", 5 * MIB)
    before = fs.stats()
    fs.daemon.stop()
    fs.daemon.config.write_text(fs.daemon.config.read_text().replace("alloc=demand", "alloc=eager"))
    fs.daemon.start()
    assert {name: os.getxattr(fs / name, "dmemfs.alloc") for name in ("tenant", "tenant/vm1", "vm2")} == {
        "tenant": b"eager", "tenant/vm1": b"eager", "vm2": b"demand"}
    after = fs.stats()
    for name in ("zeroed_bytes", "zeroing_rate"):  # of this daemon
        del before[name], after[name]
    assert after == before
    with Toucher(fs / "vm2", 8 * MIB) as guest:
        assert guest.do("read", 5 * MIB, 1) == b"x"
        guest.do("write", 0, b"more")
        guest.end()


@pytest.mark.dmemfs(alloc="eager")
def test_demand_is_for_empty_files_and_inherited(fs):
    path = fs.make_file("file", size=fs.unit)
    with fails_with(errno.EBUSY):
        os.setxattr(path, "dmemfs.alloc", b"demand")
    os.truncate(path, 0)
    os.setxattr(path, "dmemfs.alloc", b"demand")
    os.mkdir(fs / "outer")
    os.setxattr(fs / "outer", "dmemfs.alloc", b"demand")
    os.setxattr(fs / "outer", "dmemfs.discard", b"1")
    os.mkdir(fs / "outer/inner")
    inner = fs.make_file("outer/inner/file", size=4 * fs.unit)
    assert [os.getxattr(each, "dmemfs.alloc") for each in (path, fs / "outer/inner", inner)] == [b"demand"] * 3
    assert os.getxattr(inner, "dmemfs.discard") == b"1"
    assert os.stat(inner).st_blocks == 0 and inner.read_bytes() == bytes(4 * fs.unit)
    with open(inner, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"x", 2 * fs.unit + 1)
    assert [(run.offset, run.length) for run in fs.extents(inner)] == [(2 * fs.unit, fs.unit)]
