#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What becomes of start, memory and operations when there is more of everything: guests of an imaginary host of 12 TiB, files,
extents, clients at once.
"""

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from results import add_options, finish, guarded, progress, row

sys.path.insert(0, str(Path(__file__).parents[1]))

from helpers.backends import GIB, MIB
from helpers.children import Child
from helpers.daemon import Daemon
from helpers.processes import computed, lazy_unmount, resident
from helpers.syscalls import keep_mounts_private, opened

NODES = 4
NODE_SIZE = 3 << 40
TURN = 2 * MIB  # of memory that alternates between nodes
SAMPLES = 200
READY_TIMEOUT = 120
CLIENTS_TIME = 5  # seconds


def regions():
    return "".join(f"\n[region node{node}]\nstart={(4 * node + 1) << 40}\nsize={NODE_SIZE}\nnode={node}\n"
                   for node in range(NODES))


@contextmanager
def host(dmemfsd, page_size):
    """A daemon that owns 12 TiB on four nodes, none of which exists: no byte is touched."""
    with tempfile.TemporaryDirectory() as work, tempfile.TemporaryDirectory(dir="/dev/shm") as memory:
        keys = {"page-size": page_size, "memory-dir": f"{memory}/objects", "populate": "false"}
        daemon = Daemon(dmemfsd, work, keys, regions(), ready_timeout=READY_TIMEOUT)
        daemon.manager.keeps = True
        try:
            daemon.start()
            yield daemon
            daemon.stop()
        finally:
            daemon.kill()
            lazy_unmount(daemon.mountpoint)


def restart(daemon):
    """(start to READY, computed meanwhile, resident): seconds, seconds, bytes. Of the next daemon after a death."""
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.process.wait()
    daemon.ended_by_test = True
    began = time.monotonic()
    daemon.take_over()
    return time.monotonic() - began, computed(daemon.pid), resident(daemon.pid)


def microseconds(function, count=SAMPLES):
    """The median of @count calls function(number)."""
    times = []
    for number in range(count):
        began = time.perf_counter_ns()
        function(number)
        times.append(time.perf_counter_ns() - began)
    return statistics.median(times) / 1000


class Table:
    """Rows of one kind of many. @columns: what is measured and in which unit."""

    def __init__(self, title, of_what, columns):
        self._title, self._of_what, self._columns = title, of_what, columns
        self.rows = []

    def add(self, count, figures):
        progress(f"{self._title}: {count:,}")
        self.rows += [row(f"{self._title}: {name}", f"dmemfs, {count:,} {self._of_what}", value, unit, "host")
                      for (name, unit), value in zip(self._columns, figures)]


START = [("start", "ms"), ("computed at start", "ms"), ("memory of the daemon", "MiB")]


def start_figures(daemon):
    ready, cpu, memory = restart(daemon)
    return [1000 * ready, 1000 * cpu, memory / MIB]


def guests(dmemfsd, counts):
    """Files of 6 GiB in pages of 1 GiB, each opened and mapped as a guest's memory is: by what is not there."""
    table = Table("guests of 6 GiB on 12 TiB", "guests", [*START, ("make one", "us"), ("remove one", "us")])
    for count in counts:
        with host(dmemfsd, "1G") as daemon:
            def start_guest(number):
                with opened(daemon.mountpoint / f"guest{number}", os.O_CREAT | os.O_EXCL | os.O_RDWR) as fd:
                    os.ftruncate(fd, 6 * GIB)

            for number in range(count):
                start_guest(number)
            figures = start_figures(daemon)
            begin, end = [], []
            for number in range(40):
                begin.append(microseconds(lambda _, name=count + number: start_guest(name), 1))
                end.append(microseconds(lambda _, name=count + number: os.unlink(daemon.mountpoint / f"guest{name}"), 1))
            table.add(count, [*figures, statistics.median(begin), statistics.median(end)])
    return table.rows


