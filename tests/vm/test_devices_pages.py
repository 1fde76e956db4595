# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that VFIO gave memory with compound pages, and what becomes of the memory: it may be with the device, never with a file."""

import os

import pytest

import vfio
from helpers.backends import GIB, MIB
from helpers.mount import wait_until
from helpers.syscalls import opened
from test_devices import IOVA, SECRET, every_way, run_attack

HELD = "a device still holds"
WAIT = 90  # seconds: the daemon asks up to once a minute

pytestmark = [pytest.mark.page_sizes("2M", "1G"), pytest.mark.dmemfs(size=2 * GIB), pytest.mark.timeout(120)]


@pytest.fixture
def pages(page_size):
    return page_size


@pytest.fixture
def edu():
    with vfio.Edu() as device:
        yield device


@pytest.mark.expect_log(HELD)
@every_way
def test_memory_that_the_device_keeps(fs, edu, how):
    """A victim's file gets what the device does not keep of the attacker's memory, and another file later that, too."""
    assert run_attack(fs, edu, how) == 0
    rest = fs.capacity - fs.unit
    assert fs.wait_free(rest) == rest
    with opened(fs.make_file("victim", size=rest)) as fd:
        for offset in range(0, rest, fs.unit):
            os.pwrite(fd, SECRET, offset)  # where the device reads
    assert SECRET not in edu.read(IOVA), "the device reads the victim's memory"
    edu.unmap(IOVA, 2 * MIB)
    wait_until(lambda: fs.stats()["pinned_bytes"] == 0, "the daemon has found that nothing is held any more", WAIT)
    assert fs.wait_free(fs.unit) == fs.unit
    fs.make_file("other", SECRET, size=fs.unit)
