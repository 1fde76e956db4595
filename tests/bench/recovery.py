#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
How long a daemon takes to be back: kills it under a mount with FILES files and times the next one, from its start to READY, with
the connection taken over; how much of that the daemon computed, which does not depend on what else the machine does; and what
a client sees of it.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from names import RESTART_WAIT
from results import add_options, finish, guarded, progress, row

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.children import Child
from helpers.daemon import Daemon
from helpers.processes import computed
from helpers.syscalls import keep_mounts_private

FIGURES = ("restart of a killed daemon, start to READY", "computed meanwhile", RESTART_WAIT)


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
    add_options(parser)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    keep_mounts_private()
    rows = []
    for count in (10, 1000) if options.quick else (10, 1000, 10_000):
        progress(f"{count} files")
        with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
            daemon = Daemon(options.build.resolve() / "fuse-daemon" / "dmemfsd", work,
                            {"page-size": "4K", "size": "1G", "memory-dir": f"{memory}/objects"})
            daemon.manager.keeps = True
            daemon.start()
            make_files(daemon.mountpoint, count)
            columns = zip(*(one_round(daemon) for _ in range(5 if options.quick else 10)))
            rows += [row(figure, f"dmemfs, {count:,} files", [1000 * seconds for seconds in times], "ms", "host")
                     for figure, times in zip(FIGURES, columns)]
            daemon.stop()
    finish(options, "recovery", rows)


if __name__ == "__main__":
    guarded(main)
