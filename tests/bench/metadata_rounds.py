#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Creates, stats, renames and removes files on dmemfsd and on libfuse's passthrough_hp over tmpfs, wherever it runs: `metadata_rounds.py
BUILD FILES ROUNDS` prints [{SYSTEM: {OPERATION: nanoseconds of one}}, ...] as JSON.

Rounds alternate between the two, so that whatever else the machine does falls on both. Each file system serves one
client that creates (open, close), stats (not cached), renames and unlinks files in one directory.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OPERATIONS = ("create", "stat", "rename", "unlink")
DMEMFS, PASSTHROUGH = "dmemfs", "passthrough_hp on tmpfs"


class Server:
    """A file system under test: a process and its mount point."""

    def __init__(self, mountpoint):
        self.mountpoint = mountpoint
        self.mountpoint.mkdir()
        self._process = None

    def start(self, command):
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not os.path.ismount(self.mountpoint):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"does not start: {' '.join(map(str, command))}")
            time.sleep(0.01)

    def stop(self):
        if self._process is None:
            return
        subprocess.run(["umount", self.mountpoint], check=False, stderr=subprocess.DEVNULL)
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def run(self, client, count):
        output = subprocess.run([client, self.mountpoint, str(count)], check=True, capture_output=True, text=True).stdout
        times = dict(line.split() for line in output.splitlines())
        return {operation: int(times[operation]) / count for operation in OPERATIONS}


def start_dmemfs(server, work, memory, daemon):
    config = work / "dmemfsd.conf"
    config.write_text(f"[daemon]\nmountpoint={server.mountpoint}\nstate-dir={work}/state\n"
                      f"memory-dir={memory}/files\nsize=1G\n")
    server.start([daemon, "--config", config, "--foreground", "--log-level", "error"])


def take_turns(servers, client, files, rounds):
    found = []
    for number in range(rounds):
        # Who goes first alternates as well.
        order = list(servers.items())[:: 1 if number % 2 == 0 else -1]
        found.append({name: server.run(client, files) for name, server in order})
    return found


def measure(build, files, rounds):
    daemon = build / "fuse-daemon" / "dmemfsd"
    passthrough_hp = build / "fuse-daemon" / "subprojects" / "fuse3" / "example" / "passthrough_hp"
    client = build / "tests" / "bench" / "metadata_client"
    with (tempfile.TemporaryDirectory(prefix="dmemfs-bench-") as directory,
          tempfile.TemporaryDirectory(prefix="dmemfs-bench-", dir="/dev/shm") as memory):
        work, memory = Path(directory), Path(memory)
        servers = {DMEMFS: Server(work / "dmemfsd"), PASSTHROUGH: Server(work / "passthrough_hp")}
        source = memory / "source"
        source.mkdir()
        try:
            start_dmemfs(servers[DMEMFS], work, memory, daemon)
            servers[PASSTHROUGH].start([passthrough_hp, "--foreground", source, servers[PASSTHROUGH].mountpoint])
            return take_turns(servers, client, files, rounds)
        finally:
            for server in servers.values():
                server.stop()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    build, files, rounds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(measure(build, files, rounds)), flush=True)


if __name__ == "__main__":
    main()
