#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Time and memory of the extent allocator with few and with many extents: rows from bench_allocator."""

import argparse
import json
import subprocess

from results import add_options, finish, guarded, row


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    options = parser.parse_args()
    command = [options.build / "tests" / "bench" / "bench_allocator", *(["--quick"] if options.quick else [])]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    rows = []
    for unit, by_count in found.items():
        for what, field, label in (("to free and take", "pair_ns", "ns"), ("memory of one", "bytes_per_extent", "bytes")):
            rows += [row(f"extents in units of {unit}, {what}", f"dmemfs, {entry['live_extents']:,} live", entry[field],
                         label, "host") for entry in by_count.values()]
    finish(options, "allocator", rows)


if __name__ == "__main__":
    guarded(main)