def files(dmemfsd, counts):
    """A thousand to a directory, a page of 4 KiB each."""
    table = Table("many files", "files", [*START, ("create", "us"), ("size", "us"), ("stat", "us"), ("rename", "us"),
                                          ("unlink", "us")])
    with host(dmemfsd, "4K") as daemon:
        made = 0
        for count in counts:
            for number in range(made, count):
                directory = daemon.mountpoint / f"{number // 1000}"
                directory.mkdir(exist_ok=True)
                with opened(directory / f"{number}", os.O_CREAT | os.O_RDWR) as fd:
                    os.ftruncate(fd, 4096)
            made = count
            figures = start_figures(daemon)
            table.add(count, [*figures, *operations(daemon.mountpoint / "0")])
    return table.rows


def operations(directory):
    """Microseconds of each that files() shows, on further files of the directory."""
    paths = [directory / f"more{number}" for number in range(SAMPLES)]
    return [microseconds(lambda number: os.close(os.open(paths[number], os.O_CREAT | os.O_EXCL | os.O_RDWR))),
            microseconds(lambda number: os.truncate(paths[number], 4096)),
            microseconds(lambda number: os.stat(paths[number])),
            microseconds(lambda number: os.rename(paths[number], f"{paths[number]}x")),
            microseconds(lambda number: os.unlink(f"{paths[number]}x"))]


def extents(dmemfsd, counts):
    """One file whose memory alternates between two nodes every 2 MiB: no two extents make one."""
    table = Table("many extents in a file", "extents", [("make it", "ms"), *START, ("open", "us"), ("grow", "us"),
                                                        ("shrink", "us"), ("remove it", "ms")])
    for count in counts:
        with host(dmemfsd, "2M") as daemon:
            path = daemon.mountpoint / "file"
            path.touch()
            os.setxattr(path, "dmemfs.node", b"0,1")
            made = microseconds(lambda _: os.truncate(path, count * TURN), 1)
            figures = start_figures(daemon)
            steps = 20
            with opened(path) as fd:
                grown = microseconds(lambda number: os.ftruncate(fd, (count + number + 1) * TURN), steps)
                shrunk = microseconds(lambda number: os.ftruncate(fd, (count + steps - number - 1) * TURN), steps)
            found = microseconds(lambda _: os.close(os.open(path, os.O_RDWR)), 50)
            removed = microseconds(lambda _: os.unlink(path), 1)
            table.add(count, [made / 1000, *figures, found, grown, shrunk, removed / 1000])
    return table.rows


def client(pipe, directory, seconds):
    """Makes, sizes, renames and removes files; how many calls it made, and the longest of them in seconds."""
    directory.mkdir()
    pipe.send("ready")
    pipe.recv()
    calls, longest, until = 0, 0, time.monotonic() + seconds
    while time.monotonic() < until:
        for call in (lambda: os.close(os.open(directory / "a", os.O_CREAT | os.O_RDWR)),
                     lambda: os.truncate(directory / "a", 4096),
                     lambda: os.rename(directory / "a", directory / "b"), lambda: os.unlink(directory / "b")):
            began = time.monotonic()
            call()
            longest = max(longest, time.monotonic() - began)
            calls += 1
    return calls, longest


def clients(dmemfsd, counts, seconds=CLIENTS_TIME):
    table = Table("clients at once", "clients", [("create, size, rename, unlink", "calls/s"), ("longest of them", "ms")])
    with host(dmemfsd, "4K") as daemon:
        for count in counts:
            children = [Child(client, daemon.mountpoint / f"{count}.{number}", seconds, with_pipe=True)
                        for number in range(count)]
            for child in children:
                child.receive()
            for child in children:
                child.pipe.send("go")
            results = [child.wait() for child in children]
            table.add(count, [sum(calls for calls, _ in results) / seconds, 1000 * max(longest for _, longest in results)])
    return table.rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    keep_mounts_private()
    dmemfsd = options.build.resolve() / "fuse-daemon" / "dmemfsd"
    rows = []
    for measure, counts, few in ((guests, (10, 200, 2000), 2), (files, (10, 1000, 10_000, 100_000), 2),
                                 (extents, (1, 1000, 100_000, 1_000_000), 2), (clients, (1, 8, 64), 2)):
        arguments = [1] if measure is clients and options.quick else []
        rows += measure(dmemfsd, counts[:few] if options.quick else counts, *arguments)
    finish(options, "scale", rows)


if __name__ == "__main__":
    guarded(main)
