# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory errors on a mount: the daemon and the module together."""

import errno
import os
import re
from pathlib import Path

import pytest

from helpers.backends import MIB
from helpers.control import Control
from helpers.daemon import control_program
from helpers.expect import fails_with
from helpers.mount import wait_until
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, fallocate, opened
from memory_errors import AR, COMPLAINT, build_victim, inject, victim
from test_module import unloaded

PAGE = 4096
SIZE = 8 * MIB
BAD = 5 * MIB + 3 * PAGE  # of the file
WARNING = r"memory error at 0x[0-9a-f]+: 4 KiB "

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.kernel_log(COMPLAINT)]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build_victim(tmp_path_factory.mktemp("poison"))


@pytest.fixture
def spoiled(forgetful, fs):  # in this order
    """A mount whose memory may be poisoned."""
    fs.daemon.expected.append(WARNING)
    return fs


def address_of(fs, path, offset):
    run = next(run for run in fs.extents(path) if run.offset <= offset < run.offset + run.length)
    return run.start + offset - run.offset


def poisoned(fs):
    stats = fs.stats()
    return stats["poisoned_bytes"], stats["poisoned_used_bytes"]


def spoil(fs, path, offset=BAD):
    """Poisons a page, and returns its physical address when the daemon knows of it."""
    address, before = address_of(fs, path, offset), sum(poisoned(fs))
    inject(address)
    wait_until(lambda: sum(poisoned(fs)) == before + PAGE and re.search(WARNING, fs.daemon.log), "the daemon knows of the error")
    return address


def check_books(fs, held):
    """Checks that free, used and poisoned memory add up. @held: bytes of files."""
    stats = fs.stats()
    assert stats["capacity_bytes"] == stats["free_bytes"] + held + stats["poisoned_bytes"] + stats["pending_bytes"]
    assert stats["free_bytes"] == stats["clean_bytes"] + stats["dirty_bytes"] + stats["zeroing_bytes"]


def fill(fs, name):
    """Makes one file of all free memory, in units of 4 KiB. Returns its runs."""
    os.mkdir(fs / name)
    os.setxattr(fs / name, "dmemfs.page_size", b"4K")
    path = fs.make_file(f"{name}/all", size=fs.stats()["free_bytes"])
    assert fs.stats()["free_bytes"] == 0
    return fs.extents(path)


def covers(runs, address):
    return any(run.start <= address < run.start + run.length for run in runs)


def lost(offset):
    return f"SIGBUS {AR} {offset} 12"


def test_guest_is_told_and_the_page_never_comes_back(spoiled, program):
    fs = spoiled
    path, other = fs.make_file("vm1", size=SIZE), fs.make_file("vm2", size=SIZE)
    with opened(path) as fd, opened(other) as fd2, victim(program, fd, SIZE) as guest, victim(program, fd2, SIZE) as second:
        assert guest.put(BAD) == second.put(BAD) == "done 0"
        address = spoil(fs, path)
        assert guest.get(BAD) == lost(BAD) and guest.get(0) == "done 0"
        assert second.get(BAD) == f"done {ord('x')}"
        with fails_with(errno.EIO):
            os.pread(fd, PAGE, BAD)
        assert os.pread(fd, 1, BAD + PAGE) == b"\0"
    assert poisoned(fs) == (0, PAGE)
    ino = os.stat(path).st_ino
    assert f"memory error at {address:#x}: 4 KiB of inode {ino} (/vm1) at offset {BAD} are lost" in fs.daemon.log
    assert os.getxattr(path, "dmemfs.poison").decode() == f"{BAD} {address} {PAGE}"
    assert os.getxattr(other, "dmemfs.poison") == b""
    check_books(fs, 2 * SIZE)
    os.unlink(path)
    wait_until(lambda: poisoned(fs) == (PAGE, 0), "the file no longer has the memory")
    check_books(fs, SIZE)
    assert not covers(fill(fs, "rest"), address)
    for name in ("rest/all", "vm2"):
        os.unlink(fs / name)
    os.rmdir(fs / "rest")
    wait_until(lambda: fs.stats()["free_bytes"] == fs.capacity - PAGE, "all memory but the bad pages is free")


