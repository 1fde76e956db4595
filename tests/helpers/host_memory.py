# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's own memory."""

import os
import re
from pathlib import Path


def meminfo(name):
    """Bytes."""
    return int(re.search(rf"^{name}: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)[1]) << 10


def kept_by_cpus():
    """Bytes of free memory that each CPU keeps for itself: they can be tens of MiB, and MemFree does not count them."""
    kept = re.findall(r"^ +count: +(\d+)$", Path("/proc/zoneinfo").read_text(), re.M)
    return sum(map(int, kept)) * os.sysconf("SC_PAGE_SIZE")
