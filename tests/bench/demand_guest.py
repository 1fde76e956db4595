#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Inside the VM: times the first touch of each 2 MiB of a file by so many threads, with the program toucher, and prints
{peer: {threads: [ns per touch, ...]}} as JSON: `demand_guest.py TOUCHER SIZE ROUNDS THREADS...`. See demand.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

WORK = Path("/tmp/demand")
CONFIG = Path("/tmp/demand.conf")
DAEMON = os.environ["DMEMFSD"]
CONTROL = str(Path(DAEMON).parent / "dmemfsctl" / "dmemfsctl")
UNIT = 2 << 20


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def touch(toucher, size, threads):
    """ns per touch; the file is gone afterwards."""
    file = WORK / "guest"
    file.touch()
    os.truncate(file, size)
    said = run(toucher, "touch", file, UNIT, threads).split()
    file.unlink()
    touched, refused, nanoseconds = (int(said[at]) for at in (1, 3, 5))
    if (touched, refused) != (size // UNIT, 0):
        raise RuntimeError(" ".join(said))
    return nanoseconds / touched


def dmemfs(alloc, in_advance):
    Path("/tmp/demand-state").mkdir(exist_ok=True)
    CONFIG.write_text(f"[daemon]\nmountpoint={WORK}\nstate-dir=/tmp/demand-state\nbackend=pfn\npage-size=2M\nalloc={alloc}\n"
                      f"zero-in-advance={in_advance}\n[region all]\nstart=auto\n")
    run(DAEMON, "--config", CONFIG)


def settle(clean):
    """All of a removed file's memory is back, and clean if it is to be."""
    while "pending_bytes 0" not in os.getxattr(WORK, "dmemfs.stats").decode().splitlines():
        pass
    if clean:
        run(CONTROL, "wait-clean", WORK)


def main():
    toucher, size, rounds, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    found = {}
    WORK.mkdir()
    run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "none", WORK)
    found["hugetlbfs 2M"] = {count: [touch(toucher, size, count) for _ in range(rounds)] for count in threads}
    run("umount", WORK)
    run("insmod", os.environ["DMEMFS_MODULE"])
    # What was clean once is known to be.
    for name, alloc, in_advance in (("dmemfs, demand, pool dirty", "demand", "false"),
                                    ("dmemfs, demand, pool clean", "demand", "true"),
                                    ("dmemfs, eager", "eager", "true")):
        dmemfs(alloc, in_advance)
        found[name] = {}
        for count in threads:
            found[name][count] = []
            for _ in range(rounds):
                settle(in_advance == "true")
                found[name][count].append(touch(toucher, size, count))
        run("fusermount3", "-u", WORK)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
