# SPDX-License-Identifier: GPL-2.0-or-later
"""
How hard the tests try that could go on for ever: DMEMFS_TEST_PROFILE is ci (the default), quick, long, or vm, where an
emulated CPU takes the time of ten.
"""

import os

from helpers.sizes import ONE_PAGE_SIZE

PROFILE = os.environ.get("DMEMFS_TEST_PROFILE", "ci")
IS_SHORT = PROFILE in ("quick", "vm")
EXAMPLES = {"quick": 25, "ci": 50, "long": 1000, "vm": 10}  # of a property


def page_sizes(module, sizes):
    """Those of @sizes to run a test of the @module with, which takes each of them."""
    return sizes[:1] if IS_SHORT and module in ONE_PAGE_SIZE else sizes


def rounds(count):
    """How often to repeat what ci repeats @count times."""
    return {"quick": -(-count // 2), "ci": count, "long": count * 20, "vm": -(-count // 5)}[PROFILE]
