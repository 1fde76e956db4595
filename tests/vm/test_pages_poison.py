# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory errors in memory with struct pages: the kernel's memory_failure() tells the module of them."""

import ctypes
import errno
import os
import subprocess
import time
from pathlib import Path

import pytest

from device import PAGE, Device
from dmemfs_ioctl import CONSTANTS
from helpers.backends import GIB, MIB
from helpers.children import Child
from helpers.expect import fails_with
from helpers.syscalls import Mapping
from holder import pinned, wait_unpinned
from memory_errors import AO, AR, COMPLAINT, build_victim, inject, victim
from test_module import unloaded

BAD = 5 * MIB + 3 * PAGE  # of the file
CORRUPT = Path("/sys/kernel/debug/hwpoison/corrupt-pfn")
WAIT = 10
MADV_HWPOISON = 100  # not in Python's mmap

complains = pytest.mark.kernel_log(COMPLAINT + r"|Memory failure: |Injecting memory failure")


@pytest.fixture(params=[9, 18], ids=["2M", "1G"])
def order(request):
    return request.param


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build_victim(tmp_path_factory.mktemp("poison"))


@pytest.fixture
def spoiled(reserved, order):
    """
    A device with a region whose pages may be poisoned. The module is reloaded afterwards, because it remembers
    them.
    """
    with Device() as device:
        device.clear()
        device.claim(reserved[0][0], GIB, order)
        yield device
        device.clear()
    with unloaded():
        pass


@pytest.fixture
def start(reserved):
    return reserved[0][0]


@pytest.fixture
def paged(spoiled, start, order):
    fd = spoiled.create(1, start, GIB, order)
    yield fd
    os.close(fd)


def corrupt(address):
    """Calls memory_failure() on the page, as for an error that no CPU has consumed."""
    subprocess.run(["modprobe", "hwpoison-inject"], check=True)
    CORRUPT.write_text(f"{address // PAGE:#x}")


def poisoned(device):
    return [(found.start, found.length) for found in device.poison()]


@complains
@pytest.mark.parametrize("how", [corrupt, inject])
def test_one_page_is_lost(spoiled, start, program, paged, how):
    with victim(program, paged, GIB) as process:
        for offset in (BAD, BAD + PAGE, BAD - PAGE, BAD + 4 * MIB):
            assert process.put(offset).startswith("done")
        how(start + BAD)
        assert CONSTANTS["EVENT_POISON"] in [event.kind for event in spoiled.events(WAIT)]
        assert poisoned(spoiled) == [(start + BAD, PAGE)]
        assert process.get(BAD + 5) == f"SIGBUS {AR} {BAD + 5} 12" or process.get(BAD) == f"SIGBUS {AR} {BAD} 12"
        for offset in (BAD + PAGE, BAD - PAGE, BAD + 4 * MIB):
            assert process.get(offset) == f"done {ord('x')}"
    with fails_with(errno.EIO):
        os.pread(paged, PAGE, BAD)
    assert os.pread(paged, 1, BAD + PAGE) == b"x"


@complains
@pytest.mark.usefixtures("kvm")
def test_a_guest_touches_the_lost_page(start, program, paged):
    """KVM tells the VMM where, as the VMM must know it to give its guest a machine check."""
    with victim(program, paged, GIB) as process:
        process.put(BAD)
        assert process.get_by_guest(BAD) == f"done {ord('x')}"
        corrupt(start + BAD)
        assert process.get_by_guest(BAD) == f"SIGBUS {AR} {BAD} 12"


@complains
def test_who_asked_is_told_early(start, program, paged):
    with victim(program, paged, GIB, early=True) as process:
        process.put(BAD)
        corrupt(start + BAD)
        deadline = time.monotonic() + WAIT
        while (told := process.told()) == "nothing" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert told == f"SIGBUS {AO} {BAD} 12"


@complains
def test_an_error_in_memory_of_nobody(spoiled, start, order, program):
    corrupt(start + BAD)
    fd = spoiled.create(1, start, GIB, order)
    with victim(program, fd, GIB) as process:
        assert process.get(BAD).startswith(f"SIGBUS {AR}")
        assert process.put(BAD + PAGE).startswith("done")
    os.close(fd)


@complains
def test_an_error_in_memory_that_is_being_zeroed(spoiled, start):
    """Zeroing leaves out pages that become bad meanwhile, and goes on."""
    length = 2 * MIB  # what is zeroed in one go

    def zero():
        while True:
            spoiled.call("OBJECT_ZERO", offset=start, length=length)

    with Child(zero) as child:
        for page in range(1, 9):
            bad = start + length - page * 2 * PAGE
            inject(bad)
            deadline = time.monotonic() + WAIT
            while (bad, PAGE) not in poisoned(spoiled):
                assert time.monotonic() < deadline
            time.sleep(0.1)
            assert child.status is None


@complains
def test_a_process_spoils_its_own_page(spoiled, start, program, paged):
    with Mapping(paged, GIB, skew=0) as mapping, victim(program, paged, GIB) as process:
        mapping.write(BAD, b"x")
        mapping.advise(MADV_HWPOISON, BAD, PAGE)
        assert poisoned(spoiled) == [(start + BAD, PAGE)]
        assert process.get(BAD).startswith(f"SIGBUS {AR}")
        assert process.put(BAD + PAGE).startswith("done")


@complains
def test_a_device_is_not_given_the_bad_page(start, paged, disk):
    with Mapping(paged, GIB, skew=0) as mapping:
        mapping.write(BAD, b"x" * 2 * PAGE)
        corrupt(start + BAD)
        with fails_with(errno.EFAULT):
            os.pwritev(disk, [(ctypes.c_char * PAGE).from_address(mapping.address + BAD)], 0)
        good = (ctypes.c_char * PAGE).from_address(mapping.address + BAD + PAGE)
        assert os.pwritev(disk, [good], 0) == PAGE


@complains
def test_an_error_in_memory_that_a_device_holds(spoiled, start, order, hold):
    fd = spoiled.create(1, start, GIB, order)
    holder = hold(fd, GIB, BAD, PAGE)
    os.close(fd)
    holder.ask("leave")
    spoiled.call("OBJECT_DROP", id=1)
    spoiled.call("OBJECT_REAP", id=1)
    corrupt(start + BAD)
    assert pinned(spoiled) and poisoned(spoiled) == [(start + BAD, PAGE)]
    holder.kill()
    wait_unpinned(spoiled)
    spoiled.call("OBJECT_ZERO", offset=start, length=PAGE << order)
    assert poisoned(spoiled) == [(start + BAD, PAGE)]
