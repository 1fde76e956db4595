# SPDX-License-Identifier: GPL-2.0-or-later
"""A device that VFIO gave memory with compound pages, and what becomes of the memory: it may be with the device, never with a file."""

import os
import socket

import pytest

import vfio
from helpers.backends import GIB, MIB
from helpers.children import Child
from helpers.mount import wait_until
from helpers.syscalls import opened
from test_devices import IOVA, SECRET, attack

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
@pytest.mark.parametrize("how", ["truncate", "munmap", "punch", "unlink", "kill", "passed"])
def test_memory_that_the_device_keeps(fs, edu, how):
    """The attacker's file has all memory. A victim's file gets what the device does not keep, and later that, too."""
    path = fs / "attacker"
    path.touch()
    if how == "punch":
        os.setxattr(path, "dmemfs.alloc", b"demand")
    os.truncate(path, fs.capacity)
    ours, theirs = socket.socketpair()
    with opened(path) as fd:
        socket.send_fds(ours, [b"f"], [fd])
    with Child(attack, edu, how, path, theirs, with_pipe=True) as child:
        assert child.receive() == 0
        if how != "kill":
            child.pipe.send(None)
            child.receive()
    path.unlink(missing_ok=True)
    theirs.close()
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
