# SPDX-License-Identifier: GPL-2.0-or-later
"""Many clients at once: no change is lost or applied twice, and free and used memory add up after each test."""

import errno
import os
import random
import time

import pytest

from helpers.children import Child
from helpers.effort import rounds
from helpers.syscalls import (FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, RENAME_EXCHANGE, Mapping, fallocate, opened,
                              renameat2)

WORKERS = 64


def run_all(children):
    results = []
    try:
        for child in children:
            results.append(child.wait(timeout=100))
    finally:
        for child in children:
            child.kill()
    return results


def expected_errors(*names):
    return {getattr(errno, name) for name in names}


@pytest.mark.page_sizes("4K")
@pytest.mark.timeout(120)
def test_64_workers_with_names_of_their_own_lose_nothing(fs):
    def work(worker):
        random.seed(worker)
        mine = {}
        for number in range(rounds(40)):
            name = f"w{worker}-{number}"
            size = random.randrange(3 * fs.unit)
            fs.make_file(name, name.encode(), size=max(size, 20))
            mine[name] = name.encode()
            if number % 3 == 0:
                os.rename(fs / name, fs / f"{name}-moved")
                mine[f"{name}-moved"] = mine.pop(name)
            if number % 4 == 0:
                victim = random.choice(sorted(mine))
                os.unlink(fs / victim)
                del mine[victim]
        return mine

    results = run_all([Child(work, worker) for worker in range(WORKERS)])
    expected = {name: content for mine in results for name, content in mine.items()}
    assert sorted(os.listdir(fs.root)) == sorted(expected)
    for name, content in expected.items():
        with opened(fs / name, os.O_RDONLY) as fd:
            assert os.read(fd, len(content)) == content


@pytest.mark.page_sizes("4K")
@pytest.mark.timeout(120)
def test_64_workers_that_fight_for_the_same_names(fs):
    """Each call succeeds or fails with an errno that the race explains. Afterwards each file is counted once."""
    for number in range(4):
        (fs / f"dir{number}").mkdir()
    turns = rounds(150)
    harmless = expected_errors("ENOENT", "EPERM", "EEXIST", "ENOTEMPTY", "EINVAL", "ENOTDIR", "EISDIR", "ENOSPC",
                               "ESTALE")

    def work(worker):
        random.seed(worker)

        def name():
            return fs / f"dir{random.randrange(4)}" / f"n{random.randrange(6)}"

        actions = (
            lambda: os.close(os.open(name(), os.O_CREAT | os.O_EXCL | os.O_RDWR)),
            lambda: os.truncate(name(), random.randrange(4 * fs.unit)),
            lambda: os.rename(name(), name()),
            lambda: renameat2(name(), name(), RENAME_EXCHANGE),
            lambda: os.link(name(), name()),
            lambda: os.unlink(name()),
            lambda: os.mkdir(name()),
            lambda: os.rmdir(name()),
            lambda: os.symlink("x", name()),
            lambda: os.listdir(fs / f"dir{random.randrange(4)}"),
            lambda: os.stat(name()),
            lambda: os.setxattr(name(), "user.x", os.urandom(100)),
        )
        done = 0
        for _ in range(turns):
            try:
                random.choice(actions)()
                done += 1
            except OSError as error:
                if error.errno not in harmless:
                    raise
        return done

    results = run_all([Child(work, worker) for worker in range(WORKERS)])
    assert sum(results) > WORKERS * turns // 15


@pytest.mark.parametrize("winners", (1, 5))
@pytest.mark.page_sizes("4K")
def test_exclusive_creation_has_one_winner(fs, winners):
    def work():
        won = 0
        for number in range(winners):
            try:
                os.close(os.open(fs / f"lock{number}", os.O_CREAT | os.O_EXCL | os.O_RDWR))
                won += 1
            except FileExistsError:
                pass
        return won

    assert sum(run_all([Child(work) for _ in range(16)])) == winners


