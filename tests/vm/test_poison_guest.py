# SPDX-License-Identifier: GPL-2.0-or-later
"""A memory error in a KVM guest's RAM: QEMU is told before the guest touches the page, and passes it on."""

import pytest

from helpers.mount import wait_until
from kvm_guest import BOOT_TIMEOUT, CPU, GIB, MIB, guest
from memory_errors import COMPLAINT
from test_poison_mount import poisoned, spoil, spoiled  # noqa: F401, a fixture

PAGE = 4096
SIZE = 512 * MIB
BAD = 300 * MIB + 7 * PAGE  # of the guest's memory as well: it is in one piece
# Guests of this QEMU know errors that nobody has come across yet only as Intel's CPUs tell them.
INTEL = ("-cpu", f"{CPU},vendor=GenuineIntel,family=6,model=13,stepping=3")

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.usefixtures("kvm"), pytest.mark.kernel_log(COMPLAINT)]


@pytest.fixture
def capacity():
    return GIB


def text(path):
    return path.read_text(errors="replace") if path.exists() else ""


@pytest.mark.timeout(60)
def test_guest_is_told_which_of_its_pages_is_lost(spoiled, work):  # noqa: F811
    """
    This guest then panics: its CPU is AMD's with half of Intel's machine checks. What a guest does is not dmemfs'
    concern.
    """
    fs, console = spoiled, work / "console.log"
    with guest(work, f"mem-path={fs / 'vm1'},align=2M", SIZE, "counter", INTEL) as running:
        wait_until(lambda: "\nat 3 " in text(console), "the guest runs", BOOT_TIMEOUT)
        spoil(fs, fs / "vm1", BAD)
        wait_until(lambda: f"GUEST addr {BAD:#x} of type BUS_MCEERR_AO injected" in running.errors(), "QEMU says so")
        wait_until(lambda: f" ADDR {BAD:x} " in text(console), "the guest's kernel says so", BOOT_TIMEOUT / 4)
    assert poisoned(fs) == (0, PAGE)
