# SPDX-License-Identifier: GPL-2.0-or-later
"""On a kernel with kmemleak: after the last test, memory that the module took and nobody refers to any more is an error."""

import time
from pathlib import Path

import pytest

KMEMLEAK = Path("/sys/kernel/debug/kmemleak")
OLD_ENOUGH = 6  # seconds: MSECS_MIN_AGE in mm/kmemleak.c, and one more
OURS = "[dmemfs]"


def _scan():
    """The records of what looks lost. It takes two scans: a pointer may be on its way during one."""
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
