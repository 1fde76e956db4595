#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Inside the VM: times the making and first touch of a file by zeroing_client, on dmemfs with the pool dirty and clean and on
hugetlbfs, and prints {peer: [ns to make, ns to touch]} as JSON: `zeroing_guest.py CLIENT SIZE ROUNDS`. See zeroing.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

WORK = Path("/tmp/zeroing")
CONFIG = Path("/tmp/zeroing.conf")
DAEMON = os.environ["DMEMFSD"]
CONTROL = str(Path(DAEMON).parent / "dmemfsctl" / "dmemfsctl")


def run(*command):
    return subprocess.run([str(part) for part in command], check=True, stdout=subprocess.PIPE, text=True).stdout


def measure(client, size):
    """[ns to make, ns to touch]; the file is gone afterwards."""
    file = WORK / "guest"
    times = [int(word) for word in run(client, file, size).split()]
    file.unlink()
    return times


def dmemfs(in_advance):
    Path("/tmp/zeroing-state").mkdir(exist_ok=True)
    CONFIG.write_text(f"[daemon]\nmountpoint={WORK}\nstate-dir=/tmp/zeroing-state\nbackend=pfn\npage-size=1G\n"
                      f"zero-in-advance={in_advance}\n[region all]\nstart=auto\n")
    run(DAEMON, "--config", CONFIG)


def settle():
    """All of a removed file's memory is back, and clean if it is to be."""
    while "pending_bytes 0" not in os.getxattr(WORK, "dmemfs.stats").decode().splitlines():
        pass


def main():
    client, size, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    found = {}
    WORK.mkdir()
    for page in ("2M", "1G"):
        run("mount", "-t", "hugetlbfs", "-o", f"pagesize={page}", "none", WORK)
        found[f"hugetlbfs {page}"] = [measure(client, size) for _ in range(rounds)]
        run("umount", WORK)
    run("insmod", os.environ["DMEMFS_MODULE"])
    for name, in_advance in (("dmemfs, pool dirty", "false"), ("dmemfs, pool clean", "true")):
        dmemfs(in_advance)
        found[name] = []
        for _ in range(rounds):
            settle()
            if in_advance == "true":
                run(CONTROL, "wait-clean", WORK)
            found[name].append(measure(client, size))
        run("fusermount3", "-u", WORK)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
