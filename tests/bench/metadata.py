#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Metadata rate of dmemfsd against libfuse's passthrough_hp on tmpfs, side by side in one run, as ratios: by the host's clock, and
in a VM whose clock counts instructions.

By the first it is mostly the time in which one process wakes another, and differs by the hour; the second is the work that is
done, by all threads of the daemon and by the kernel, and repeats.
"""

import argparse
import signal
import sys

from laboratory import Laboratory
from metadata_rounds import DMEMFS, OPERATIONS, measure
from names import METADATA
from results import add_options, finish, guarded, progress, row

LIFE = "a file's life"  # all four


def rows_of(rounds, clock):
    for systems in rounds:
        for times in systems.values():
            times[LIFE] = sum(times.values())
    for operation in (*OPERATIONS, LIFE):
        times = {name: [systems[name][operation] for systems in rounds] for name in sorted(rounds[0])}
        ours, theirs = times.values()
        # Both sides of a round see the same noise.
        yield row(METADATA.format(operation), DMEMFS, [b / a for a, b in zip(ours, theirs)], "times", clock)
        for name, values in times.items():
            yield row(f"time of {operation}", name, [nanoseconds / 1000 for nanoseconds in values], "us", clock)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    options = parser.parse_args()
    build = options.build.resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    rows = list(rows_of(measure(build, *((2000, 3) if options.quick else (10000, 7))), "host"))
    progress("VM: icount: the same")
    files, rounds = (400, 2) if options.quick else (2000, 5)
    found = Laboratory(build).run("metadata_rounds.py", build, files, rounds, options=["--icount"])
    finish(options, "metadata", rows + list(rows_of(found, "icount")))


if __name__ == "__main__":
    guarded(main)
