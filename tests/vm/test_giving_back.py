# SPDX-License-Identifier: GPL-2.0-or-later
"""A KVM guest gives memory back to the pool and takes it again, by a balloon."""

import os

import pytest

from helpers.mount import wait_until
from helpers.qmp import Qmp
from kvm_guest import BOOT_TIMEOUT, GIB, MIB, SCALE, guest

SIZE = 512 * MIB
FILLED = 250 * MIB  # see nested/breather
BALLOON = 8 * MIB  # QEMU gives it back page by page
PATIENCE = 20 * SCALE

pytestmark = [pytest.mark.usefixtures("kvm"), pytest.mark.timeout(900)]


@pytest.fixture
def capacity():
    return GIB


def breathing(work, path, device, task=""):
    monitor = work / "monitor"
    options = ["-device", device, "-qmp", f"unix:{monitor},server=on,wait=off"]
    return guest(work, f"mem-path={path},align=2M", SIZE, f"breather {task}", options)


@pytest.fixture
def memory(fs):
    path = fs / "vm1"
    path.touch()
    os.setxattr(path, "dmemfs.discard", b"1")
    return path


@pytest.mark.page_sizes("4K")
@pytest.mark.dmemfs(alloc="demand", demand_extent="2M")
def test_balloon(fs, work, memory):
    """
    When the balloon inflates, the guest gives back its free pages one by one; when it deflates, the guest gets
    memory again.
    """
    with breathing(work, memory, "virtio-balloon-pci", "balloon") as running:
        monitor = Qmp(work / "monitor", running.process, BOOT_TIMEOUT)
        running.wait("free-1")
        full = fs.allocated(memory)
        monitor.execute("balloon", value=SIZE - BALLOON)
        wait_until(lambda: fs.allocated(memory) <= full - BALLOON * 0.9, "the balloon is inflated", PATIENCE)
        monitor.execute("balloon", value=SIZE)
        assert running.wait("full-2") == "1"
        assert fs.allocated(memory) > FILLED
        assert not running.errors()
