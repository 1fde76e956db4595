#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Inside the VM: times the first touch of each 2 MiB of a file by so many threads, with the program toucher, and prints
{peer: {threads: [ns per touch, ...]}} as JSON: `demand_guest.py TOUCHER SIZE ROUNDS THREADS...`. See demand.py.
"""

import json
import os
import sys

from peers_systems import WORK, daemon, huge_pages, mounted, run, settle

UNIT = 2 << 20


def touch(toucher, file, size, threads):
    """ns per touch; the file is gone afterwards."""
    file.touch()
    os.truncate(file, size)
    said = run(toucher, "touch", file, UNIT, threads).split()
    file.unlink()
    touched, refused, nanoseconds = (int(said[at]) for at in (1, 3, 5))
    if (touched, refused) != (size // UNIT, 0):
        raise RuntimeError(" ".join(said))
    return nanoseconds / touched


def main():
    toucher, size, rounds, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    found = {}
    WORK.mkdir()
    with huge_pages("2M", size // UNIT), mounted("hugetlbfs", "hugetlbfs", "pagesize=2M") as file:
        found["hugetlbfs 2M"] = {count: [touch(toucher, file, size, count) for _ in range(rounds)] for count in threads}
    mountpoint = WORK / "dmemfs"
    # What was clean once is known to be.
    for name, alloc, clean in (("dmemfs, demand, pool dirty", "demand", False), ("dmemfs, demand, pool clean", "demand", True),
                               ("dmemfs, eager", "eager", True)):
        found[name] = {count: [] for count in threads}
        with daemon(mountpoint, page_size="2M", alloc=alloc, zero_in_advance=str(clean).lower()):
            for count in threads:
                for _ in range(rounds):
                    settle(mountpoint, clean)
                    found[name][count].append(touch(toucher, mountpoint / "guest", size, count))
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
