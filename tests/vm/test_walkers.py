# SPDX-License-Identifier: GPL-2.0-or-later
"""
Page-table entries without a struct page, and parts of the kernel that do not expect them. Whatever a process does to
its own mapping must not harm the host. plugins/kernel_log.py checks the kernel's log after each test.
"""

import os
import random
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from dmemfs_ioctl import CONSTANTS
from helpers.backends import GIB, MIB
from helpers.children import Child
from helpers.syscalls import Mapping
from programs import compile_program

SECONDS = 10
SOURCES = Path(__file__).parent / "walk"


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    directory = tmp_path_factory.mktemp("walk")
    for name in ("walkers", "racers", "userfault"):
        compile_program(directory, SOURCES / f"{name}.c", "-pthread")
    return directory


@pytest.fixture
def gibibyte(device, region, order):
    """A descriptor of object 1: an aligned GiB, which one page can map."""
    fd = device.create(1, region.start, GIB, order)
    yield fd
    os.close(fd)


# Raw memory, and memory with struct pages.
every_order = pytest.mark.parametrize("order", [0, 9, 18], ids=["raw", "pages=2M", "pages=1G"])


def start(program, fd, *arguments, **options):
    return subprocess.Popen([program, f"/proc/self/fd/{fd}", *map(str, arguments)], pass_fds=[fd], text=True, **options)


@pytest.mark.parametrize("align", ["4K", "2M", "1G"])
def test_walkers_on_discarding_mappings(programs, device, gibibyte, align):
    """These are VM_MIXEDMAP: they get large pages only where the kernel's walkers expect them."""
    device.call("OBJECT_MODE", id=1, mode=CONSTANTS["MODE_DISCARD"], unit=4096)
    assert start(programs / "walkers", gibibyte, align).wait() == 0
    info = device.info(1)
    assert info.faults_1g == 0 and info.faults_2m + info.faults_4k > 0
    assert device.hello.discard_page_sizes & 2 * MIB or info.faults_2m == 0


@every_order
@pytest.mark.parametrize("largest", ["4K", "2M", "1G"])
def test_walkers(programs, device, gibibyte, order, largest):
    assert start(programs / "walkers", gibibyte, largest).wait() == 0
    info = device.info(1)
    assert order or getattr(info, f"faults_{largest.lower()}") > 0
    assert largest == "1G" or info.faults_1g == 0
    device.call("EXTENT_REMOVE", id=1, length=GIB)
    assert not list(device.pinned()), "a walk has taken a reference and kept it"


@pytest.mark.parametrize("switch", ["/proc/sys/kernel/ftrace_enabled", "/sys/kernel/debug/kprobes/enabled"])
def test_walkers_when_somebody_switches_the_guards_off(programs, gibibyte, switch):
    """The guards stay in effect whatever the kernel accepts for its ftrace switches."""
    with suppress(OSError):
        Path(switch).write_text("0")
    try:
        assert start(programs / "walkers", gibibyte, "2M").wait() == 0
    finally:
        Path(switch).write_text("1")


@every_order
def test_cutting_a_mapping_while_others_fault(programs, device, gibibyte, order):
    racers = start(programs / "racers", gibibyte, "cut", SECONDS, stdout=subprocess.PIPE)
    said, _ = racers.communicate()
    assert racers.returncode == 0 and int(said) > 0
    assert order == 9 or device.info(1).faults_1g > 1, "no page of 1 GiB was mapped"


@pytest.mark.parametrize("order", [9, 18], ids=["pages=2M", "pages=1G"])
def test_discarding_while_others_fault(programs, device, region, gibibyte, order):
    """
    The kernel looks at an entry of 1 GiB twice when it removes a part of it. One that a fault makes in between would be
    lost with the reference that it holds, and stay in the TLB.
    """
    os.pwrite(gibibyte, b"kept", GIB - 4)
    racers = start(programs / "racers", gibibyte, "discard", 2 * SECONDS, stdout=subprocess.PIPE)
    said, _ = racers.communicate()
    assert racers.returncode == 0 and int(said) > 0
    assert order == 9 or device.info(1).faults_1g > 100, "few pages of 1 GiB were mapped"
    assert os.pread(gibibyte, 4, GIB - 4) == b"kept"
    device.call("EXTENT_REMOVE", id=1, length=GIB)
    assert not list(device.pinned())


