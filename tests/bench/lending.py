#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
How often, and how soon, a guest of 2 GiB gets its memory on a fragmented host: of dmemfs, which has lent it to the host, and by huge
pages that are allocated at run time. In one VM, whose clock counts instructions, by turns.

The host uses the lent memory for its page cache, and has more memory of its own that is free than the guest needs; but small files
that were made while memory was full have left what cannot be moved everywhere. Before, while the host is fresh, all of them try, too.
"""

import argparse

from laboratory import Laboratory
from names import LENT_GUEST, LENT_GUEST_REFUSED, LENT_GUEST_TIME, LENT_HOST_FREE
from results import add_options, finish, guarded, progress, row

NODE = "8G:2G"
SAME_PLACE = "nokaslr"  # the kernel does not lie in another GiB each time
TRIES, QUICK_TRIES = 20, 5
FRESH_TRIES = 3


def rows_of(found):
    """@found: as lending_guest.py prints it."""
    rows = []
    for host, systems in found["tries"].items():
        for system, tries in systems.items():
            rows.append(row(LENT_GUEST.format(host), system, sum(had for had, _ in tries), f"of {len(tries)}", "icount"))
        for figure, wanted in ((LENT_GUEST_TIME, True), (LENT_GUEST_REFUSED, False)):
            times = {system: [spent for had, spent in tries if had == wanted] for system, tries in systems.items()}
            rows += [row(figure.format(host), system, spent, "s", "icount") for system, spent in times.items() if spent]
    return rows + [row(LENT_HOST_FREE, "dmemfs", [kib / (1 << 20) for kib in found["free"]], "GiB", "icount")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    options = parser.parse_args()
    tries = (1, QUICK_TRIES) if options.quick else (FRESH_TRIES, TRIES)
    laboratory = Laboratory(options.build.resolve())
    progress("VM")
    found = laboratory.run("lending_guest.py", *tries, options=("--icount", "--node", NODE), append=(SAME_PLACE,))
    finish(options, "lending", rows_of(found))


if __name__ == "__main__":
    guarded(main)
