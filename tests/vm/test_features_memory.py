# SPDX-License-Identifier: GPL-2.0-or-later
"""
How the amount of a guest's memory changes, with each kind of compound pages and on hugetlbfs: virtio-mem, a balloon, free page reporting.
The rest of the table of dmemfs(7) is in test_features.py.
"""

import pytest

from helpers.backends import GIB, MIB
from helpers.mount import wait_until
from helpers.qmp import Qmp
from kvm_guest import BOOT_TIMEOUT, SCALE, guest, unplug
from places import ALL, SMALL, capacity, kinds, page_size, pages, place  # noqa: F401 fixtures

SIZE = 512 * MIB
FILLED = 250 * MIB  # see nested/breather and nested/plugger
BALLOON = 8 * MIB  # QEMU gives it back page by page
PATIENCE = 20 * SCALE
HUGE_BALLOON = "Balloon used with backing page size > 4kiB"  # QEMU 10 says so of hugetlbfs

pytestmark = [pytest.mark.usefixtures("kvm"), pytest.mark.timeout(300), pytest.mark.dmemfs(alloc="demand")]


@pytest.fixture
def monitored(work):
    """Arguments that give QEMU a monitor, and a function that connects to it."""
    path = work / "monitor"
    return ["-qmp", f"unix:{path},server=on,wait=off"], lambda running: Qmp(path, running.process, BOOT_TIMEOUT)


def linux(place, work, task, options):
    """A guest whose RAM is the file "vm1"."""
    size = place.whole(SIZE)
    return guest(work, f"mem-path={place.make('vm1', size)},align={place.align}", size, task, options)


def plugged(monitor):
    return monitor.execute("query-memory-devices")[0]["data"]["size"]


@kinds(*ALL)
def test_virtio_mem(place, work, monitored):
    """What is unplugged is free at once, in whole units: it needs no demand by others."""
    size = place.whole(SIZE)
    more = place.make("more", size)
    options = [*monitored[0], "-m", f"{size // MIB}M,maxmem=4G,slots=1",
               "-object", f"memory-backend-file,id=more,size={size},share=on,mem-path={more},align={place.align}",
               "-device", f"virtio-mem-pci,id=dimm,memdev=more,block-size={place.unit},requested-size=0"]
    with linux(place, work, "plugger memhp_default_state=online_movable", options) as running:
        monitor = monitored[1](running)

        def request(wanted):
            monitor.execute("qom-set", path="/machine/peripheral/dimm", property="requested-size", value=wanted)

        for count in (1, 2):
            running.wait(f"ready-{count}")
            wait_until(lambda: plugged(monitor) == 0, "nothing is plugged", PATIENCE)
            assert place.used(more) == 0
            request(size)
            assert running.wait(f"filled-{count}") == "1"
            full, free = place.used(more), place.free()
            assert plugged(monitor) == size and full >= FILLED
            unplug(request, place.unit, lambda: place.used(more) == 0)
            wait_until(lambda free=free: place.free() - free > FILLED * 0.8, "the memory is back in the pool", PATIENCE)
        assert not running.errors()


@kinds(*ALL)
def test_free_page_reporting(place, work):
    """The guest reports freed memory in blocks of 2 MiB. A unit of 1 GiB stays, and what was reported reads as zeroes."""
    path = place / "vm1"
    with linux(place, work, "breather", ["-device", "virtio-balloon-pci,free-page-reporting=on"]) as running:
        for count in (1, 2):
            assert running.wait(f"full-{count}") == "1"
            full, least = place.used(path), place.free() + FILLED * 0.8
            assert full > FILLED
            running.wait(f"free-{count}")
            if place.unit < GIB:
                wait_until(lambda least=least: place.free() > least, "the memory is back in the pool", PATIENCE)
        assert place.unit < GIB or place.used(path) == GIB
        assert not running.errors()


@kinds(*ALL, SMALL)
def test_balloon(place, work, monitored):
    """
    When the balloon inflates, the guest gives back its free pages one by one, which frees units of a page only; when it deflates, the
    guest gets memory again.
    """
    path, size = place / "vm1", place.whole(SIZE)
    with linux(place, work, "breather balloon", [*monitored[0], "-device", "virtio-balloon-pci"]) as running:
        monitor = monitored[1](running)
        running.wait("free-1")
        full = place.used(path)
        monitor.execute("balloon", value=size - BALLOON)
        running.wait("inflated-1")
        wait_until(lambda: monitor.execute("query-balloon")["actual"] == size - BALLOON, "the balloon is inflated", PATIENCE)
        if place.kind == SMALL:
            wait_until(lambda: place.used(path) <= full - BALLOON * 0.9, "the memory is back in the pool", PATIENCE)
        monitor.execute("balloon", value=size)
        assert running.wait("full-2") == "1"
        assert place.used(path) > FILLED
        assert not [line for line in running.errors().splitlines() if HUGE_BALLOON not in line]