def test_memory_comes_and_goes_while_others_fault(programs, device, region, gibibyte):
    """Memory that is taken away goes to object 2, and shows only zeroes there while object 1 is being written."""
    device.call("OBJECT_CREATE", id=2)
    device.call("OBJECT_RESIZE", id=2, size=GIB)
    other = device.open_object(2)
    chance = random.Random(1)
    racers = start(programs / "racers", gibibyte, "touch", SECONDS, stdout=subprocess.PIPE)
    while racers.poll() is None:
        device.call("OBJECT_RESIZE", id=1, size=chance.choice((GIB, GIB - 2 * MIB, GIB - 3 * 4096 + 5)))
        offset = chance.randrange(GIB // 4096) * 4096
        device.call("EXTENT_REMOVE", id=1, offset=offset, length=4096)
        device.add(2, offset, region.start + offset, 4096)
        assert os.pread(other, 4096, offset) == bytes(4096)
        device.call("EXTENT_REMOVE", id=2, offset=offset, length=4096)
        device.add(1, offset, region.start + offset, 4096)
    os.close(other)
    assert racers.returncode == 0 and int(racers.stdout.read()) > 0
    info = device.info(1)
    assert (info.allocated, info.extents, info.state) == (GIB, 1, CONSTANTS["OBJECT_NAMED"])


@every_order
def test_userfaultfd_in_every_mode(programs, public, gibibyte, record_property):
    """The kernel refuses the modes of post-copy migration. In each mode that it accepts, every access ends, and no lock stays held."""
    Path("/proc/sys/vm/unprivileged_userfaultfd").write_text("1\n")
    try:
        program = start(programs / "userfault", gibibyte, public, SECONDS, stdout=subprocess.PIPE)
        said, _ = program.communicate()
    finally:
        Path("/proc/sys/vm/unprivileged_userfaultfd").write_text("0\n")
    record_property("modes", said.split("\n"))
    assert program.returncode == 0
    assert not {"registered: missing", "registered: minor"} & set(said.splitlines())
    with Child(os.mkdir, public / "new") as child:
        child.wait()


def count_faults(device):
    info = device.info(1)
    return info.faults_4k + info.faults_2m + info.faults_1g


@every_order
@pytest.mark.parametrize("skew", [4096, 2 * MIB, 0], ids=["4K", "2M", "1G"])
def test_a_child_gets_no_entries_but_the_same_memory(device, gibibyte, skew):
    """fork() copies entries of 2 MiB without the lock under which the module takes memory away."""
    with Mapping(gibibyte, GIB - skew, skew=skew) as mapping:
        for at in (5 * MIB, 7 * MIB):
            mapping.write(at, b"parent")
        before = count_faults(device)

        def look():
            assert mapping.read(5 * MIB, 6) == b"parent"
            mapping.write(7 * MIB, b"child")

        with Child(look) as child:
            child.wait()
        assert mapping.read(7 * MIB, 5) == b"child"
        assert count_faults(device) > before


def read_pagemap(mapping):
    """Reads all of it: one word for each page."""
    with open("/proc/self/pagemap", "rb") as pagemap:
        pagemap.seek(mapping.address // 4096 * 8)
        size = mapping.length // 4096 * 8
        assert len(pagemap.read(size)) == size


@pytest.mark.parametrize("skew", [4096, 2 * MIB, 0], ids=["4K", "2M", "1G"])
@pytest.mark.parametrize("order, discards", [(0, False), (0, True), (9, False), (18, False)],
                         ids=["plain", "discards", "pages=2M", "pages=1G"])
def test_writes_while_soft_dirty_bits_are_tracked(device, gibibyte, discards, skew):
    """The kernel makes entries read-only for that, large ones too. Each write ends and is in the file."""
    if discards:
        device.call("OBJECT_MODE", id=1, mode=CONSTANTS["MODE_DISCARD"], unit=4096)
    mapped = [number * 2 * MIB + 5 for number in range(8)]
    fresh = [GIB // 2 + at for at in mapped]

    def track():
        with Mapping(gibibyte, GIB - skew, skew=skew) as mapping:
            for at in mapped:
                mapping.write(at, b"before")
            for turn in range(3):
                Path("/proc/self/clear_refs").write_text("4\n")
                read_pagemap(mapping)
                for at in mapped + fresh:
                    word = mapping.read(at, 6)
                    assert word == (b"turn %d" % (turn - 1) if turn else b"before" if at in mapped else bytes(6))
                    mapping.write(at, b"turn %d" % turn)
                    assert mapping.read(at, 6) == b"turn %d" % turn
                read_pagemap(mapping)

    with Child(track) as child:
        child.wait()
    for at in mapped + fresh:
        assert os.pread(gibibyte, 7, at) == b"turn 2\0"


@pytest.mark.parametrize("order, unit", [(0, 2 * MIB), (9, 2 * MIB), (18, GIB)], ids=["raw", "pages=2M", "pages=1G"])
@pytest.mark.parametrize("what", ["fork", "move"])
def test_memory_goes_while_page_tables_change(programs, device, region, gibibyte, what, order, unit):
    """Memory that is taken from object 1 goes to object 2. No other process may then see or change it."""
    secret = b"secret of object 2".ljust(2 * MIB, b"\0")
    device.call("OBJECT_CREATE", id=2)
    device.call("OBJECT_MODE", id=2, unit=unit, order=order)
    device.call("OBJECT_RESIZE", id=2, size=GIB)
    other = device.open_object(2)
    chance = random.Random(2)
    racers = start(programs / "racers", gibibyte, what, SECONDS, stdout=subprocess.PIPE)
    while racers.poll() is None:
        offset = chance.randrange(GIB // unit) * unit
        device.call("EXTENT_REMOVE", id=1, offset=offset, length=unit)
        while list(device.pinned()):  # by a system call of a racer
            pass
        device.add(2, offset, region.start + offset, unit)
        os.pwrite(other, secret, offset)
        assert os.pread(other, 2 * MIB, offset) == secret
        device.call("EXTENT_REMOVE", id=2, offset=offset, length=unit)
        device.add(1, offset, region.start + offset, unit)
    os.close(other)
    assert racers.returncode == 0 and int(racers.stdout.read()) > 0


@pytest.mark.parametrize("offset, page", [(2 * MIB, GIB), (4096, 2 * MIB)], ids=["1G", "2M"])
def test_memory_goes_where_the_offset_allows_no_large_page(device, region, offset, page):
    """Address and memory are aligned; a page that is taken by its offset must not be part of a larger one."""
    device.call("OBJECT_CREATE", id=1)
    device.add(1, offset, region.start, page)
    device.call("OBJECT_RESIZE", id=1, size=offset + page)
    fd = device.open_object(1)
    with Mapping(fd, page, offset, skew=0) as mapping:
        mapping.write(0, b"x")
        info = device.info(1)
        assert info.faults_1g == 0 and (page == GIB or info.faults_2m == 0)
        device.call("EXTENT_REMOVE", id=1, offset=offset, length=4096)
        assert mapping.read(4096, 1) == b"\0"
    os.close(fd)
