#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Inside the VM, for lending.py: `lending_guest.py FRESH TRIES` prints {"tries": {HOST: {SYSTEM: [[had, s], ...]}}, "free": [KiB, ...]}
as JSON.
"""

import errno
import json
import os
import re
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from helpers.accounting import read_stats
from helpers.host_memory import meminfo
from helpers.mount import wait_until
from helpers.syscalls import Mapping, opened
from names import PROGRESS
from peers_systems import GIB, KIB, MIB, SIZES, WORK, NoPages, daemon, huge_pages, mounted, region, reserved
from regions_guest import free
from vm.lending import cache, large_file  # not of lending.py beside this file

SIZE = 2 * GIB
MOUNT = WORK / "dmemfs"
VM = Path("/proc/sys/vm")
NO_ROOM = (errno.ENOMEM, errno.ENOSPC)
IN_USE = 0.9  # of lent memory, at least
PATIENCE = 600  # seconds

# While memory is filled: after each piece of data so many small files, whose inodes take 2% of it.
DATA, SMALL_FILES = 8 * MIB, 200
SPARE = 400 * MIB  # stays free


def say(text):
    """To who waits for the VM."""
    print(PROGRESS, text, flush=True)


@contextmanager
def dmemfs():
    path = MOUNT / "guest"
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def hugetlbfs(page, compact=False):
    """Of pages that the kernel gathers now; @compact: with all that helps it done before."""
    if compact:
        (VM / "drop_caches").write_text("3\n")
        (VM / "compact_memory").write_text("1\n")
    with huge_pages(page, SIZE // SIZES[page]), mounted("hugetlbfs", f"hugetlbfs-{page}", f"pagesize={page}") as path:
        yield path


SYSTEMS = {
    "hugetlbfs 1G, at run time": lambda: hugetlbfs("1G"),
    "dmemfs, its memory lent": dmemfs,
    "hugetlbfs 1G, compacted before": lambda: hugetlbfs("1G", True),
    "hugetlbfs 2M, at run time": lambda: hugetlbfs("2M"),
}


def touch(path):
    """Makes the file, as QEMU does, and touches all of it once."""
    with opened(path, os.O_RDWR | os.O_CREAT) as fd:
        os.ftruncate(fd, SIZE)
        with Mapping(fd, SIZE, skew=0) as mapping:
            for offset in range(0, SIZE, 2 * MIB):
                mapping.write(offset, b"\x01")


def attempt(system):
    """Whether the guest gets its memory, and after how many seconds that is known."""
    with ExitStack() as stack:
        began = time.monotonic()
        try:
            touch(stack.enter_context(SYSTEMS[system]()))
            had = True
        except NoPages:
            had = False
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            had = False
        return had, time.monotonic() - began


def unused():
    """Bytes of the lent memory."""
    zone = re.search(r"^Node \d+, zone +Movable\n +pages free +(\d+)", Path("/proc/zoneinfo").read_text(), re.M)
    return int(zone[1]) * 4 * KIB


def use_lent_memory(own, file):
    """All of it is lent, and is page cache."""
    wait_until(lambda: read_stats(MOUNT)["lent_bytes"] == SIZE and meminfo("MemTotal") == own + SIZE, "all memory is lent", PATIENCE)
    for drop in (False, True):
        if unused() < (1 - IN_USE) * SIZE:
            return
        if drop:  # what it has elsewhere
            (VM / "drop_caches").write_text("3\n")
        cache(file, SIZE)
    if unused() >= (1 - IN_USE) * SIZE:
        raise RuntimeError(f"{unused() // MIB} MiB of the lent memory stay unused")


def take_turns(own, file, rounds):
    """Free memory of the host itself, and {system: [(had, seconds), ...]}."""
    found, own_free = {system: [] for system in SYSTEMS}, []
    for number in range(rounds):
        own_free.append(free())
        for system, tries in found.items():
            use_lent_memory(own, file)
            tries.append(attempt(system))
            say(f"{number + 1} of {rounds}: {system}: {'had it' if tries[-1][0] else 'refused'} in {tries[-1][1]:.2f} s")
    return own_free, found


def fragment(directory):
    """Small files are made while memory fills, and stay when it gets free: what cannot be moved of them is everywhere then."""
    count = 0
    with open(directory / "data", "wb") as data:
        while meminfo("MemAvailable") > SPARE:
            os.posix_fallocate(data.fileno(), count // SMALL_FILES * DATA, DATA)
            for _ in range(SMALL_FILES):
                os.mknod(f"{directory}/{count}")
                count += 1
    (directory / "data").unlink()
    say(f"{count} small files; {meminfo('MemAvailable') // MIB} MiB are available")


def measure(fresh, tries):
    own = meminfo("MemTotal")
    with ExitStack() as stack:
        file = stack.enter_context(large_file(WORK, SIZE + SIZE // 8))
        files = stack.enter_context(mounted("tmpfs", "files", "size=1T,nr_inodes=0")).parent
        stack.enter_context(daemon(MOUNT, region("none", reserved(), SIZE // GIB), page_size="1G", lend="on", lend_reserve="0",
                                   lend_idle="0", take_timeout="600"))
        _, of_fresh = take_turns(own, file, fresh)
        fragment(files)
        own_free, of_fragmented = take_turns(own, file, tries)
    return {"tries": {"fragmented": of_fragmented, "fresh": of_fresh}, "free": own_free}


def main():
    WORK.mkdir()
    print(json.dumps(measure(*map(int, sys.argv[1:]))), flush=True)


if __name__ == "__main__":
    main()