def test_free_memory(spoiled):
    fs = spoiled
    path = fs.make_file("vm1", size=SIZE)
    address = address_of(fs, path, BAD)
    os.unlink(path)
    fs.wait_free(fs.capacity)
    inject(address)
    wait_until(lambda: poisoned(fs) == (PAGE, 0) and re.search(WARNING, fs.daemon.log), "the daemon knows of the error")
    assert f"memory error at {address:#x}: 4 KiB that no file has" in fs.daemon.log
    assert not covers(fill(fs, "all"), address)
    os.unlink(fs / "all" / "all")
    os.rmdir(fs / "all")


@pytest.mark.dmemfs(zero_in_advance="false")
@pytest.mark.parametrize("how", ["stop", "kill", "module", "lost"])
def test_restart(spoiled, program, how):
    """The next daemon knows of the error, also when the module no longer does."""
    fs = spoiled
    path = fs.make_file("vm1", size=SIZE)
    address = spoil(fs, path)
    if how == "kill":
        fs.daemon.kill()
        fs.daemon.next()
    else:
        fs.daemon.stop()
        if how != "stop":
            with unloaded():
                if how == "lost":
                    fs.daemon.expected.append("the contents are lost")
                    Path("/run/dmemfs/mark").unlink()
        fs.daemon.start()
    if how == "lost":  # so the file got memory anew
        assert poisoned(fs) == (PAGE, 0) and not covers(fs.extents(path), address)
    else:
        assert poisoned(fs) == (0, PAGE)
        with opened(path) as fd, victim(program, fd, SIZE) as guest:
            assert guest.get(BAD) == lost(BAD) and guest.get(BAD + PAGE) == "done 0"
    os.unlink(path)
    wait_until(lambda: poisoned(fs) == (PAGE, 0), "the memory has no owner")
    assert not covers(fill(fs, "all"), address)
    os.unlink(fs / "all" / "all")
    os.rmdir(fs / "all")


@pytest.mark.dmemfs(zero_in_advance="false")
@pytest.mark.parametrize("point", ["poison-found", "poison-recorded"])
def test_crash(spoiled, point):
    fs = spoiled
    path = fs.make_file("vm1", size=SIZE)
    address = address_of(fs, path, BAD)
    fs.daemon.expected.remove(WARNING)
    fs.daemon.stop()
    fs.daemon.start(DMEMFS_CRASH_AT=point)
    inject(address)
    fs.daemon.process.wait(30)
    fs.daemon.ended_by_test = True
    fs.daemon.next()
    if point == "poison-found":  # else it is on record already, though the log had no time
        fs.daemon.expected.append(WARNING)
    assert poisoned(fs) == (0, PAGE)
    os.unlink(path)
    wait_until(lambda: poisoned(fs) == (PAGE, 0), "the memory has no owner")


@pytest.mark.dmemfs(alloc="demand")
def test_hole_over_it_brings_fresh_memory(spoiled, program):
    fs = spoiled
    path = fs.make_file("vm1", size=SIZE)
    with opened(path) as fd, victim(program, fd, SIZE) as guest:
        assert guest.put(BAD) == "done 0"
        address = spoil(fs, path)
        assert guest.get(BAD) == lost(BAD)
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, BAD - BAD % (2 * MIB), 2 * MIB)
        assert guest.get(BAD) == "done 0"
        assert poisoned(fs) == (PAGE, 0) and address_of(fs, path, BAD) != address
        check_books(fs, fs.allocated(path))


def test_what_the_tools_say(spoiled):
    fs = spoiled
    spoil(fs, fs.make_file("vm1", size=SIZE))
    ctl = Control(control_program(fs.daemon.program), fs.daemon.work)
    assert re.search(r"\n  poisoned +0 B .*\n    in files +4 KiB", ctl.text("status", str(fs.root)))
    status = ctl.json("status", str(fs.root))["mounts"][0]
    assert (status["poisoned_bytes"], status["poisoned_used_bytes"]) == (0, PAGE)
    said = ctl.run("doctor", "--config", str(fs.daemon.config)).stdout
    assert re.search(r"4 KiB of memory are bad, 4 KiB of them are still in files", said)
