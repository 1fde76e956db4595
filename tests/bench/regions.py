#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What regions of reserved memory cost, of each kind of compound pages, in VMs whose clock counts instructions: the time of a claim,
and the memory that it and a mapping of all of it take. The figures of "memory" have the daemon, too. Then how fast the module
zeroes and reads it: raw memory it has to map first, each time.

A VM tells memory of which it touches little from memory that it has: the largest region is of more than this machine has.
"""

import argparse

from laboratory import Laboratory
from names import CLAIM, CLEARING, GROWTH, READING
from results import add_options, finish, guarded, progress, row

HOST_GIB = 3
PAGES = ("1G", "2M", "none")
SIZES = (1, 10)  # GiB
LARGE = 900  # GiB; of no region with pages of 2 MiB, whose struct pages would take 4 GiB
BLOCKS = ("4K", "64K", "1M")  # of reads
ROUNDS = 3
EXTRAPOLATED = "claim of 1,000 GiB, extrapolated from {} GiB"


def measure(laboratory, gib, rounds, plan):
    progress(f"VM: {gib} GiB")
    options = ("--icount", "--node", f"{HOST_GIB + gib}G:{gib}G")
    return laboratory.run("regions_guest.py", rounds, *plan, options=options)


def rows_of_speed(found):
    rows = []
    for pages, values in found:
        clearing, *reading = zip(*values)
        name = f"dmemfs pages={pages}"
        rows += [row(CLEARING, name, clearing, "ms", "icount"),
                 *(row(READING.format(size), name, spent, "ms", "icount") for size, spent in zip(BLOCKS, reading))]
    return rows


def rows_of(found):
    """@found: as regions_guest.py prints it."""
    rows, largest = [], {}
    for pages, gib, values in found:
        spent, taken = ([value / gib for value in column] for column in zip(*values))
        name = f"dmemfs pages={pages}"
        rows += [row(CLAIM, f"{name}, {gib} GiB", spent, "ms", "icount"),
                 row(GROWTH, f"{name}, {gib} GiB", taken, "KiB", "icount")]
        largest[name] = (gib, spent)
    return rows + [row(EXTRAPOLATED.format(gib), name, spent, "s", "icount") for name, (gib, spent) in largest.items()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    options = parser.parse_args()
    laboratory = Laboratory(options.build.resolve())
    rounds = 1 if options.quick else ROUNDS
    found = measure(laboratory, SIZES[-1], rounds, [f"{pages}:{gib}" for pages in PAGES for gib in SIZES])
    if not options.quick:
        found += measure(laboratory, LARGE, rounds, [f"{pages}:{LARGE}" for pages in ("1G", "none")])
    progress("VM: zeroing and reads")
    speed = laboratory.run("regions_guest.py", "--speed", rounds, *BLOCKS, options=("--icount", "--node", f"{HOST_GIB + 1}G:1G"))
    finish(options, "regions", rows_of(found) + rows_of_speed(speed))


if __name__ == "__main__":
    guarded(main)
