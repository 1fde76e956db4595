# SPDX-License-Identifier: GPL-2.0-or-later
"""
Memory is zeroed in advance, and the daemon knows later that it is zero. The memory backend has nothing to zero; a
variable has the daemon go through the same steps.
"""

import os
import random
import time

import pytest

from helpers.children import Child
from helpers.expect import same_bytes
from helpers.mount import wait_until
from helpers.record import opened_copy
from helpers.syscalls import Mapping, opened
from test_durable import ZEROING

MIB = 1 << 20
GIB = 1 << 30
PATTERN = b"\x5a"


def configure(daemon, **keys):
    """Changes keys of the configuration for the next daemon."""
    lines = [line for line in daemon.config.read_text().splitlines()
             if line.partition("=")[0].replace("-", "_") not in keys]
    lines[1:1] = [f"{key.replace('_', '-')}={value}" for key, value in keys.items()]
    daemon.config.write_text("\n".join(lines) + "\n")


def figures(fs):
    stats = fs.stats()
    assert stats["free_bytes"] == stats["clean_bytes"] + stats["dirty_bytes"] + stats["zeroing_bytes"]
    return stats


def wait_clean(fs):
    wait_until(lambda: figures(fs)["clean_bytes"] == figures(fs)["free_bytes"], "all free memory is clean", timeout=60)


def recorded(fs):
    """The bytes that are recorded as clean."""
    with opened_copy(fs.daemon.state_dir) as record:
        return record.execute("SELECT coalesce(sum(length), 0) FROM clean").fetchone()[0]


def wait_recorded(fs, size):
    wait_until(lambda: recorded(fs) == size, f"{size} bytes are on record as clean", timeout=60)


def touched(fs, name, size):
    """Makes a file whose memory is not zero."""
    path = fs.make_file(name, size=size)
    with opened(path, os.O_RDWR) as fd, Mapping(fd, size) as mapping:
        mapping.write(0, PATTERN * size)
    return path


def test_all_becomes_clean_and_again(pool):
    wait_clean(pool)
    for _ in range(3):
        path = touched(pool, "file", 8 * pool.unit)
        assert figures(pool)["clean_bytes"] == pool.capacity - 8 * pool.unit
        os.unlink(path)
        assert pool.wait_free(pool.capacity) == pool.capacity
        wait_clean(pool)
    stats = figures(pool)
    assert stats["zeroed_bytes"] == pool.capacity + 3 * 8 * pool.unit
    assert stats["zeroing_workers"] == 1


@pytest.mark.memory_only("where there is nothing to zero")
def test_memory_of_tmpfs_is_always_clean(fs):
    os.unlink(touched(fs, "file", 8 * fs.unit))
    fs.wait_free(fs.capacity)
    stats = figures(fs)
    assert (stats["clean_bytes"], stats["zeroed_bytes"]) == (fs.capacity, 0)


@pytest.mark.dmemfs(zero_in_advance="false")
def test_without_zeroing_in_advance_a_file_waits_for_it(pool):
    for _ in range(3):
        assert figures(pool)["dirty_bytes"] == pool.capacity
        path = pool.make_file("file", size=4 * pool.unit)
        same_bytes(path.read_bytes(), bytes(4 * pool.unit))
        path.write_bytes(PATTERN * 4 * pool.unit)
        os.unlink(path)
        pool.wait_free(pool.capacity)
    stats = figures(pool)
    assert stats["zeroing_workers"] == 0
    # A file that is written anew gives its memory back and gets other.
    assert stats["zeroed_bytes"] >= 3 * 4 * pool.unit


@pytest.mark.parametrize("end", ("stop", "kill"))
def test_clean_memory_is_clean_for_the_next_daemon(pool, end):
    path = touched(pool, "file", 3 * pool.unit)
    wait_clean(pool)
    wait_recorded(pool, pool.capacity - 3 * pool.unit)
    getattr(pool.daemon, end)()
    configure(pool.daemon, zero_in_advance="false")
    pool.daemon.next() if end == "kill" else pool.daemon.start()
    stats = figures(pool)
    assert (stats["clean_bytes"], stats["zeroed_bytes"]) == (pool.capacity - 3 * pool.unit, 0)
    same_bytes(path.read_bytes(), PATTERN * 3 * pool.unit)
    # What was the file's is dirty, and is not on record after another end.
    os.unlink(path)
    pool.wait_free(pool.capacity)
    assert figures(pool)["dirty_bytes"] == 3 * pool.unit
    pool.daemon.kill()
    pool.daemon.next()
    assert figures(pool)["dirty_bytes"] == 3 * pool.unit


