#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Metadata rate of dmemfsd against libfuse's passthrough_hp on tmpfs, side by side in one run, as ratios.

Rounds alternate between the two, so that whatever else the machine does falls on both. Each file system serves one
client that creates (open, close), stats (not cached), renames and unlinks files in one directory.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from names import METADATA
from results import add_options, finish, guarded, row

OPERATIONS = ("create", "stat", "rename", "unlink")
LIFE = "a file's life"  # all four


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
        a_round = {operation: int(times[operation]) / count for operation in OPERATIONS}
        self.rounds.append(a_round | {LIFE: sum(a_round.values())})


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


def rows_of(ours, theirs):
    rows = []
    for operation in (*OPERATIONS, LIFE):
        times = {peer: [a_round[operation] for a_round in peer.rounds] for peer in (ours, theirs)}
        # Both sides of a round see the same noise.
        ratios = [b / a for a, b in zip(times[ours], times[theirs])]
        rows.append(row(METADATA.format(operation), "dmemfs", ratios, "times", "host"))
        rows += [row(f"time of {operation}", name, [nanoseconds / 1000 for nanoseconds in times[peer]], "us", "host")
                 for name, peer in (("dmemfs", ours), ("passthrough_hp on tmpfs", theirs))]
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_options(parser)
    options = parser.parse_args()
    files, rounds = (2000, 5) if options.quick else (10000, 7)
    daemon = options.build / "fuse-daemon" / "dmemfsd"
    passthrough_hp = options.build / "fuse-daemon" / "subprojects" / "fuse3" / "example" / "passthrough_hp"
    client = options.build / "tests" / "bench" / "metadata_client"

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="dmemfs-bench-") as directory:
        work = Path(directory)
        ours, theirs = Peer("dmemfsd", work), Peer("passthrough_hp", work)
        sources = []
        try:
            sources.append(start_dmemfs(ours, work, daemon))
            sources.append(start_passthrough(theirs, passthrough_hp))
            for number in range(rounds):
                # Who goes first alternates as well.
                for peer in (ours, theirs) if number % 2 == 0 else (theirs, ours):
                    peer.run(client, files)
        finally:
            ours.stop()
            theirs.stop()
            for source in sources:
                subprocess.run(["rm", "-rf", source], check=False)
        finish(options, "metadata", rows_of(ours, theirs))


if __name__ == "__main__":
    guarded(main)
