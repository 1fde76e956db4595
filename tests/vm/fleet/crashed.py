# SPDX-License-Identifier: GPL-2.0-or-later
"""The third boot, after the power failed while an instance of Nova ran."""

import re

import pytest

from fleet.host import TIMEOUT, control, free, run
from fleet.nova import SIZE, start
from helpers.mount import wait_until
from nova_recipe import NAME

pytestmark = pytest.mark.usefixtures("kvm")  # for the whole boot


def test_no_memory_is_lost():
    """The record has the file that the instance had, and lost-contents=remove is followed."""
    assert re.search(r"the contents are lost: .*: 1 files are removed", run("journalctl", "--boot", "--unit=dmemfsd", "--output=cat"))
    assert control("ls")["files"] == []
    assert free() == 4 << 30


def test_instance_starts_anew():
    """As Nova starts it with resume_guests_state_on_host_boot."""
    assert run("virsh", "-q", "domstate", NAME).strip() == "shut off"
    assert start()["size_bytes"] == SIZE
    run("virsh", "-q", "destroy", NAME)
    wait_until(lambda: free() == 4 << 30, "its memory is free", TIMEOUT)
