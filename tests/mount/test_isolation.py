# SPDX-License-Identifier: GPL-2.0-or-later
"""
A process reads all memory that it can get. It never finds a byte of another tenant, whatever tenants do with their
files, and however often the daemon dies.
"""

import errno
import os
import random
import signal
import time
from contextlib import ExitStack

import pytest

from helpers.children import Child
from helpers.effort import PROFILE, rounds
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, Mapping, fallocate, opened

SECRET = b"\xc3"
# Seconds, at most: several requests fit in between.
KILL_PERIOD = 4 if PROFILE == "vm" else 0.4


def tenant(directory, unit, seed):
    """Fills files with its secret and frees their memory, in all possible ways, without end."""
    choose = random.Random(seed)
    number = 0
    while True:
        number += 1
        path = directory / str(number % 4)
        size = choose.randrange(1, 5) * unit
        with opened(path, os.O_RDWR | os.O_CREAT) as fd:
            try:
                os.ftruncate(fd, size)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                continue
            with Mapping(fd, size) as mapping:
                mapping.write(0, SECRET * size)
                way = choose.randrange(4)
                if way == 0:
                    os.unlink(path)
                    mapping.write(0, SECRET * size)  # it is still the tenant's
                elif way == 1:
                    fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size)
            if way == 2:
                os.ftruncate(fd, 1)
        if way == 3:
            os.unlink(path)


def find_secrets(path, size):
    """Offsets of bytes that are not zero, as (path, offset)."""
    with opened(path, os.O_RDONLY) as fd, Mapping(fd, size, prot=1) as mapping:
        for offset in range(0, size, 1 << 20):
            part = mapping.read(offset, min(1 << 20, size - offset))
            if part.count(0) != len(part):
                return [(str(path), offset + len(part) - len(part.lstrip(b"\0")))]
    return []


def scanner(pipe, directory, unit, cycles, seed):
    """Takes all memory that it can get and reads it, @cycles times. Sends the bytes that it found."""
    choose = random.Random(seed)
    found, scanned = [], 0
    for cycle in range(cycles):
        paths = {}
        for number in range(64):
            path = directory / str(number)
            size = choose.choice((1, 1, 2, 5, 17)) * unit
            with opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as fd:
                try:
                    os.ftruncate(fd, size)
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    os.unlink(path)
                    break
            paths[path] = size
        for path, size in paths.items():
            found += find_secrets(path, size)
            scanned += size
            if choose.random() < 0.5:  # the others go at the start of the next cycle
                os.unlink(path)
        for path in directory.iterdir():
            path.unlink()
        pipe.send((cycle + 1, scanned, found[:10]))


@pytest.mark.timeout(3600)
@pytest.mark.dmemfs(size=64 << 20)
@pytest.mark.parametrize("advance", ("true", "false"))
@pytest.mark.page_sizes("4K", "2M")
def test_no_byte_of_another_tenant(fs, monkeypatch, record_property, advance):
    """The test report has the figures: cycles, bytes, kills of the daemon, hits."""
    cycles = rounds(25)
    choose = random.Random(11)
    fs.daemon.stop()
    monkeypatch.setenv("DMEMFS_PRETEND_DIRTY", "1")  # memory of tmpfs goes the same way
    lines = fs.daemon.config.read_text().splitlines()
    fs.daemon.config.write_text("\n".join([lines[0], f"zero-in-advance={advance}", *lines[1:]]) + "\n")
    fs.daemon.manager.keeps = True
    fs.daemon.start()
    for name in ("one", "two", "scanner"):
        (fs / name).mkdir()
    deaths, progress = 0, (0, 0, [])
    unit = max(fs.unit, 64 * 1024)
    with ExitStack() as stack:
        for name in ("one", "two"):
            stack.enter_context(Child(tenant, fs / name, unit, name))
        looking = stack.enter_context(Child(scanner, fs / "scanner", unit, cycles, 3, with_pipe=True))
        while progress[0] < cycles and not progress[2]:
            time.sleep(choose.uniform(0, KILL_PERIOD))
            os.kill(fs.daemon.pid, signal.SIGKILL)
            fs.daemon.process.wait()
            fs.daemon.ended_by_test = True
            fs.daemon.take_over()
            deaths += 1
            while progress[0] < cycles and looking.pipe.poll(0):
                progress = looking.receive()
        looking.wait()
    done, scanned, found = progress
    record_property("isolation", f"{done} cycles, {scanned >> 20} MiB scanned, {deaths} kills, {len(found)} hits")
    assert not found
    assert done == cycles
    # Whoever ended leaves files; what they held is in the books still.
    for name in ("one", "two", "scanner"):
        for path in (fs / name).iterdir():
            path.unlink()
