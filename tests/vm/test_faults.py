# SPDX-License-Identifier: GPL-2.0-or-later
"""How many faults a mapping takes, and which page sizes serve them."""

import ctypes
import os
import resource

import pytest

from helpers.backends import GIB
from helpers.syscalls import Mapping

KIB, MIB = 1 << 10, 1 << 20
PAGES = {"1G": GIB, "2M": 2 * MIB, "4K": 4 * KIB}
# Of the process that touches: some faults are its own.
OTHER_FAULTS = 100


def touch(mapping, length):
    """
    Writes to each 4 KiB of the first @length bytes in ascending order. Returns the number of faults that the kernel
    counted.
    """
    memory = memoryview((ctypes.c_char * length).from_address(mapping.address)).cast("B")[:: 4 * KIB]
    ones = b"\x01" * len(memory)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    memory[:] = ones
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.page_sizes("1G")
@pytest.mark.dmemfs(size=GIB)
@pytest.mark.parametrize("skew, length, expected", [
    (0, GIB, {"1G": 1}),
    pytest.param(2 * MIB, GIB, {"2M": 512}, marks=pytest.mark.expect_log("allows pages of 2M only")),
    pytest.param(4 * KIB, 64 * MIB, {"4K": 16384}, marks=pytest.mark.expect_log("allows pages of 4K only")),
], ids=["1G-aligned", "2M-aligned", "4K-aligned"])
def test_alignment_of_the_address_decides_on_the_mount(fs, capacity, skew, length, expected, record_property):
    """One fault for a GiB, 512 faults, or one for each 4 KiB, as with align=1G, align=2M and no align= of QEMU."""
    path = fs.make_file("vm1", size=capacity)
    with open(path, "r+b") as file, Mapping(file.fileno(), GIB, skew=skew) as mapping:
        seen = touch(mapping, length)
    served = dict(line.split() for line in os.getxattr(path, "dmemfs.faults").decode().splitlines())
    record_property("faults", f"{served}, {seen} in all")
    assert {size: int(count) for size, count in served.items() if count != "0"} == expected
    assert sum(expected.values()) <= seen <= sum(expected.values()) + OTHER_FAULTS


def expected_pages(skew, offset, length, extents, size):
    """The number of pages of each size, if each fault of an ascending touch gets the largest page that fits."""
    counts = dict.fromkeys(PAGES, 0)
    at = 0
    while at < length:
        for name, page in PAGES.items():
            start = (skew + at) // page * page - skew
            if 0 <= start and start + page <= length and fits(offset + start, page, extents, size):
                counts[name] += 1
                at = start + page
                break
    return counts


def fits(offset, page, extents, size):
    if offset + page > -(-size // (4 * KIB)) * 4 * KIB:
        return False
    return any(first <= offset and offset + page <= first + length and (memory + offset - first) % page == 0 == offset % page
               for first, memory, length in extents)


@pytest.mark.parametrize("skew, offset, length, extents, size", [
    (0, 0, GIB, [(0, 0, GIB)], GIB),
    (0, 0, GIB - 4 * KIB, [(0, 0, GIB)], GIB),
    (4 * KIB, 4 * KIB, 8 * MIB, [(0, 0, GIB)], GIB),
    (4 * KIB, 0, 8 * MIB, [(0, 0, GIB)], GIB),
    (2 * MIB, 0, 8 * MIB, [(0, 4 * KIB, 16 * MIB)], 16 * MIB),
    (0, 0, 4 * MIB + 8 * KIB, [(0, 0, 6 * MIB)], 4 * MIB + 4 * KIB + 1),
    (0, 0, 8 * MIB, [(0, 0, 3 * MIB), (3 * MIB, 19 * MIB, 5 * MIB)], 8 * MIB),
    (0, 0, 8 * MIB, [(0, 0, 3 * MIB), (3 * MIB, 18 * MIB, 5 * MIB)], 8 * MIB),
    (0, 2 * MIB, GIB, [(2 * MIB, 0, GIB)], GIB + 2 * MIB),
    (0, 4 * KIB, 8 * MIB, [(4 * KIB, 0, 8 * MIB)], 8 * MIB + 4 * KIB),
], ids=["all of it", "mapping too short", "same skew", "other skew", "memory skewed", "end of the file", "extents in line",
        "extents out of line", "1 GiB at an odd offset", "2 MiB at an odd offset"])
def test_each_fault_gets_the_largest_page_that_fits(device, region, skew, offset, length, extents, size):
    device.call("OBJECT_CREATE", id=1)
    for at, memory, count in extents:
        device.add(1, at, region.start + memory, count)
    device.call("OBJECT_RESIZE", id=1, size=size)
    fd = device.open_object(1)
    with Mapping(fd, length, offset, skew=skew) as mapping:
        touch(mapping, length)
    os.close(fd)
    info = device.info(1)
    expected = expected_pages(skew, offset, length, extents, size)
    assert {name: getattr(info, f"faults_{name.lower()}") for name in PAGES} == expected
    assert expected["2M"] + expected["1G"] or skew % (2 * MIB) != offset % (2 * MIB) or extents[0][1] % (2 * MIB)


def test_reading_first_needs_one_more_fault_at_most(device, region):
    """The first entry may be read-only. The write then makes the same page writable."""
    fd = device.create(1, region.start, GIB)
    with Mapping(fd, GIB, skew=0) as mapping:
        assert mapping.read(GIB - 1, 1) == b"\0"
        touch(mapping, GIB)
    os.close(fd)
    info = device.info(1)
    assert (info.faults_4k, info.faults_2m) == (0, 0) and info.faults_1g <= 2