def test_memory_is_given_out_once_in_a_race_for_the_rest(fs):
    """
    The clients want more memory than there is. All that succeed fit into it; a client that fails has taken nothing.
    """
    units = fs.capacity // fs.unit
    share = max(units // 10, 1)

    def work(worker):
        path = fs.make_file(f"file{worker}")
        try:
            os.truncate(path, share * fs.unit)
        except OSError as error:
            assert error.errno == errno.ENOSPC
            return 0
        return share

    given = sum(run_all([Child(work, worker) for worker in range(24)]))
    assert given == units // share * share
    assert fs.free() == fs.capacity - given * fs.unit


def test_create_fill_and_remove_cycles_of_many_leave_everything_free(fs):
    share = fs.capacity // 8 // fs.unit * fs.unit

    def work(worker):
        for turn in range(12):
            path = fs.make_file(f"file{worker}", b"head", size=share)
            with opened(path) as fd, Mapping(fd, share) as mapping:
                assert mapping.read(0, 4) == b"head"
                assert mapping.read(share - 4, 4) == bytes(4)
                mapping.write(share - 4, b"tail")
                if turn % 2:
                    os.unlink(path)
            if not turn % 2:
                os.unlink(path)

    run_all([Child(work, worker) for worker in range(6)])
    assert fs.wait_free(fs.capacity) == fs.capacity


def test_many_wait_at_once_for_what_a_removal_gives_back(fs):
    workers = 5
    share = fs.capacity // workers // fs.unit * fs.unit
    path = fs.make_file("big", b"x", size=fs.capacity)

    def grow(pipe, worker):
        pipe.recv()
        os.truncate(fs.make_file(f"file{worker}"), share)

    children = [Child(grow, worker, with_pipe=True) for worker in range(workers)]
    with opened(path):
        os.unlink(path)
        for child in children:
            child.pipe.send("go")
        time.sleep(0.3)  # They wait by now, or find the memory there when they come.
    run_all(children)


def test_truncate_write_punch_and_mapping_at_once(fs):
    """The daemon survives, and each byte that a client reads was written by a client or is zero."""
    path = fs.make_file("file", size=8 * fs.unit)
    seconds = 3

    def until_the_end(action):
        def loop():
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                action()
        return loop

    def resize():
        os.truncate(path, random.randrange(fs.unit, 8 * fs.unit))

    def write():
        with opened(path) as fd:
            os.pwrite(fd, b"w" * random.randrange(1, 3 * 4096), random.randrange(7 * fs.unit))

    def punch():
        with opened(path) as fd:
            fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, random.randrange(8 * fs.unit), 5000)

    def touch_the_first_unit():
        with opened(path) as fd, Mapping(fd, fs.unit) as mapping:
            for offset in range(0, fs.unit, 4096):
                mapping.write(offset, b"w")

    def read():
        with opened(path, random.choice((os.O_RDONLY, os.O_RDWR))) as fd:
            assert set(os.pread(fd, 65536, random.randrange(8 * fs.unit))) <= {0, ord("w")}

    run_all([Child(until_the_end(action)) for action in (resize, write, punch, touch_the_first_unit, read, read)])
    assert set(path.read_bytes()) <= {0, ord("w")}


def test_open_files_of_many_processes_share_one_object(fs):
    """Opening and closing race with the registration for passthrough, of which there is one per file."""
    path = fs.make_file("file", bytes(WORKERS * 64))

    def work(worker):
        record = bytes([worker + 1]) * 64
        for _ in range(rounds(40)):
            with opened(path, random.choice((os.O_RDWR, os.O_WRONLY))) as fd:
                os.pwrite(fd, record, worker * 64)
            with opened(path, os.O_RDONLY) as fd:
                assert os.pread(fd, 64, worker * 64) == record
                with Mapping(fd, 4096, prot=1) as mapping:
                    assert mapping.read(worker * 64, 64) == record

    run_all([Child(work, worker) for worker in range(24)])
