# SPDX-License-Identifier: GPL-2.0-or-later
"""
How much work those tests do that could go on for ever. DMEMFS_TEST_PROFILE is ci (the default), quick, long, or vm, for
an emulated CPU, which takes ten times as long.
"""

import os

from helpers.sizes import ONE_PAGE_SIZE

PROFILE = os.environ.get("DMEMFS_TEST_PROFILE", "ci")
IS_SHORT = PROFILE in ("quick", "vm")
EXAMPLES = {"quick": 25, "ci": 50, "long": 1000, "vm": 10}  # of a property
SOAK_SECONDS = {"quick": 60, "ci": 60, "long": 3600, "vm": 60}[PROFILE]


def page_sizes(module, sizes):
    """Which of @sizes a test of @module runs with; it runs once with each."""
    return sizes[:1] if IS_SHORT and module in ONE_PAGE_SIZE else sizes


def rounds(count):
    """The number of repetitions for a test that repeats @count times with the profile ci."""
    return {"quick": -(-count // 2), "ci": count, "long": count * 20, "vm": -(-count // 5)}[PROFILE]
