# SPDX-License-Identifier: GPL-2.0-or-later
"""
Runs tests that do one thing at a time on one CPU. A request wakes the daemon, and waking another emulated CPU takes
longer than the request.
"""

import os

import pytest

# Files whose tests want all CPUs: what several processes do at once is what they are about.
PARALLEL = ("vm/", "mount/test_concurrency.py", "mount/test_fresh_bytes.py", "mount/test_mapping.py")


@pytest.fixture(autouse=True)
def affinity(request):
    everything = os.sched_getaffinity(0)
    if not request.node.nodeid.startswith(PARALLEL):
        os.sched_setaffinity(0, {min(everything)})
    yield
    os.sched_setaffinity(0, everything)
