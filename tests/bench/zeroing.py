#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
How much of a node's memory bandwidth zeroing reaches: rows from bench_zeroing. What zeroing costs a guest's start, with the pool
clean and dirty, is a figure of peers.py.
"""

import argparse
import json
import subprocess

from names import ZEROING
from results import add_options, finish, guarded, row

SYSTEMS = {"advance": "dmemfs, in advance, one thread", "advance_cpu": "dmemfs, in advance, of the CPU time",
           "need": "dmemfs, in need, several threads"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    options = parser.parse_args()
    program = options.build / "tests" / "bench" / "bench_zeroing"
    found = json.loads(subprocess.run([program], check=True, stdout=subprocess.PIPE).stdout)
    rows = []
    for node, figures in found.items():
        where = "" if len(found) == 1 else f", node {node}"
        rows += [row(f"{ZEROING}{where}", system, figures[name], "share", "host") for name, system in SYSTEMS.items()]
        rows.append(row(f"rate of memset{where}", "memset", figures["memset_gbs"], "GB/s", "host"))
    finish(options, "zeroing", rows)


if __name__ == "__main__":
    guarded(main)
