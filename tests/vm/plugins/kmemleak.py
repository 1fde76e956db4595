# SPDX-License-Identifier: GPL-2.0-or-later
"""
On a kernel with kmemleak: after the last test, memory that the module allocated and that nothing refers to is an error.
"""

import time
from pathlib import Path

import pytest

KMEMLEAK = Path("/sys/kernel/debug/kmemleak")
OLD_ENOUGH = 6  # seconds: MSECS_MIN_AGE in mm/kmemleak.c, and one more
OURS = "[dmemfs]"


def _scan():
    """The records of memory that looks lost. It takes two scans, because a pointer may move during one."""
    for _ in range(2):
        time.sleep(OLD_ENOUGH)
        KMEMLEAK.write_text("scan")
    return [f"unreferenced object{record}" for record in KMEMLEAK.read_text().split("unreferenced object")[1:]]


@pytest.fixture(scope="session", autouse=True)
def kmemleak():
    yield
    if KMEMLEAK.exists():
        lost = [record for record in _scan() if OURS in record]
        if lost:
            pytest.fail("the module lost memory:\n" + "".join(lost), pytrace=False)
