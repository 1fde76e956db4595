# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures for what runs only in the laboratory's VM, with dmemfs.ko loaded; tests/vm/run starts it."""

import re
from pathlib import Path

import pytest

from device import PATH, Device

GIB = 1 << 30
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": GIB}


def pytest_collection_modifyitems(items):
    """Elsewhere these tests are skipped: they take the device and the reserved memory for their own."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and not Path(PATH).exists():
            item.add_marker(pytest.mark.skip(reason="needs dmemfs.ko: tests/vm/run"))


@pytest.fixture(scope="session")
def reserved():
    """(start, size) of what the kernel's command line reserved, a range per node."""
    found = re.findall(r"memmap=(\d+)([KMG]?)\$(0x[0-9a-f]+|\d+)", Path("/proc/cmdline").read_text())
    return [(int(start, 0), int(size) * _UNITS[unit]) for size, unit, start in found]


@pytest.fixture
def device():
    """The control device, to begin with without regions and objects. The test must let go of its objects."""
    opened = Device()
    opened.clear()
    yield opened
    opened.close()
    with Device() as again:
        again.clear()


@pytest.fixture
def region(device, reserved):
    """A claimed gigabyte that starts at a multiple of 1 GiB."""
    return device.claim(reserved[0][0], GIB)
