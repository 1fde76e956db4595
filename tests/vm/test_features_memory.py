# SPDX-License-Identifier: GPL-2.0-or-later
"""
How the amount of a guest's memory changes, with each kind of compound pages and on hugetlbfs: free page reporting.
The rest of the table of dmemfs(7) is in test_features.py.
"""

import pytest

from helpers.backends import GIB, MIB
from helpers.mount import wait_until
from kvm_guest import SCALE, guest
from places import ALL, capacity, kinds, page_size, pages, place  # noqa: F401 fixtures

SIZE = 512 * MIB
FILLED = 250 * MIB  # see nested/breather
PATIENCE = 20 * SCALE

pytestmark = [pytest.mark.usefixtures("kvm"), pytest.mark.timeout(300), pytest.mark.dmemfs(alloc="demand")]


def linux(place, work, task, options):
    """A guest whose RAM is the file "vm1"."""
    size = place.whole(SIZE)
    return guest(work, f"mem-path={place.make('vm1', size)},align={place.align}", size, task, options)


@kinds(*ALL)
def test_free_page_reporting(place, work):
    """The guest reports freed memory in blocks of 2 MiB. A unit of 1 GiB stays, and what was reported reads as zeroes."""
    path = place / "vm1"
    with linux(place, work, "breather", ["-device", "virtio-balloon-pci,free-page-reporting=on"]) as running:
        for count in (1, 2):
            assert running.wait(f"full-{count}") == "1"
            full, least = place.used(path), place.free() + FILLED * 0.8
            assert full > FILLED
            running.wait(f"free-{count}")
            if place.unit < GIB:
                wait_until(lambda least=least: place.free() > least, "the memory is back in the pool", PATIENCE)
        assert place.unit < GIB or place.used(path) == GIB
        assert not running.errors()