def test_memory_of_a_file_leaves_the_record_as_it_becomes_its(pool):
    wait_clean(pool)
    wait_recorded(pool, pool.capacity)
    pool.make_file("file", size=5 * pool.unit)
    wait_recorded(pool, pool.capacity - 5 * pool.unit)


@pytest.mark.page_sizes("4K")
@pytest.mark.memory_only("takes the memory away as a power failure does")
def test_nothing_is_clean_when_the_contents_are_lost(pool, backend):
    pool.make_file("file", b"x")
    wait_recorded(pool, pool.capacity - pool.unit)
    pool.daemon.stop()
    for entry in backend.object_path(0).parent.iterdir():
        entry.unlink()
    pool.daemon.expected.append("contents are lost")
    configure(pool.daemon, zero_in_advance="false")
    pool.daemon.start()
    assert figures(pool)["clean_bytes"] == recorded(pool) == 0


@pytest.mark.memory_only("regions of the configuration are imaginary there, so each can be on any node")
def test_each_node_has_a_worker(pool):
    half = pool.capacity // 2
    pool.daemon.restart_with("".join(f"[region {number}]\nstart={start}\nsize={half}\nnode={number}\n"
                                     for number, start in enumerate((8 * GIB - half, 8 * GIB))))
    wait_clean(pool)
    assert figures(pool)["zeroing_workers"] == 2
    wait_recorded(pool, pool.capacity)


@pytest.mark.page_sizes("4K")
@pytest.mark.parametrize("point", ZEROING)
def test_crash_while_zeroing(pool, point):
    """Memory whose zeroing was not recorded is dirty for the next daemon; no file has lost its content."""
    kept = touched(pool, "kept", 3 * pool.unit)
    gone = touched(pool, "gone", 7 * pool.unit)
    wait_clean(pool)
    wait_recorded(pool, pool.capacity - 10 * pool.unit)
    pool.daemon.stop()
    pool.daemon.start(DMEMFS_CRASH_AT=point)
    with Child(os.unlink, gone) as child:
        wait_until(lambda: not pool.daemon.running, f"the daemon has died at {point}")
        pool.daemon.ended_by_test = True
        child.wait()
    configure(pool.daemon, zero_in_advance="false")
    pool.daemon.next()
    clean = figures(pool)["clean_bytes"]
    assert clean == pool.capacity - (3 if point == "clean-recorded" else 10) * pool.unit
    wait_recorded(pool, clean)
    same_bytes(kept.read_bytes(), PATTERN * 3 * pool.unit)
    same_bytes(pool.make_file("new", size=pool.capacity - 3 * pool.unit).read_bytes(), bytes(pool.capacity - 3 * pool.unit))


@pytest.mark.page_sizes("4K")
@pytest.mark.dmemfs(zero_rate="1M")
def test_pace_and_a_prompt_end(pool):
    """A daemon with a low zero-rate serves as fast as any other, and stops without the minute that its memory would take."""
    before = time.monotonic()
    same_bytes(pool.make_file("file", size=pool.capacity).read_bytes(), bytes(pool.capacity))
    os.unlink(pool / "file")
    pool.wait_free(pool.capacity)
    assert figures(pool)["clean_bytes"] < pool.capacity
    time.sleep(1)
    figure = figures(pool)
    assert 0 < figure["clean_bytes"] <= MIB * (time.monotonic() - before + 1)
    assert figure["zeroing_rate"] <= 3 * MIB or figure["zeroed_bytes"] > pool.capacity
    before = time.monotonic()
    pool.daemon.stop()
    assert time.monotonic() - before < 30


@pytest.mark.dmemfs(zero_rate="64M")
def test_files_come_and_go_while_memory_is_zeroed(pool):
    """Sizing takes memory that is clean, dirty or being zeroed, and never fails because of that."""
    choose = random.Random(5)
    for number in range(60):
        size = choose.randrange(1, pool.capacity // pool.unit) * pool.unit
        path = pool.make_file(f"file{number}", size=size)
        with opened(path, os.O_RDWR) as fd, Mapping(fd, size) as mapping:
            for offset in range(0, size, max(pool.unit, 65536)):
                assert mapping.read(offset, 64) == bytes(64)
                mapping.write(offset, PATTERN * 64)
        os.unlink(path)
        figures(pool)
    pool.wait_free(pool.capacity)
