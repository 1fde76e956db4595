# SPDX-License-Identifier: GPL-2.0-or-later
"""The redo log: what was answered is there after a kill at any moment, and a damaged log is refused and not believed."""

import os
import random
import time

import pytest

from helpers.children import Child
from helpers.daemon import DaemonError
from helpers.mount import wait_until
from helpers.record import RedoLog

pytestmark = [pytest.mark.page_sizes("4K"), pytest.mark.dmemfs(zero_in_advance="false")]

HALF = 256 << 10


def killed_with(fs, count):
    """@count changes are in the log and not in the database."""
    wait_until(lambda: fs.daemon.running, "the daemon runs")
    time.sleep(0.7)  # what came before is applied
    for number in range(count):
        (fs / f"new{number}").mkdir()
    fs.daemon.kill()
    log = RedoLog(fs.daemon.state_dir)
    assert len(log.records()) >= count
    return log


def refused(fs, *because):
    """And nothing of it is gone."""
    log = fs.daemon.state_dir / "metadata.db-redo"
    before = log.read_bytes()
    fs.daemon.expected.append("metadata.db-redo")
    with pytest.raises(DaemonError) as failure:
        fs.daemon.next()
    for text in (*because, str(log)):
        assert text in str(failure.value)
    assert log.read_bytes() == before


def names(fs):
    return {name for name in os.listdir(fs.root) if name.startswith("new")}


def test_stop_leaves_no_log(fs):
    (fs / "new").mkdir()
    assert (fs.daemon.state_dir / "metadata.db-redo").exists()
    fs.daemon.stop()
    assert not (fs.daemon.state_dir / "metadata.db-redo").exists()
    fs.daemon.start()
    assert names(fs) == {"new"}


def churn(pipe, fs):
    """Makes, renames and removes files, telling what was answered: after the end of the daemon all of that is true."""
    chance = random.Random(os.getpid())
    there = []
    try:
        for number in range(100000):
            name = f"new{number}"
            fd = os.open(fs / name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
            pipe.send(("made", name))
            os.close(fd)
            there.append(name)
            if len(there) > 20:
                old = there.pop(chance.randrange(len(there)))
                pipe.send(("may", old))
                if number % 2:
                    os.rename(fs / old, fs / f"{old}r")
                    pipe.send(("renamed", old))
                else:
                    os.unlink(fs / old)
                    pipe.send(("removed", old))
    except OSError:
        pipe.send(("end", None))


@pytest.mark.parametrize("seconds", [0.05, 0.3, 0.8, 1.7, 3])
def test_kill_while_many_changes_are_made(fs, seconds):
    """Some of them in the database, some being applied, some in either half of the log."""
    expected, unsure = set(), None
    with Child(churn, fs, with_pipe=True) as child:
        deadline = time.monotonic() + seconds
        killed = False
        while True:
            if not killed and time.monotonic() > deadline:
                fs.daemon.kill()
                killed = True
            if not child.pipe.poll(0.01):
                continue
            what, name = child.receive()
            if what == "end":
                break
            if what == "made":
                expected.add(name)
            elif what == "may":
                unsure = name
            else:
                expected.discard(name)
                if what == "renamed":
                    expected.add(f"{name}r")
                unsure = None
        child.wait()
    fs.daemon.next()
    seen = names(fs)
    if unsure:  # asked for, and not answered
        expected -= {unsure}
        seen -= {unsure, f"{unsure}r"}
    assert len(seen - expected) <= 1 and expected <= seen
    fs.daemon.stop()


def test_more_changes_than_the_log_has_room_for(fs):
    for number in range(3000):
        (fs / f"new{number}").mkdir()
        os.setxattr(fs / f"new{number}", "user.text", b"x" * 200)
        if number % 100 == 0:
            os.setxattr(fs / f"new{number}", "user.large", bytes(60000))
    fs.daemon.kill()
    assert RedoLog(fs.daemon.state_dir).path.stat().st_size == 4096 + 2 * HALF
    fs.daemon.next()
    assert len(names(fs)) == 3000
    assert os.getxattr(fs / "new2999", "user.text") == b"x" * 200
    assert all(os.getxattr(fs / f"new{number}", "user.large") == bytes(60000) for number in range(0, 3000, 100))


@pytest.mark.parametrize("where", [0, 4, 12, 20, 24, 70])  # magic, size, number, sum, rows
def test_change_that_is_damaged(fs, where):
    log = killed_with(fs, 5)
    intact = bytes(log.contents)
    log.flip(log.records()[-3][1] + where)
    log.write()
    refused(fs, "damaged: change", "dmemfsctl fsck")
    log.path.write_bytes(intact)
    fs.daemon.next()
    assert names(fs) == {f"new{number}" for number in range(5)}


def test_last_change_that_is_not_whole(fs):
    """As a process leaves it that died while it wrote: nobody got an answer."""
    log = killed_with(fs, 5)
    _, at, size = log.records()[-1]
    log.contents[at + size - 16:at + size] = bytes(16)
    log.write()
    fs.daemon.next()
    assert {f"new{number}" for number in range(4)} <= names(fs)


@pytest.mark.parametrize(("change", "because"), [
    (lambda log: log.flip(0), "not a redo log"),
    (lambda log: log.contents.__delitem__(slice(100000, None)), "not a redo log"),
    (lambda log: log.change_header(half_size=4096), "not a redo log"),
    (lambda log: log.change_header(mark=bytes(16)), "another database"),
    (lambda log: log.change_header(format=2), "newer dmemfsd"),
])
def test_log_that_is_none(fs, change, because):
    log = killed_with(fs, 2)
    intact = bytes(log.contents)
    change(log)
    log.write()
    refused(fs, because)
    log.path.write_bytes(intact)
    fs.daemon.next()
    assert names(fs) == {"new0", "new1"}


def test_log_that_a_dying_machine_left(fs):
    """Its disk may lack any page: what came before the hole is taken."""
    log = killed_with(fs, 6)
    log.change_header(boot=b"of another boot")
    log.remove(next(record for record in log.records() if b"new4" in log.bytes_of(record)))
    log.write()
    fs.daemon.expected.append("the machine went down before all changes reached the disk")
    fs.daemon.next()
    assert names(fs) == {f"new{number}" for number in range(4)}
    (fs / "new9").mkdir()
    fs.daemon.kill()
    fs.daemon.next()
    assert names(fs) == {f"new{number}" for number in (0, 1, 2, 3, 9)}


def test_log_that_is_ahead_of_the_database(fs):
    """After a machine died whose disk got the log and not the database."""
    (fs / "new").mkdir()
    fs.daemon.stop()
    database = (fs.daemon.state_dir / "metadata.db").read_bytes()
    fs.daemon.start()
    log = killed_with(fs, 3)
    for name in ("metadata.db-wal", "metadata.db-shm"):
        (fs.daemon.state_dir / name).unlink(missing_ok=True)
    (fs.daemon.state_dir / "metadata.db").write_bytes(database)
    log.remove(log.records()[0])
    log.write()
    refused(fs, "damaged: change", "is missing")
    log.change_header(boot=b"of another boot")
    log.write()
    fs.daemon.expected.append("the machine went down")
    fs.daemon.next()
    assert names(fs) == {"new"}
