# SPDX-License-Identifier: GPL-2.0-or-later
"""What root sees of a region's memory in /dev/mem and /proc/iomem while a part of the region is lent."""

import errno
import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from device import PAGE
from helpers.backends import GIB, MIB
from helpers.expect import fails_with
from helpers.syscalls import Mapping
from lending import bring_online
from test_lend import ORDERS, accounts, by_hand, check_ours, result, tables, unit  # noqa: F401
from test_module import iomem_of_dmemfs

UNIT = ": dmemfs (unit)"
PART = 256 * MIB


def access(address):
    """Names what /dev/mem lets root do with the page: read, map."""
    fd = os.open("/dev/mem", os.O_RDWR)
    try:
        if not result(os.pread, fd, PAGE, address):
            yield "read"
        if not result(lambda: Mapping(fd, PAGE, skew=0, offset=address).unmap()):
            yield "map"
    finally:
        os.close(fd)


def accessible(start, end):
    """What /dev/mem gives of the range, at its ends and where a unit begins or ends."""
    inside = {start, end - PAGE} | {edge + skew for edge in range(start - start % GIB + GIB, end, GIB) for skew in (-PAGE, 0)}
    return {(hex(address), how) for address in sorted(inside) for how in access(address)}


def units():
    """The ranges in /proc/iomem that are kept from others one by one, because some of them are lent."""
    found = [line.split(" : ")[0].split("-") for line in Path("/proc/iomem").read_text().splitlines() if line.endswith(UNIT)]
    return [(int(first, 16), int(last, 16) + 1) for first, last in found]


@contextmanager
def owned(device, start, order):
    """Within the block a file owns the memory from @start on: 1 GiB of folios of that size, or a part of a unit."""
    fd = device.create(1, start, GIB if order == 18 else PART, order)
    try:
        os.pwrite(fd, b"owned", 0)
        yield
        assert os.pread(fd, 6, 0) == b"owned\0"
    finally:
        os.close(fd)
    device.call("OBJECT_DROP", id=1)
    device.call("OBJECT_REAP", id=1)


@ORDERS
def test_dev_mem_reaches_no_unit_of_a_region(device, reserved, order):
    """Before, while and after some of them are lent."""
    start, end = reserved[0][0], reserved[0][0] + 2 * GIB
    middle = start + GIB
    device.claim(start, 2 * GIB, order)
    assert not accessible(start, end) and not units()
    with owned(device, start, order):
        device.lend(middle)
        assert not accessible(start, end) and units() == [(start, middle), (middle, end)]
        bring_online(middle, GIB)
        assert not accessible(start, end)

    device.lend(start)
    bring_online(start, GIB)
    assert not accessible(start, end)
    device.take(middle)
    assert not accessible(start, end) and units() == [(start, middle), (middle, end)]
    device.lend(middle)
    device.take(middle)
    device.take(start)
    assert not accessible(start, end) and not units() and len(iomem_of_dmemfs()) == 1
    check_ours(device, start, order)
    device.call("REGION_RELEASE", start=start, length=2 * GIB)
    assert not iomem_of_dmemfs()


@pytest.mark.parametrize("order", [0, 9], ids=["raw", "pages=2M"])
@pytest.mark.parametrize("at_end", [False, True], ids=["first", "last"])
def test_dev_mem_reaches_no_part_of_a_unit(device, reserved, order, at_end):
    """The region begins or ends within a unit."""
    base = reserved[0][0]
    start, end = (base, base + GIB + PART) if at_end else (base + GIB - PART, base + 2 * GIB)
    part, unit = (base + GIB, base) if at_end else (start, base + GIB)
    device.claim(start, end - start, order)
    with owned(device, part, order):
        for _ in range(2):
            device.lend(unit)
            assert not accessible(start, end) and sorted(units()) == sorted([(part, part + PART), (unit, unit + GIB)])
            bring_online(unit, GIB)
            assert not accessible(start, end)
            device.take(unit)
            assert not accessible(start, end) and not units()
    check_ours(device, unit, order)
    device.call("REGION_RELEASE", start=start, length=end - start)
    assert not iomem_of_dmemfs()


@pytest.mark.parametrize("order", [9, 18], ids=["pages=2M", "pages=1G"])
def test_dev_mem_reaches_nothing_that_the_kernel_has_given_back(device, unit, tables, order):
    """The kernel has not got the unit any more, and it is not yet as before: there is no memory for its struct pages."""
    device.lend(unit)
    tables.refuse(unit, GIB, 1)
    with fails_with(errno.ENOMEM):
        device.take(unit)
    assert not accessible(unit, unit + GIB) and units() == [(unit, unit + GIB)]
    device.take(unit)
    assert not accessible(unit, unit + GIB) and not units()
    check_ours(device, unit, order)
