# SPDX-License-Identifier: GPL-2.0-or-later
"""A memory error under a KVM guest: QEMU hands it on, the guest's kernel gives the page up, and both go on."""

import re

import pytest

from helpers.mount import wait_until
from kvm_guest import BOOT_TIMEOUT, GIB, MIB, guest
from memory_errors import COMPLAINT
from test_poison_mount import poisoned, spoil, spoiled  # noqa: F401, a fixture

PAGE = 4096
SIZE = 512 * MIB
BAD = 300 * MIB + 7 * PAGE  # of the guest's memory as well: it is in one piece
# Guests of this QEMU know errors that nobody has come across yet only as Intel's CPUs tell them.
CPU = ("-cpu", "qemu64,vendor=GenuineIntel,family=6,model=13,stepping=3")

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.usefixtures("kvm"), pytest.mark.kernel_log(COMPLAINT)]


@pytest.fixture
def capacity():
    return GIB


def counted(console):
    """How far the guest has counted."""
    return max(map(int, re.findall(r"^at (\d+) ", console.read_text(errors="replace"), re.MULTILINE)), default=0)


@pytest.mark.timeout(60)
def test_guest_gives_the_page_up(spoiled, work):  # noqa: F811
    fs, console = spoiled, work / "console.log"
    with guest(work, f"mem-path={fs / 'vm1'},align=2M", SIZE, "counter", CPU) as running:
        wait_until(lambda: console.exists() and counted(console), "the guest counts", BOOT_TIMEOUT)
        spoil(fs, fs / "vm1", BAD)
        wait_until(lambda: f"Memory failure: {BAD // PAGE:#x}: " in console.read_text(errors="replace"),
                   "the guest's kernel says so", BOOT_TIMEOUT)
        assert "type BUS_MCEERR_AO injected" in running.errors()
        before = counted(console)
        wait_until(lambda: counted(console) > before + 3, "the guest goes on", BOOT_TIMEOUT)
        assert running.process.poll() is None and poisoned(fs) == (0, PAGE)
