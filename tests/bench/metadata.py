#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Metadata rate of dmemfsd against libfuse's passthrough_hp on tmpfs, side by side in one run, as ratios.

Rounds alternate between the two, so that whatever else the machine does falls on both. Each file system serves one
client that creates (open, close), stats (not cached), renames and unlinks files in one directory.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPERATIONS = ("create", "stat", "rename", "unlink")


class Peer:
    """A file system under test: a server process and its mount point."""

    def __init__(self, name, work):
        self.name = name
        self.mountpoint = work / name
        self.mountpoint.mkdir()
        self.rounds = []

    def start(self, command):
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not os.path.ismount(self.mountpoint):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} does not start: {' '.join(map(str, command))}")
            time.sleep(0.01)

    def stop(self):
        if getattr(self, "process", None) is None:
            return
        subprocess.run(["umount", self.mountpoint], check=False, stderr=subprocess.DEVNULL)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def run(self, client, count):
        output = subprocess.run([client, self.mountpoint, str(count)], check=True, capture_output=True, text=True).stdout
        times = dict(line.split() for line in output.splitlines())
        self.rounds.append({operation: int(times[operation]) / count for operation in OPERATIONS})

    def median(self, operation):
        return statistics.median(a_round[operation] for a_round in self.rounds)


def start_dmemfs(peer, work, daemon):
    config = work / "dmemfsd.conf"
    memory = Path(tempfile.mkdtemp(prefix="dmemfs-bench-", dir="/dev/shm"))
    config.write_text(f"[daemon]\nmountpoint={peer.mountpoint}\nstate-dir={work}/state\n"
                      f"memory-dir={memory}/files\nsize=1G\n")
    peer.start([daemon, "--config", config, "--foreground", "--log-level", "error"])
    return memory


def start_passthrough(peer, passthrough_hp):
    source = Path(tempfile.mkdtemp(prefix="dmemfs-bench-", dir="/dev/shm"))
    peer.start([passthrough_hp, "--foreground", source, peer.mountpoint])
    return source


def spread(ratios):
    return f"{min(ratios):.2f}..{max(ratios):.2f}"


def report(ours, theirs, as_json):
    rows = {}
    for operation in OPERATIONS:
        ratios = [b[operation] / a[operation] for a, b in zip(ours.rounds, theirs.rounds)]
        rows[operation] = {"dmemfsd_us": ours.median(operation) / 1000,
                           "passthrough_hp_us": theirs.median(operation) / 1000,
                           "rate_ratio": statistics.median(ratios), "spread": spread(ratios)}
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    print(f"{'operation':10} {'dmemfsd':>10} {'passthrough_hp':>15} {'rate ratio':>11} {'spread':>12}")
    for operation, row in rows.items():
        print(f"{operation:10} {row['dmemfsd_us']:7.1f} us {row['passthrough_hp_us']:12.1f} us "
              f"{row['rate_ratio']:11.2f} {row['spread']:>12}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--daemon", type=Path, required=True)
    parser.add_argument("--client", type=Path, required=True)
    parser.add_argument("--passthrough-hp", type=Path, required=True)
    parser.add_argument("--files", type=int, default=10000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="dmemfs-bench-") as directory:
        work = Path(directory)
        ours, theirs = Peer("dmemfsd", work), Peer("passthrough_hp", work)
        sources = []
        try:
            sources.append(start_dmemfs(ours, work, options.daemon))
            sources.append(start_passthrough(theirs, options.passthrough_hp))
            for number in range(options.rounds):
                if sys.stderr.isatty():
                    print(f"round {number + 1} of {options.rounds}", end="\r", file=sys.stderr)
                # Who goes first alternates as well.
                for peer in (ours, theirs) if number % 2 == 0 else (theirs, ours):
                    peer.run(options.client, options.files)
        finally:
            ours.stop()
            theirs.stop()
            for source in sources:
                subprocess.run(["rm", "-rf", source], check=False)
        report(ours, theirs, options.json)


if __name__ == "__main__":
    main()
