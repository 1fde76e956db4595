# SPDX-License-Identifier: GPL-2.0-or-later
"""
Memory that is recorded as bad: no file gets it, and free and used memory add up. ../vm/test_poison_mount.py shows how
it is recorded.
"""

import os
import sqlite3
from contextlib import closing

import pytest

from helpers.control import Control
from helpers.daemon import control_program
from helpers.mount import wait_until
from helpers.record import restore_sums

PAGE = 4096

pytestmark = [pytest.mark.page_sizes("4K", "2M"), pytest.mark.dmemfs(zero_in_advance="false"),
              pytest.mark.usefixtures("forgetful")]


def record(fs, *runs):
    """Stops the daemon, records @runs (start, length) as bad, and starts the daemon again."""
    fs.daemon.stop()
    with closing(sqlite3.connect(fs.daemon.state_dir / "metadata.db")) as database:
        database.executemany("INSERT INTO poison VALUES (?, ?, 0)", runs)
        restore_sums(database)
        database.commit()
    fs.daemon.start()


def poisoned(fs):
    stats = fs.stats()
    return stats["poisoned_bytes"], stats["poisoned_used_bytes"]


def free(fs):
    return fs.stats()["free_bytes"]


def start_of_region(fs):
    return int(os.getxattr(fs.root, "dmemfs.regions").split()[0])


def fill(fs):
    """Makes a file of all free memory, in the smallest units, in a directory of its own. Returns its runs."""
    os.mkdir(fs / "all")
    os.setxattr(fs / "all", "dmemfs.page_size", b"4K")
    path = fs.make_file("all/file", size=free(fs))
    return fs.extents(path)


def empty(fs):
    os.unlink(fs / "all" / "file")
    os.rmdir(fs / "all")
    wait_until(lambda: free(fs) == fs.capacity - poisoned(fs)[0], "all memory but the bad pages is free")


def overlaps(runs, start, length):
    return any(run.start < start + length and start < run.start + run.length for run in runs)


def test_free_memory_that_is_bad_is_given_to_nobody(fs):
    start = start_of_region(fs)
    bad = [(start + 3 * PAGE, PAGE), (start + fs.unit, 2 * PAGE), (start - 8 * PAGE, PAGE), (start + fs.capacity - PAGE, PAGE)]
    record(fs, *[run for run in bad if run[0] >= 0])
    assert poisoned(fs) == (4 * PAGE, 0) and free(fs) == fs.capacity - 4 * PAGE
    runs = fill(fs)
    assert sum(run.length for run in runs) == fs.capacity - 4 * PAGE
    for run in bad:
        assert not overlaps(runs, *run)
    empty(fs)


def test_file_keeps_it_until_it_goes(fs):
    path = fs.make_file("file", b"x" * 3 * fs.unit)
    run = fs.extents(path)[0]
    bad = run.start + fs.unit
    record(fs, (bad, PAGE))
    assert poisoned(fs) == (0, PAGE) and fs.allocated(path) == 3 * fs.unit
    assert os.getxattr(path, "dmemfs.poison").decode() == f"{run.offset + fs.unit} {bad} {PAGE}"
    ctl = Control(control_program(fs.daemon.program), fs.daemon.work)
    assert ctl.json("ls", fs.root)["files"][0]["poisoned_bytes"] == PAGE and ", 4 KiB bad " in ctl.text("ls", fs.root)
    os.truncate(path, fs.unit)
    assert poisoned(fs) == (PAGE, 0) and os.getxattr(path, "dmemfs.poison") == b""
    assert free(fs) == fs.capacity - fs.unit - PAGE
    assert not overlaps(fill(fs), bad, PAGE)
    os.unlink(path)
    empty(fs)
    fs.daemon.kill()
    fs.daemon.next()
    assert poisoned(fs) == (PAGE, 0)


def test_large_pages_come_from_elsewhere(fs):
    """No large file gets the large page around a bad page. The rest of that page stays free for small files."""
    start, unit = start_of_region(fs), 2 << 20
    record(fs, (start + 5 * PAGE, PAGE))
    os.mkdir(fs / "large")
    os.setxattr(fs / "large", "dmemfs.page_size", b"2M")
    room = fs.capacity // unit * unit - unit
    path = fs.make_file("large/file", size=room)
    assert not overlaps(fs.extents(path), start + 5 * PAGE, PAGE)
    assert free(fs) == fs.capacity - room - PAGE > 0
    os.unlink(path)
    os.rmdir(fs / "large")


def test_status_and_doctor(fs):
    ctl = Control(control_program(fs.daemon.program), fs.daemon.work)
    assert "poisoned" not in ctl.text("status", str(fs.root))
    record(fs, (start_of_region(fs), 2 * PAGE))
    assert "\n  poisoned          8 KiB " in ctl.text("status", str(fs.root))
    said = ctl.run("doctor", "--config", str(fs.daemon.config)).stdout
    assert "8 KiB of memory are bad, 0 B of them are still in files" in said
