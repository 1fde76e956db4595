# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that a device holds when its owner is gone, as the module alone handles it. The test acts as the daemon."""

import ctypes
import errno
import mmap
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from device import PAGE, Device
from helpers.backends import GIB, MIB
from helpers.expect import fails_with
from helpers.syscalls import Mapping
from holder import DISK, pinned, wait_unpinned
from test_module import load, unload
from test_pages_module import LIBC, WAIT, IoVec, content


@pytest.fixture(params=[9, 18], ids=["2M", "1G"])
def order(request):
    return request.param


def check_refused(device, region, folio):
    """The first folio of the region cannot get an owner."""
    assert pinned(device) == [(region.start, folio)]
    with fails_with(errno.EBUSY):
        device.call("OBJECT_ZERO", offset=region.start, length=folio)
    with fails_with(errno.EBUSY):
        device.call("OBJECT_ZERO", offset=region.start, length=PAGE)
    if not device.info(3):
        device.call("OBJECT_CREATE", id=3)
        device.call("OBJECT_MODE", id=3, unit=folio, order=region.order)
    with fails_with(errno.EBUSY):
        device.call("EXTENT_ADD", id=3, start=region.start, length=folio)
    with fails_with(errno.EBUSY):
        device.call("REGION_RELEASE", start=region.start, length=region.length)


@pytest.mark.parametrize("end", ["release", "kill"])
@pytest.mark.parametrize("how", ["remove", "reap"])
def test_memory_that_a_device_holds(device, region, hold, disk, order, folio, how, end):
    """io_uring holds it longer than mapping, file and object exist. It cannot get an owner before."""
    os.pwrite(disk, mmap.mmap(-1, PAGE), 0)
    fd = device.create(1, region.start, GIB, order)
    holder = hold(fd, GIB, MIB, PAGE)
    if how == "remove":
        device.call("EXTENT_REMOVE", id=1, length=folio)
    os.close(fd)
    assert holder.ask("leave") == "left"
    if how == "reap":
        device.call("OBJECT_DROP", id=1)
        device.call("OBJECT_REAP", id=1)
    check_refused(device, region, folio)
    assert holder.ask(f"fill {DISK}") == str(PAGE)  # the device still works
    check_refused(device, region, folio)
    device.close()
    status, said = unload()
    assert status and "in use" in said
    with Device() as again:
        check_refused(again, region, folio)
        if end == "release":
            assert holder.ask("release") == "released"
        else:
            holder.kill()
        wait_unpinned(again)
        other = again.create(2, region.start, folio, order)
        assert os.pread(other, PAGE, MIB) == bytes(PAGE)
        os.close(other)


def test_only_what_is_held_is_pinned(device, region, hold):
    """Two folios of 512 are held. No other is pinned."""
    device.clear()
    device.claim(region.start, GIB, 9)
    fd = device.create(1, region.start, GIB, 9)
    first, second = hold(fd, GIB, 4 * MIB - PAGE, PAGE), hold(fd, GIB, 64 * MIB, 2 * PAGE)
    device.call("EXTENT_REMOVE", id=1, length=GIB)
    folio = 2 * MIB
    runs = [(region.start + folio, folio), (region.start + 64 * MIB, folio)]
    assert pinned(device) == runs
    assert device.call("PINNED_NEXT", start=runs[0][0] + PAGE).start == runs[0][0] + PAGE
    assert device.call("PINNED_NEXT", start=runs[0][0] + folio).start == runs[1][0]
    found = device.call("PINNED_NEXT", start=runs[0][0] - folio, length=folio + PAGE)
    assert (found.start, found.length) == (runs[0][0], PAGE)
    for start, length in ((region.start, folio), (runs[0][0] + folio, 60 * MIB - folio), (runs[0][0] + 1, PAGE - 2)):
        with fails_with(errno.ENOENT):
            device.call("PINNED_NEXT", start=start, length=length)
    with fails_with(errno.EINVAL):
        device.call("PINNED_NEXT", start=region.start, length=2**64 - region.start + 1)
    device.add(1, 0, region.start, folio)
    with fails_with(errno.EBUSY):
        device.call("EXTENT_ADD", id=1, offset=folio, start=region.start + folio, length=2 * folio)
    device.add(1, 2 * folio, region.start + 2 * folio, 30 * folio)
    assert first.ask("release") == "released"
    deadline = time.monotonic() + WAIT
    while pinned(device) != runs[1:]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    device.add(1, folio, region.start + folio, folio)
    second.kill()
    wait_unpinned(device)
    first.kill()
    os.close(fd)


def fragment(device, start, length, ids):
    """Gives raw memory to these objects in turn, page by page, so that each page is a run of its own."""
    for number in ids:
        device.call("OBJECT_CREATE", id=number)
    device.call("OBJECT_ZERO", offset=start, length=length)
    for page in range(length // PAGE):
        number = ids[page % len(ids)]
        device.call("EXTENT_ADD", id=number, offset=page // len(ids) * PAGE, start=start + page * PAGE, length=PAGE)


@pytest.mark.parametrize("order", [9], ids=["2M"])
def test_requests_are_served_during_a_search_for_pinned_memory(device, region, reserved):
    """It looks at all runs of memory that there are. A request that comes meanwhile does not wait until it ends."""
    raw = device.claim(reserved[0][0] + GIB, 256 * MIB)
    fragment(device, raw.start, raw.length, (5, 6))
    searches, requests, go_on = [], [], True

    def timed(times, error, request, **members):
        begun = time.monotonic()
        with fails_with(error):
            device.call(request, **members)
        times.append((begun, time.monotonic()))

    def search():
        while go_on:
            timed(searches, errno.ENOENT, "PINNED_NEXT", start=region.start)

    def served():
        """Requests that came and were answered in the course of one search."""
        return sum(any(begun + (ended - begun) / 10 < first and last < begun + (ended - begun) * 3 / 4
                       for begun, ended in searches[:]) for first, last in requests)

    with ThreadPoolExecutor() as pool:
        searching = pool.submit(search)
        deadline = time.monotonic() + 3 * WAIT
        while served() < 5 and time.monotonic() < deadline and not searching.done():
            timed(requests, errno.EBUSY, "EXTENT_ADD", id=5, offset=GIB, start=raw.start, length=PAGE)
            time.sleep(0.003)
        go_on = False
        searching.result()
    assert served() >= 5, (len(searches), len(requests))


def test_module_stays_while_a_device_holds_memory_of_a_file_at_rest(device, region, hold, order):
    """An object still owns the memory, but no file and no mapping is left that would hold the module."""
    fd = device.create(1, region.start, GIB, order)
    holder = hold(fd, GIB, 0, PAGE)
    os.close(fd)
    holder.ask("leave")
    deadline = time.monotonic() + WAIT
    device.close()
    status, said = unload()
    assert status and "in use" in said
    holder.kill()
    while unload()[0]:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    load()


def test_memory_in_a_pipe_is_pinned(device, region, order, folio):
    """vmsplice() puts a page into a pipe, and holds it."""
    fd = device.create(1, region.start, GIB, order)
    end, begin = os.pipe()
    with Mapping(fd, GIB, skew=0) as mapping:
        mapping.write(0, content(7, PAGE))
        assert LIBC.vmsplice(begin, ctypes.byref(IoVec(mapping.address, PAGE)), 1, 0) == PAGE
    os.close(fd)
    device.call("OBJECT_DROP", id=1)
    device.call("OBJECT_REAP", id=1)
    check_refused(device, region, folio)
    assert os.read(end, PAGE) == content(7, PAGE)
    wait_unpinned(device)
    os.close(begin)
    os.close(end)
