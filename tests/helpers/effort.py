# SPDX-License-Identifier: GPL-2.0-or-later
"""
How hard the tests try that could go on for ever: DMEMFS_TEST_PROFILE is ci (the default), long, or vm, where an emulated
CPU takes the time of ten.
"""

import os

PROFILE = os.environ.get("DMEMFS_TEST_PROFILE", "ci")
EXAMPLES = {"ci": 50, "long": 1000, "vm": 10}  # of a property
# Files whose tests are about names and records: the size of a page makes them no other.
_ONE_PAGE_SIZE = {f"test_{name}" for name in ("attributes", "command_line", "durable", "lifecycle", "links", "names",
                                              "permissions", "rename", "takeover", "xattr")}


def page_sizes(module, sizes):
    """Those of @sizes to run a test of the @module with, which takes each of them."""
    return sizes[:1] if PROFILE == "vm" and module in _ONE_PAGE_SIZE else sizes


def rounds(count):
    """How often to repeat what ci repeats @count times."""
    return {"ci": count, "long": count * 20, "vm": -(-count // 5)}[PROFILE]
