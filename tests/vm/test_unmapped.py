# SPDX-License-Identifier: GPL-2.0-or-later
"""
The kernel's own page tables have no entry for raw memory, except while the module accesses it. tables/tables.c walks these
tables, and keeps memory from being mapped.
"""

import errno
import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from device import PAGE, Device
from dmemfs_ioctl import CONSTANTS
from helpers.backends import GIB, MIB
from helpers.expect import fails_with
from helpers.mount import wait_until
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, Mapping, fallocate, opened
from memory_errors import COMPLAINT, build_victim, inject, victim
from test_demand import Toucher
from test_module import unloaded

PARAMETERS = Path("/sys/module/tables/parameters")
UNMAPPED = CONSTANTS["REGION_UNMAPPED"]
SIZE = 256 * MIB  # of an object: zeroed in several chunks
CHUNK = 64 * MIB
BAD = 5 * MIB + 3 * PAGE
WAIT = 10


class Tables:
    """The kernel's page tables."""

    @staticmethod
    def choose(start, length):
        (PARAMETERS / "start").write_text(str(start))
        (PARAMETERS / "length").write_text(str(length))

    def entries(self, start, length):
        """How many entries point into the range, by their size."""
        self.choose(start, length)
        return dict(zip(("4K", "2M", "1G"), map(int, (PARAMETERS / "entries").read_text().split())))

    def refuse(self, start, length, times):
        """The kernel cannot map memory of the range so many times."""
        self.choose(start, length)
        (PARAMETERS / "refuse").write_text(str(times))

    @staticmethod
    def refusals_left():
        return int((PARAMETERS / "refuse").read_text())


@contextmanager
def loaded_tables():
    subprocess.run(["insmod", os.environ["DMEMFS_TABLES"]], check=True)
    try:
        yield Tables()
    finally:
        subprocess.run(["rmmod", "tables"], check=True)


@pytest.fixture(scope="module")
def tables():
    with loaded_tables() as tables:
        yield tables


@pytest.fixture(autouse=True)
def allowed_again(tables):
    """No test refuses anything to the next one."""
    yield
    tables.refuse(0, 0, 0)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build_victim(tmp_path_factory.mktemp("poison"))


@pytest.fixture
def unmapped(tables, region):
    """unmapped(): nothing maps any of the region, beginning now."""

    def check():
        assert tables.entries(region.start, region.length) == {"4K": 0, "2M": 0, "1G": 0}

    check()
    return check


@pytest.fixture
def fd(device, region):
    opened = device.create(1, region.start, SIZE)
    yield opened
    os.close(opened)


@pytest.fixture
def refused(tables, region):
    """refused(offset, length, times) of the region; in the end all must have been."""

    def refuse(offset=0, length=GIB, times=1):
        tables.refuse(region.start + offset, length, times)

    yield refuse
    left = tables.refusals_left()
    refuse(times=0)
    assert left == 0


@pytest.mark.parametrize("order", [9, 18], ids=["pages=2M", "pages=1G"])
def test_the_walk_finds_memory_with_struct_pages(tables, region, order):
    assert not region.flags & UNMAPPED
    assert any(tables.entries(region.start, region.length).values())
    assert any(tables.entries(region.start + region.length - PAGE, PAGE).values())


def test_regions_tell(device, reserved):
    start = reserved[0][0]
    assert device.claim(start, GIB).flags == UNMAPPED
    assert device.claim(start + GIB, 128 * MIB, 9).flags == 0
    assert [found.flags for found in device.regions()] == [UNMAPPED, 0]


def test_zeroing(device, region, unmapped):
    device.call("OBJECT_ZERO", offset=region.start, length=GIB)
    unmapped()
    device.call("OBJECT_ZERO", offset=region.start + PAGE, length=CHUNK + 2 * PAGE)
    unmapped()


def test_reads_and_writes(fd, unmapped):
    for offset, length in ((0, 1), (PAGE - 1, 2), (2 * MIB - 3, 3 * MIB), (SIZE - PAGE, PAGE)):
        data = os.urandom(length)
        assert os.pwrite(fd, data, offset) == length
        unmapped()
        assert os.pread(fd, length, offset) == data
        unmapped()


def test_zeroing_of_a_file(device, fd, unmapped):
    os.pwrite(fd, b"x" * MIB, 2 * MIB)
    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 2 * MIB, MIB)
    device.call("OBJECT_RESIZE", id=1, size=SIZE - PAGE - 1)
    device.call("OBJECT_RESIZE", id=1, size=SIZE)
    assert os.pread(fd, MIB, 2 * MIB) == bytes(MIB)
    unmapped()


