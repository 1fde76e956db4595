# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory errors in memory that is lent to the kernel. The test acts as the daemon, as in test_lend.py."""

import errno

import pytest

from device import PAGE
from dmemfs_ioctl import CONSTANTS
from helpers.backends import GIB
from helpers.expect import fails_with
from helpers.host_memory import meminfo
from lending import EHWPOISON, blocks, bring_online, states
from memory_errors import COMPLAINT, inject
from test_lend import OFFLINE, ONLINE, WAIT, state, take
from test_lend import accounts, by_hand, lent, load, load_program, unit  # noqa: F401 fixtures

pytestmark = [pytest.mark.usefixtures("forgetful"), pytest.mark.kernel_log(f"{COMPLAINT}|Memory failure: ")]


@pytest.mark.parametrize("kind, online", [("poison", True), ("poison", False), ("poison-tmpfs", True), ("poison-pipe", True)])
def test_poisoned_pages_can_be_taken(device, lent, load, kind, online):  # noqa: F811
    """
    The kernel finds an error without a machine check. A tmpfs keeps its page, with the struct page, until the file is gone;
    a pipe, until it is closed.
    """
    total = meminfo("MemTotal") - GIB
    process = load(kind, 64)
    assert process.inside > 1000
    if kind != "poison":
        assert take(device, lent, f"with a page in use, {kind}") == errno.EBUSY
        assert state(device) == [(lent, GIB, ONLINE)] and meminfo("MemTotal") == total + GIB
    process.end()
    for path in () if online else blocks(lent, GIB):
        path.write_text("offline")
    assert take(device, lent, "with a poisoned page") == 0
    assert meminfo("MemTotal") == total
    (bad,) = device.poison()
    assert lent <= bad.start < lent + GIB and bad.length == PAGE
    assert CONSTANTS["EVENT_POISON"] in [event.kind for event in device.events()]
    with fails_with(EHWPOISON):
        device.lend(lent)
    device.call("OBJECT_ZERO", offset=lent, length=GIB)


@pytest.mark.kernel_log("the page is lent")
def test_machine_checks_in_lent_memory(device, lent):  # noqa: F811
    inject(lent + 77 * PAGE)
    assert device.events(WAIT)
    device.take(lent)
    assert [(bad.start, bad.length) for bad in device.poison()] == [(lent + 77 * PAGE, PAGE)]


@pytest.mark.kernel_log("the page is lent")
@pytest.mark.parametrize("online", [False, True], ids=["offline", "online"])
def test_blocks_with_a_poisoned_page_stay_offline(device, unit, online):  # noqa: F811
    """The kernel knows nothing of an error in a block that is offline when it happens."""
    block, *others = blocks(unit, GIB)
    device.lend(unit)
    if online:
        bring_online(unit, GIB)
    inject(unit + 77 * PAGE)
    assert device.events(WAIT)
    if online:
        block.write_text("offline")
    for _ in range(2):
        with fails_with(EHWPOISON):
            block.write_text("online_movable")
    for path in () if online else others:
        path.write_text("online_movable")
    assert states(unit, GIB) == ["offline"] + ["online"] * len(others)
    assert state(device) == [(unit, GIB, OFFLINE)]
    assert take(device, unit, "with a block that stays offline") == 0
    assert [(bad.start, bad.length) for bad in device.poison()] == [(unit + 77 * PAGE, PAGE)]
    with fails_with(EHWPOISON):
        device.lend(unit)
