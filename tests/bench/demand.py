#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the first touch of 2 MiB costs: with demand allocation, where it takes a message to the daemon, a transaction and an answer;
with memory that the file had before; and with hugetlbfs, which zeroes in the fault. In a VM whose clock counts instructions for
one thread, and in one that runs its CPUs side by side for many.
"""

import argparse

from laboratory import Laboratory
from results import add_options, finish, guarded, progress, row

SIZE = 512 << 20
ROUNDS = 3
HUGE_PAGES = ("hugepagesz=2M", "hugepages=256")
PLANS = (("icount", (1,)), ("tcg", (1, 2, 4, 16, 64)))


def measure(laboratory, rounds, clock, threads):
    options = ["--icount" if clock == "icount" else "--cpus=2", "--node", "4G:1G"]
    found = laboratory.run("demand_guest.py", laboratory.programs / "toucher", SIZE, rounds, *threads, options=options,
                           append=HUGE_PAGES)
    return [row(f"first touch of 2 MiB, {count} thread{'s' if int(count) > 1 else ''}", name,
                [value / 1000 for value in found[name][count]], "us", clock)
            for count in map(str, threads) for name in sorted(found, key=lambda name: not name.startswith("dmemfs"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    options = parser.parse_args()
    laboratory = Laboratory(options.build.resolve())
    rows = []
    for clock, threads in PLANS[:1] if options.quick else PLANS:
        progress(f"VM: {clock}")
        rows += measure(laboratory, 1 if options.quick else ROUNDS, clock, threads)
    finish(options, "demand", rows)


if __name__ == "__main__":
    guarded(main)