@pytest.mark.parametrize("size", ["4K", "2M", "1G"])
def test_a_process_that_maps_it(device, region, unmapped, size):
    fd = device.create(1, region.start, GIB)
    with Mapping(fd, GIB, skew={"4K": PAGE, "2M": 2 * MIB, "1G": 0}[size]) as mapping:
        for offset in (0, 700 * MIB, GIB - 1):
            mapping.write(offset, b"x")
        assert getattr(device.info(1), f"faults_{size.lower()}") > 0
        unmapped()
    os.close(fd)


def test_a_debugger(fd, program, unmapped):
    with victim(program, fd, SIZE) as process, open(f"/proc/{process.pid}/mem", "r+b", buffering=0) as memory:
        at = process.address(fd) + 3 * MIB
        assert os.pwrite(memory.fileno(), b"debugger", at) == 8
        assert os.pread(memory.fileno(), 8, at) == b"debugger"
        unmapped()


@pytest.mark.usefixtures("kvm")
def test_a_guest(fd, program, unmapped):
    with victim(program, fd, SIZE) as process:
        process.put(BAD)
        assert process.get_by_guest(BAD) == f"done {ord('x')}"
        unmapped()


@pytest.mark.kernel_log(COMPLAINT)
def test_memory_errors(tables, reserved, program):
    """The module is loaded again afterwards, because it remembers poisoned pages."""
    start, nothing = reserved[0][0], {"4K": 0, "2M": 0, "1G": 0}
    with Device() as device:
        device.claim(start, GIB)
        device.call("POISON_ADD", start=start + PAGE, length=PAGE)
        assert device.events()  # so the next one is of the error below
        fd = device.create(1, start, SIZE)
        try:
            with victim(program, fd, SIZE) as process:
                process.put(BAD)
                inject(start + BAD)
                assert device.events(WAIT)
                assert process.get(BAD).startswith("SIGBUS")
                assert os.pread(fd, 2 * PAGE, 0) == bytes(PAGE)
                with fails_with(errno.EIO):
                    os.pread(fd, PAGE, BAD)
                assert tables.entries(start, GIB) == nothing
        finally:
            os.close(fd)
        device.clear()
        device.claim(start, GIB)
        device.call("OBJECT_ZERO", offset=start, length=GIB)
        assert tables.entries(start, GIB) == nothing
        device.clear()
    with unloaded():
        pass


def test_zeroing_that_cannot_map_fails(device, region, unmapped, refused):
    """A chunk in the middle: the range has no owner, and can be zeroed again."""
    refused(2 * CHUNK, CHUNK)
    with fails_with(errno.ENOMEM):
        device.call("OBJECT_ZERO", offset=region.start, length=SIZE)
    unmapped()
    os.close(device.create(1, region.start, SIZE))


def test_zeroing_of_a_file_does_not_map_poisoned_pages(spoiled, tables, reserved):
    """To map them would fail here."""
    start, bad = reserved[0][0], reserved[0][0] + MIB
    fd = spoiled.create(1, start, 4 * MIB)
    try:
        os.pwrite(fd, b"x" * 4 * MIB, 0)
        spoiled.call("POISON_ADD", start=bad, length=3 * PAGE)
        tables.refuse(bad, 3 * PAGE, 1)
        spoiled.call("OBJECT_ZERO", id=1, offset=1, length=4 * MIB - 1)
        assert os.pread(fd, MIB, 0) == b"x" + bytes(MIB - 1)
        assert os.pread(fd, 2 * MIB, MIB + 3 * PAGE) == bytes(2 * MIB)
        assert tables.refusals_left() == 1
    finally:
        os.close(fd)


def test_zeroing_without_an_owner_does_not_map_poisoned_pages(spoiled, tables, reserved):
    start = reserved[0][0]
    bad = start + CHUNK + MIB
    spoiled.call("POISON_ADD", start=bad, length=3 * PAGE)
    tables.refuse(bad, 3 * PAGE, 1)
    spoiled.call("OBJECT_ZERO", offset=start, length=GIB)
    assert tables.refusals_left() == 1


def test_reads_and_writes_that_cannot_map_fail(fd, unmapped, refused):
    os.pwrite(fd, b"before", 0)
    for access in (lambda: os.pread(fd, 6, 0), lambda: os.pwrite(fd, b"after!", 0),
                   lambda: fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 6)):
        refused()
        with fails_with(errno.ENOMEM):
            access()
    assert os.pread(fd, 6, 0) == b"before"


