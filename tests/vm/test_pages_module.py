# SPDX-License-Identifier: GPL-2.0-or-later
"""Regions whose memory has struct pages, as the module alone handles them. The test acts as the daemon."""

import ctypes
import errno
import mmap
import os
import platform
import time
from pathlib import Path

import pytest

from device import PAGE, Device
from dmemfs_ioctl import CONSTANTS
from helpers.backends import GIB, MIB
from helpers.children import Child
from helpers.expect import fails_with
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, Mapping, fallocate
from holder import pinned
from test_module import load, unload, unloaded

ALIGNMENT = CONSTANTS["PAGES_ALIGNMENT"]
WAIT = 30
LIBC = ctypes.CDLL(None, use_errno=True)
SYS_FUTEX = 202
FUTEX_WAIT, FUTEX_WAKE = 0, 1
MADV_POPULATE_WRITE = 23  # not in Python's mmap
ENABLED_FUNCTIONS = Path("/sys/kernel/tracing/enabled_functions")


@pytest.fixture(params=[9, 18], ids=["2M", "1G"])
def order(request):
    return request.param


@pytest.fixture
def paged(device, region, order, folio):
    """A descriptor of object 1: the whole region, a gigabyte."""
    fd = device.create(1, region.start, GIB, order)
    yield fd
    os.close(fd)


def entry_sizes(order):
    """The sizes above 4 KiB of page-table entries that this kernel can have for such memory."""
    if order == 9:
        return {2 * MIB}
    return {2 * MIB, GIB} if platform.release().startswith("6.12.") else {GIB}


def buffer(mapping, offset, length):
    """The mapped memory itself, for system calls."""
    return (ctypes.c_char * length).from_address(mapping.address + offset)


