#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What lent memory is worth, in VMs whose clock counts instructions.

guests: how often, and how soon, a guest of 2 GiB gets its memory on a fragmented host: of dmemfs, which has lent it to the host, and by
huge pages that are allocated at run time, by turns. The host uses the lent memory for its page cache, and has more memory of its own that
is free than the guest needs; but small files that were made while memory was full have left what cannot be moved everywhere. Before,
while the host is fresh, all of them try, too.

uses: what a lent GiB costs the host meanwhile, and how soon it is back, or refused, by what the host uses it for.
"""

import argparse

from laboratory import Laboratory
from names import (LENT_BACK, LENT_COST, LENT_GAIN, LENT_GUEST, LENT_GUEST_REFUSED, LENT_GUEST_TIME, LENT_HOST_FREE, LENT_LEND,
                   LENT_REFUSED, LENT_USED)
from results import add_options, finish, guarded, progress, row

SAME_PLACE = "nokaslr"  # the kernel does not lie in another GiB each time
NODE, USES_NODE = "8G:2G", "4G:1G"
TRIES, QUICK_TRIES = 20, 5
FRESH_TRIES = 3
ROUNDS = 3
MIB, GIB = 1 << 20, 1 << 30


def rows_of_guests(found):
    """@found: as lending_guest.py prints it."""
    rows = []
    for host, systems in found["tries"].items():
        for system, tries in systems.items():
            rows.append(row(LENT_GUEST.format(host), system, sum(had for had, _ in tries), f"of {len(tries)}", "icount"))
        for figure, wanted in ((LENT_GUEST_TIME, True), (LENT_GUEST_REFUSED, False)):
            times = {system: [spent for had, spent in tries if had == wanted] for system, tries in systems.items()}
            rows += [row(figure.format(host), system, spent, "s", "icount") for system, spent in times.items() if spent]
    return rows + [row(LENT_HOST_FREE, "dmemfs", [kib / (1 << 20) for kib in found["free"]], "GiB", "icount")]


def rows_of_uses(found):
    """@found: as lending_uses_guest.py prints it."""
    cost, gain, spent = zip(*found["lent"])
    rows = [row(LENT_COST, "dmemfs", [size / MIB for size in cost], "MiB", "icount"),
            row(LENT_GAIN, "dmemfs", [size / GIB for size in gain], "GiB", "icount"),
            row(LENT_LEND, "dmemfs", spent, "s", "icount")]
    for use, tries in found["taken"].items():
        rows.append(row(LENT_USED, f"dmemfs, {use}", [used / MIB for _, _, used in tries], "MiB", "icount"))
        for error in sorted({error for error, _, _ in tries}):
            figure, system = (LENT_REFUSED, f"dmemfs, {use}: {error}") if error else (LENT_BACK, f"dmemfs, {use}")
            rows.append(row(figure, system, [spent for found, spent, _ in tries if found == error], "s", "icount"))
    return rows


def measure_guests(laboratory, quick):
    tries = (1, QUICK_TRIES) if quick else (FRESH_TRIES, TRIES)
    return rows_of_guests(laboratory.run("lending_guest.py", *tries, options=("--icount", "--node", NODE), append=(SAME_PLACE,)))


def measure_uses(laboratory, quick):
    rounds = 1 if quick else ROUNDS
    return rows_of_uses(laboratory.run("lending_uses_guest.py", rounds, options=("--icount", "--node", USES_NODE)))


PARTS = {"guests": ("lending", measure_guests), "uses": ("lending, uses", measure_uses)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    parser.add_argument("--only", choices=PARTS, help="this half alone; the results keep the other one's rows")
    options = parser.parse_args()
    laboratory = Laboratory(options.build.resolve())
    for name, (part, measure) in PARTS.items():
        if options.only in (None, name):
            progress(f"VM: {name}")
            finish(options, part, measure(laboratory, options.quick))


if __name__ == "__main__":
    guarded(main)