def test_a_smaller_size_that_cannot_map_fails(device, fd, unmapped, refused):
    """Nothing has changed then, neither for system calls nor for mappings."""
    os.pwrite(fd, b"before", 0)
    with Mapping(fd, SIZE, skew=0) as mapping:
        assert mapping.read(0, 6) == b"before"
        refused()
        with fails_with(errno.ENOMEM):
            device.call("OBJECT_RESIZE", id=1, size=3)
        assert os.fstat(fd).st_size == device.info(1).size == SIZE
        assert os.pread(fd, 6, 0) == mapping.read(0, 6) == b"before"
        mapping.write(SIZE - 1, b"x")
    device.call("OBJECT_RESIZE", id=1, size=3)
    device.call("OBJECT_RESIZE", id=1, size=SIZE)
    assert os.pread(fd, 6, 0) == b"bef" + bytes(3)
    assert os.pread(fd, 1, SIZE - 1) == bytes(1)


@pytest.mark.page_sizes("2M")
def test_a_smaller_file_that_cannot_be_zeroed_is_as_before(fs, tables):
    path, size = fs.make_file("file", size=3 * fs.unit), 3 * fs.unit
    with opened(path) as fd:
        for offset in range(0, size, fs.unit):
            os.pwrite(fd, b"before", offset)
        memory = fs.extents(fd)
        tables.refuse(memory[0].start, fs.unit, 1 << 30)
        with fails_with(errno.ENOMEM):
            os.truncate(path, 3)
        tables.refuse(0, 0, 0)
        assert (path.stat().st_size, fs.extents(fd)) == (size, memory)
        with Mapping(fd, size, skew=0) as mapping:
            for offset in range(0, size, fs.unit):
                assert os.pread(fd, 6, offset) == mapping.read(offset, 6) == b"before"
        os.truncate(path, 3)
        os.truncate(path, size)
        assert os.pread(fd, size, 0) == b"bef" + bytes(size - 3)


def test_a_claim_without_memory_fails(device, tables, reserved):
    """Not as if the memory could not be write-back, which a refusal of the first mapping alone means."""
    start = reserved[0][0]
    for refusals, error in ((1 << 30, errno.ENOMEM), (1, errno.EIO)):
        tables.refuse(start, GIB, refusals)
        with fails_with(error):
            device.claim(start, GIB)
    device.claim(start, GIB)
    assert tables.entries(start, GIB) == {"4K": 0, "2M": 0, "1G": 0}


@pytest.mark.page_sizes("2M")
@pytest.mark.expect_log("zeroing 0x.*: Cannot allocate memory")
def test_no_file_gets_what_could_not_be_zeroed(fs, tables, reserved):
    old, new = fs.root / "old", fs.root / "new"
    for path in (old, new):
        path.touch()
    os.truncate(old, fs.capacity)
    with opened(old) as fd:
        os.pwrite(fd, b"secret", 0)
    tables.refuse(*reserved[0], 1 << 30)
    old.unlink()
    wait_until(lambda: "Cannot allocate memory" in fs.daemon.log, "zeroing in advance has failed")
    with fails_with(errno.ENOMEM):
        os.truncate(new, fs.capacity)
    assert new.stat().st_blocks == 0
    tables.refuse(*reserved[0], 0)
    os.truncate(new, fs.capacity)
    with opened(new) as fd:
        assert os.pread(fd, MIB, 0) == bytes(MIB)


@pytest.mark.page_sizes("2M")
@pytest.mark.dmemfs(alloc="demand")
@pytest.mark.expect_log("zeroing 0x.*: Cannot allocate memory")
@pytest.mark.expect_log("waits at offset 0: the host's kernel has no memory of its own left")
def test_a_touch_waits_until_memory_can_be_zeroed(fs, tables, reserved):
    old, new = fs.make_file("old"), fs.make_file("new", size=0)
    with opened(old) as fd:
        os.posix_fallocate(fd, 0, fs.capacity)
    tables.refuse(*reserved[0], 1 << 30)
    old.unlink()
    os.truncate(new, fs.unit)
    with Toucher(new, fs.unit) as guest:
        guest.ask("write", 0, b"x")
        wait_until(lambda: "waits at offset 0" in fs.daemon.log, "the fault waits")
        assert not guest.pipe.poll()
        tables.refuse(0, 0, 0)
        guest.receive()
        assert guest.do("read", 0, 2) == b"x" + bytes(1)
        guest.end()


@pytest.mark.page_sizes("2M")
@pytest.mark.dmemfs(size=GIB)
@pytest.mark.parametrize("pages, kernel", [("none", "unmapped"), ("2M", "mapped")])
def test_status(fs, ctl, pages, kernel):
    (mount,) = ctl.json("status", fs.root)["mounts"]
    assert [(region["pages"], region["kernel"]) for region in mount["regions"]] == [(pages, kernel)]
    assert re.search(rf"^  0 .* {pages} +{kernel}$", ctl.text("status", fs.root), re.MULTILINE)