def content(seed, length):
    return bytes((seed + number) % 251 for number in range(997)) * (length // 997) + bytes(length % 997)


def test_hello(device):
    assert device.hello.features & CONSTANTS["FEATURE_PAGES"]


@pytest.mark.parametrize("skew, length",
                         [(2 * MIB, GIB), (ALIGNMENT // 2, GIB), (0, GIB + ALIGNMENT // 2), (PAGE, GIB)])
def test_claim_refuses_what_is_not_aligned(device, reserved, order, skew, length):
    with fails_with(errno.EINVAL):
        device.claim(reserved[0][0] + skew, length, order)
    assert not list(device.regions())


def test_claim_refuses_half_a_folio(device, reserved):
    with fails_with(errno.EINVAL):
        device.claim(reserved[0][0], GIB + ALIGNMENT, 18)
    with fails_with(errno.EINVAL):
        device.claim(reserved[0][0] + ALIGNMENT, GIB, 18)


@pytest.mark.parametrize("wrong", [1, 8, 10, 17, 19, 27, 1 << 31])
def test_claim_refuses_other_orders(device, reserved, wrong):
    with fails_with(errno.EINVAL):
        device.claim(reserved[0][0], GIB, wrong)


@pytest.mark.parametrize("member", ["owned", "node_length", "node"])
def test_claim_has_no_other_inputs(device, reserved, member):
    with fails_with(errno.EINVAL):
        device.call("REGION_CLAIM", start=reserved[0][0], length=GIB, **{member: 1})


def test_claim_of_128_mib(device, reserved):
    claimed = device.claim(reserved[0][0] + ALIGNMENT, ALIGNMENT, 9)
    assert (claimed.order, claimed.owned, claimed.node) == (9, 0, 0)
    fd = device.create(1, claimed.start, ALIGNMENT, 9)
    with Mapping(fd, ALIGNMENT) as mapping:
        mapping.write(ALIGNMENT - 1, b"x")
    os.close(fd)


def test_regions_tell_their_order(device, reserved):
    start, _ = reserved[0]
    device.claim(start, GIB, 18)
    device.claim(start + GIB, ALIGNMENT, 9)
    device.claim(start + GIB + ALIGNMENT, ALIGNMENT)
    assert [(found.start - start, found.order) for found in device.regions()] == [
        (0, 18), (GIB, 9), (GIB + ALIGNMENT, 0)]


def test_claim_with_another_order_is_a_claim_of_the_same(device, reserved, order):
    device.claim(reserved[0][0], GIB, order)
    for other in (0, 9, 18):
        with fails_with(errno.EEXIST):
            device.claim(reserved[0][0], GIB, other)


def test_struct_pages_come_and_go(device, reserved):
    for order in (9, 0, 18, 9, 18, 0):
        claimed = device.claim(reserved[0][0], GIB, order)
        os.close(device.create(1, claimed.start, GIB, order))
        assert device.info(1).order == order
        device.clear()


def test_no_guard_is_set_for_paged_memory(reserved, order):
    with unloaded():
        load()
        with Device() as device:
            device.claim(reserved[0][0], GIB, order)
            assert "follow_pfnmap_start" not in ENABLED_FUNCTIONS.read_text()
            device.clear()
            device.claim(reserved[0][0], GIB)
            assert "follow_pfnmap_start" in ENABLED_FUNCTIONS.read_text()
            assert device.call("HELLO", abi=CONSTANTS["ABI_VERSION"]).huge in (
                CONSTANTS["HUGE_SAFE"], CONSTANTS["HUGE_GUARDED"])
            device.clear()
        assert unload()[0] == 0


def test_order_of_an_object(device, region, order, folio):
    device.call("OBJECT_CREATE", id=1)
    with fails_with(errno.EINVAL):
        device.call("OBJECT_MODE", id=1, unit=PAGE, order=order)
    with fails_with(errno.EINVAL):
        device.call("OBJECT_MODE", id=1, unit=GIB, order=10)
    with fails_with(errno.EINVAL):  # of another order than the region
        device.call("EXTENT_ADD", id=1, start=region.start, length=folio)
    device.call("OBJECT_MODE", id=1, unit=folio, order=order)
    device.call("OBJECT_MODE", id=1, unit=PAGE, order=0)
    device.call("OBJECT_MODE", id=1, unit=GIB, order=order)
    device.call("EXTENT_ADD", id=1, start=region.start, length=folio)
    with fails_with(errno.EBUSY):
        device.call("OBJECT_MODE", id=1, unit=GIB, order=0)
    device.call("EXTENT_REMOVE", id=1, length=folio)
    device.call("OBJECT_MODE", id=1, unit=GIB, order=0)
    device.call("OBJECT_RESIZE", id=1, size=PAGE)
    fd = device.open_object(1)
    with fails_with(errno.EBUSY):
        device.call("OBJECT_MODE", id=1, unit=GIB, order=order)
    device.call("OBJECT_MODE", id=1, unit=GIB)
    with Mapping(fd, PAGE):
        os.close(fd)
        with fails_with(errno.EBUSY):
            device.call("OBJECT_MODE", id=1, unit=GIB, order=order)
    device.call("OBJECT_MODE", id=1, unit=GIB, order=order)


@pytest.mark.parametrize("start, offset, length", [(PAGE, 0, 0), (0, PAGE, 0), (0, 0, -PAGE), (0, MIB, 0), (MIB, 0, 0)])
def test_extents_are_whole_folios(device, region, order, folio, start, offset, length):
    device.call("OBJECT_CREATE", id=1)
    device.call("OBJECT_MODE", id=1, unit=folio, order=order)
    with fails_with(errno.EINVAL):
        device.call("EXTENT_ADD", id=1, start=region.start + start, offset=offset, length=folio + length)
    device.call("EXTENT_ADD", id=1, start=region.start, length=folio)
    if offset or length:
        with fails_with(errno.EINVAL):
            device.call("EXTENT_REMOVE", id=1, offset=offset, length=folio + length)
    assert device.info(1).allocated == folio


@pytest.mark.parametrize("skew", [0, 2 * MIB, PAGE], ids=["1G", "2M", "4K"])
def test_entries(device, paged, order, skew):
    """Page-table entries are as large as the kernel, the folio and the address allow."""
    with Mapping(paged, GIB - skew, skew=skew) as mapping:
        for number in range(16):
            mapping.write(number * 2 * MIB + 5, b"x")
        info = device.info(1)
        fits = {size for size in entry_sizes(order) if skew % size == 0}
        expected = {GIB: (1, 0, 0), 2 * MIB: (0, 16, 0), 0: (0, 0, 16)}[max(fits, default=0)]
        assert (info.faults_1g, info.faults_2m, info.faults_4k) == expected
        assert mapping.read(30 * MIB + 5, 1) == b"x"


def test_no_large_entries_by_parameter(reserved, order):
    with unloaded():
        load("huge_pages=0")
        with Device() as device:
            device.claim(reserved[0][0], GIB, order)
            fd = device.create(1, reserved[0][0], GIB, order)
            with Mapping(fd, GIB, skew=0) as mapping:
                mapping.write(5, b"x")
            assert (device.info(1).faults_4k, device.info(1).faults_2m, device.info(1).faults_1g) == (1, 0, 0)
            os.close(fd)
            device.clear()
        assert unload()[0] == 0


def test_reading_and_writing_from_one_folio_to_the_next(device, reserved, order, folio):
    claimed = device.claim(reserved[0][0], max(2 * folio, ALIGNMENT), order)
    fd = device.create(1, claimed.start, 2 * folio, order)
    for before in (1, 5, PAGE, 256 * 1024 - 3):
        data = content(before, MIB)
        assert os.pwrite(fd, data, folio - before) == len(data)
        assert os.pread(fd, len(data), folio - before) == data
    os.close(fd)


@pytest.fixture(params=[0, 2 * MIB, PAGE], ids=["at 1G", "at 2M", "at 4K"])
def mapping(request, paged):
    with Mapping(paged, GIB - request.param, skew=request.param) as mapped:
        yield mapped


@pytest.mark.parametrize("touched", [False, True], ids=["fresh", "touched"])
def test_direct_io(disk, mapping, touched):
    at, length = 2 * MIB - PAGE, 4 * MIB  # across entries of 2 MiB
    if touched:
        mapping.write(at, b"x" * length)
    assert os.pwrite(disk, mmap.mmap(-1, length), 0) == length
    mapping.write(at, content(1, length))
    assert os.pwritev(disk, [buffer(mapping, at, length)], 8 * MIB) == length
    assert os.preadv(disk, [buffer(mapping, 64 * MIB, length)], 8 * MIB) == length
    assert mapping.read(64 * MIB, length) == content(1, length)
    assert os.preadv(disk, [buffer(mapping, 64 * MIB + 512, 512)], 0) == 512
    assert mapping.read(64 * MIB, 2048) == content(1, length)[:512] + bytes(512) + content(1, length)[1024:2048]


class IoVec(ctypes.Structure):
    _fields_ = [("base", ctypes.c_void_p), ("length", ctypes.c_size_t)]


def test_memory_of_another_process(mapping):
    at = 2 * MIB - PAGE
    mapping.write(at, content(3, 2 * PAGE))
    parent = os.getpid()

    def exchange():
        local = ctypes.create_string_buffer(2 * PAGE)
        near, far = IoVec(ctypes.addressof(local), 2 * PAGE), IoVec(mapping.address + at, 2 * PAGE)
        arguments = (parent, ctypes.byref(near), 1, ctypes.byref(far), 1, 0)
        assert LIBC.process_vm_readv(*arguments) == 2 * PAGE
        assert local.raw == content(3, 2 * PAGE)
        local.raw = content(4, 2 * PAGE)
        assert LIBC.process_vm_writev(*arguments) == 2 * PAGE

    with Child(exchange) as child:
        child.wait()
    assert mapping.read(at, 2 * PAGE) == content(4, 2 * PAGE)


def test_debugger(mapping):
    mapping.write(PAGE, b"word")
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        memory.seek(mapping.address + PAGE)
        assert memory.read(4) == b"word"
        memory.seek(mapping.address + PAGE)
        memory.write(b"more")
    assert mapping.read(PAGE, 4) == b"more"


def test_pages_in_a_pipe(mapping):
    at = 2 * MIB - PAGE
    mapping.write(at, content(5, 2 * PAGE))
    end, begin = os.pipe()
    vector = IoVec(mapping.address + at, 2 * PAGE)
    assert LIBC.vmsplice(begin, ctypes.byref(vector), 1, 0) == 2 * PAGE
    assert os.read(end, 2 * PAGE) == content(5, 2 * PAGE)
    os.close(begin)
    os.close(end)


def futex_wake(mapping, word):
    return LIBC.syscall(SYS_FUTEX, ctypes.c_void_p(mapping.address + word), FUTEX_WAKE, 1, None, None, 0)


def test_futex_between_processes(paged, mapping):
    word = 8 * MIB + 64

    def wait():
        with Mapping(paged, GIB) as other:
            address = ctypes.c_void_p(other.address + word)
            assert LIBC.syscall(SYS_FUTEX, address, FUTEX_WAIT, 0, None, None, 0) == 0

    with Child(wait) as child:
        deadline = time.monotonic() + WAIT
        while not futex_wake(mapping, word):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        child.wait()


def test_who_sleeps_on_a_futex_of_the_last_owner_is_not_woken_by_the_next(device, region, order, folio):
    """A wake that a process of the last owner took would be lost for those whom it was meant for."""
    word = 64
    fd = device.create(1, region.start, GIB, order)

    def wait():
        with Mapping(fd, GIB) as old:
            LIBC.syscall(SYS_FUTEX, ctypes.c_void_p(old.address + word), FUTEX_WAIT, 0, None, None, 0)

    with Child(wait) as child:
        deadline = time.monotonic() + WAIT
        while not Path(f"/proc/{child.pid}/syscall").read_text().startswith(f"{SYS_FUTEX} "):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        device.call("EXTENT_REMOVE", id=1, length=folio)
        other = device.create(2, region.start, folio, order)
        with Mapping(other, folio) as mapping:
            assert futex_wake(mapping, word) == 0
        os.close(other)
    os.close(fd)


def test_locking_and_populating(mapping):
    assert LIBC.mlock(ctypes.c_void_p(mapping.address), 64 * MIB) == 0
    assert LIBC.munlock(ctypes.c_void_p(mapping.address), 64 * MIB) == 0
    mapping.advise(MADV_POPULATE_WRITE, 10 * MIB, 4 * MIB)


def test_discard_keeps_the_bytes(device, mapping):
    """MADV_DONTNEED drops entries, whole ones and parts; the memory is the file's."""
    mapping.write(10 * MIB, b"kept")
    before = device.info(1)
    for length in (2 * MIB, PAGE, 4 * MIB):
        mapping.advise(mmap.MADV_DONTNEED, 10 * MIB, length)
        assert mapping.read(10 * MIB, 4) == b"kept"
    after = device.info(1)
    assert after.faults_4k + after.faults_2m + after.faults_1g > before.faults_4k + before.faults_2m + before.faults_1g


def test_children_share(mapping):
    mapping.write(9 * MIB, b"parent")

    def change():
        assert mapping.read(9 * MIB, 6) == b"parent"
        mapping.write(9 * MIB, b"child!")
        mapping.unmap_part(MIB, PAGE)

    with Child(change) as child:
        child.wait()
    assert mapping.read(9 * MIB, 6) == b"child!"


def test_protection_and_moves(mapping):
    mapping.write(5, b"bytes")
    mapping.protect(mmap.PROT_READ, MIB, PAGE)
    mapping.protect(mmap.PROT_READ | mmap.PROT_WRITE, MIB, PAGE)
    mapping.resize(mapping.length // 2)
    assert mapping.read(5, 5) == b"bytes"
    mapping.write(MIB, b"more")
    assert mapping.read(MIB, 4) == b"more"


def test_punching(device, paged, mapping, order):
    """Zeroes in place, by the descriptor and, where the kernel has it, by the mapping."""
    mapping.write(6 * MIB, b"x" * PAGE)
    fallocate(paged, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 6 * MIB, PAGE)
    assert mapping.read(6 * MIB, PAGE) == bytes(PAGE)
    mapping.write(6 * MIB, b"y" * PAGE)
    if order == 18 and not platform.release().startswith("6.12."):
        with fails_with(errno.ENODEV):
            mapping.advise(mmap.MADV_REMOVE, 6 * MIB, PAGE)
    else:
        mapping.advise(mmap.MADV_REMOVE, 6 * MIB, PAGE)
        assert mapping.read(6 * MIB, PAGE) == bytes(PAGE)


def test_the_mapping_is_one_of_the_file(paged, mapping):
    """In /proc/PID/maps, by which dmemfsctl finds the processes that map a file."""
    (line,) = [line for line in Path("/proc/self/maps").read_text().splitlines()
               if line.startswith(f"{mapping.address:x}-")]
    device, inode = line.split()[3:5]
    file = os.fstat(paged)
    assert (device, int(inode)) == (f"{os.major(file.st_dev):02x}:{os.minor(file.st_dev):02x}", file.st_ino)


def test_sync(mapping):
    mapping.write(0, b"x")
    mapping.sync()


def test_memory_goes_and_comes_back(device, region, paged, order, folio):
    """Memory that nothing holds is free at once."""
    with Mapping(paged, GIB, skew=0) as mapping:
        mapping.write(0, b"old")
        device.call("EXTENT_REMOVE", id=1, length=folio)
        assert not pinned(device)
        device.add(1, 0, region.start, folio)
        assert mapping.read(0, 3) == bytes(3)


def test_unloading(reserved, order):
    """An object owns memory whose last mapping has just gone. Nothing holds it, so the module can be unloaded."""
    with Device() as device:
        device.claim(reserved[0][0], GIB, order)
        fd = device.create(1, reserved[0][0], GIB, order)
        with Mapping(fd, GIB, skew=0) as mapping:
            mapping.write(0, b"x")
        os.close(fd)
    with unloaded():
        assert "dmemfs" not in Path("/proc/iomem").read_text()


def test_demand(device, region, order, folio):
    """Memory comes in folios, and punching one takes it out of the mapping."""
    device.call("OBJECT_CREATE", id=1)
    device.call("OBJECT_MODE", id=1, mode=CONSTANTS["MODE_DEMAND"], unit=folio, order=order)
    device.call("OBJECT_RESIZE", id=1, size=GIB)
    fd = device.open_object(1)

    def touch(pipe):
        with Mapping(fd, GIB, skew=0) as mapping:
            mapping.write(5, b"one")
            pipe.send("touched")
            pipe.recv()
            pipe.send(mapping.read(5, 3))

    def answer():
        (event,) = [event for event in device.events(WAIT) if event.kind == CONSTANTS["EVENT_FAULT"]]
        assert (event.offset, event.length) == (0, folio)
        device.add(1, 0, region.start, folio)

    with Child(touch, with_pipe=True) as child:
        answer()
        assert child.receive() == "touched"
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, folio)
        assert device.info(1).punched == folio
        assert device.events(WAIT)[0].kind == CONSTANTS["EVENT_PUNCHED"]
        device.call("EXTENT_REMOVE", id=1, length=folio)
        assert not pinned(device)
        child.pipe.send("again")
        answer()
        assert child.receive() == bytes(3)
        child.wait()
    os.close(fd)
