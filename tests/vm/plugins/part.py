# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs one part of the tests when several VMs share them: DMEMFS_LAB_PART=NUMBER/COUNT, counted from 0."""

import os
import zlib

PART = os.environ.get("DMEMFS_LAB_PART", "0/1")


def pytest_collection_modifyitems(config, items):
    """
    Assigns each test by a hash of its name. So the VM of a test does not depend on other tests, and variants of one
    test are spread.
    """
    number, count = map(int, PART.split("/"))
    mine = [zlib.crc32(item.nodeid.encode()) % count == number for item in items]
    config.hook.pytest_deselected(items=[item for item, keep in zip(items, mine) if not keep])
    items[:] = [item for item, keep in zip(items, mine) if keep]
