#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
How long a daemon takes to be back: kills it under a mount with FILES files and times the next one, from its start to READY, with
the connection taken over; how much of that the daemon computed, which does not depend on what else the machine does; and what
a client sees of it. Prints the median and the worst of ROUNDS.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.children import Child
from helpers.daemon import Daemon
from helpers.processes import computed


def make_files(root, count):
    for number in range(count):
        directory = root / f"{number // 1000}"
        directory.mkdir(exist_ok=True)
        with open(directory / f"{number}", "wb", buffering=0) as file:
            file.write(b"x")


def ask(root):
    """A request that no cache answers; the time when the answer came."""
    os.statvfs(root)
    return time.monotonic()


def one_round(daemon):
    """(start to READY, computed meanwhile, death to a client's answer), in seconds."""
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.process.wait()
    daemon.ended_by_test = True
    died = time.monotonic()
    with Child(ask, daemon.mountpoint) as client:
        started = time.monotonic()
        daemon.take_over()
        ready = time.monotonic()
        return ready - started, computed(daemon.pid), client.wait() - died


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dmemfsd", required=True)
    parser.add_argument("--files", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    print(f"{'files':9}{'start to READY, ms':>22}{'computed, ms':>22}{'a client waits, ms':>22}")
    print(" " * 9 + f"{'median':>14}{'worst':>8}" * 3)
    for count in options.files:
        with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            daemon = Daemon(options.dmemfsd, work, {"page-size": "4K", "size": "1G", "memory-dir": f"{memory}/objects"})
            daemon.manager.keeps = True
            daemon.start()
            make_files(daemon.mountpoint, count)
            columns = zip(*(one_round(daemon) for _ in range(options.rounds)))
            figures = [(1000 * statistics.median(times), 1000 * max(times)) for times in columns]
            daemon.stop()
        print(f"{count:<9}" + "".join(f"{median:14.0f}{worst:8.0f}" for median, worst in figures))


main()
