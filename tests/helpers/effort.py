# SPDX-License-Identifier: GPL-2.0-or-later
"""
How hard the tests try that could go on for ever: DMEMFS_TEST_PROFILE is ci (the default), long, or vm, where an emulated
CPU takes the time of ten.
"""

import os

PROFILE = os.environ.get("DMEMFS_TEST_PROFILE", "ci")
EXAMPLES = {"ci": 50, "long": 1000, "vm": 10}  # of a property


def rounds(count):
    """How often to repeat what ci repeats @count times."""
    return {"ci": count, "long": count * 20, "vm": -(-count // 5)}[PROFILE]
