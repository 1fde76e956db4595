# SPDX-License-Identifier: GPL-2.0-or-later
"""Lent memory as the host sees it: its memory blocks, how much memory there is, programs that use it."""

import os
import re
import subprocess
from contextlib import suppress
from pathlib import Path

EHWPOISON = 133  # not in Python's errno
BLOCKS = Path("/sys/devices/system/memory")
BLOCK = int((BLOCKS / "block_size_bytes").read_text(), 16) if BLOCKS.exists() else 0


def meminfo(name):
    """Bytes."""
    return int(re.search(rf"^{name}: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)[1]) << 10


def vmstat(name):
    return int(re.search(rf"^{name} (\d+)$", Path("/proc/vmstat").read_text(), re.M)[1])


def free_memory():
    """Bytes, without caches. Free pages that a CPU keeps for itself count: they can be tens of MiB."""
    Path("/proc/sys/vm/drop_caches").write_text("3")
    kept = re.findall(r"^ +count: (\d+)", Path("/proc/zoneinfo").read_text(), re.M)
    return meminfo("MemFree") + 4096 * sum(map(int, kept))


def blocks(start, length):
    """The file "state" of each memory block of the range."""
    return [BLOCKS / f"memory{address // BLOCK}" / "state" for address in range(start, start + length, BLOCK)]


def states(start, length):
    return [path.read_text().strip() if path.exists() else None for path in blocks(start, length)]


def bring_online(start, length):
    for path in blocks(start, length):
        with suppress(OSError):  # it is online already
            path.write_text("online_movable")
    assert states(start, length) == ["online"] * (length // BLOCK)


def build_load(directory):
    program = directory / "load"
    source = Path(__file__).parent / "lend" / "load.c"
    subprocess.run(["cc", "-std=gnu17", "-D_GNU_SOURCE", "-O1", "-Wall", "-Wextra", "-Werror", "-o", program, source],
                   check=True)
    return program


class Load:
    """The program lend/load.c, on the first CPU; see there."""

    def __init__(self, program, kind, mib, start, length, *files):
        self.process = subprocess.Popen(
            [program, kind, str(mib), str(start), str(start + length), *map(str, files)], text=True, bufsize=1,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=lambda: os.sched_setaffinity(0, {0}))
        self.inside = int(self.process.stdout.readline())

    def check(self):
        """(pages of it that are in the range, pages with a wrong content)."""
        self.process.stdin.write("\n")
        return tuple(map(int, self.process.stdout.readline().split()))

    def end(self):
        with suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        return self.process.wait(60)
