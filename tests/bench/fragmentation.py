#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Free memory that still serves pages of 1 GiB after a long life, against first fit and buddy: rows from bench_fragmentation."""

import argparse
import json
import subprocess

from results import add_options, finish, guarded, row

FIGURES = (("free memory in whole GiB after a long life", "usable_1g", "share"),
           ("requests refused although there was as much free", "refused", "files"),
           ("pieces of a file", "runs_per_file", "runs"), ("CPU time of an operation", "us_per_operation", "us"))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    add_options(parser)
    options = parser.parse_args()
    command = [options.build / "tests" / "bench" / "bench_fragmentation", "--json", *(["--quick"] if options.quick else [])]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    finish(options, "fragmentation",
           [row(figure, name, entry[field], unit, "host") for figure, field, unit in FIGURES for name, entry in found.items()])


if __name__ == "__main__":
    guarded(main)
