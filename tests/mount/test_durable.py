# SPDX-License-Identifier: GPL-2.0-or-later
"""The record: every change survives the daemon's death at any point, and a damaged record is refused."""

import errno
import os
import random
import shutil
import socket
import sqlite3
import stat
import subprocess
import time
from contextlib import closing, suppress

import pytest

from helpers.children import Child
from helpers.control import Control
from helpers.daemon import DaemonError, control_program
from helpers.expect import fails_with
from helpers.mount import wait_until
from helpers.record import copy_record, restore_sums
from helpers.snapshot import snapshot
from helpers.syscalls import Mapping, renameat2

RENAME_EXCHANGE = 2


def furnish(root, unit):
    """Makes one object of each kind, with attributes, links and renames."""
    (root / "dir" / "below").mkdir(parents=True)
    os.chmod(root / "dir", 0o2750)
    os.chown(root / "dir" / "below", 7, 8)
    for number in range(5):
        (root / "dir" / f"file{number}").write_bytes(os.urandom(1000 * number))
    (root / "dir" / "below" / "big").write_bytes(os.urandom(3 * unit // 2 + 5))
    os.unlink(root / "dir" / "file3")
    os.link(root / "dir" / "file1", root / "link")
    os.symlink("dir/file2", root / "symlink")
    os.mkfifo(root / "fifo", 0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(root)  # a socket's name is short
        listener.bind("socket")
        os.chdir(here)
    (root / "sparse").write_bytes(b"")
    os.truncate(root / "sparse", 4 * unit)
    os.truncate(root / "sparse", unit + 1)
    os.setxattr(root / "link", "user.name", b"value \x00 with a NUL")
    os.setxattr(root / "dir", "trusted.empty", b"")
    os.setxattr(root / "dir", "user.gone", b"x")
    os.removexattr(root / "dir", "user.gone")
    os.utime(root / "link", ns=(1, 8589934592000000001))
    os.rename(root / "dir" / "file2", root / "dir" / "below" / "\u00fcml\xe4ut")
    (root / "a").write_bytes(b"a")
    (root / "b").write_bytes(b"b")
    renameat2(root / "a", root / "b", RENAME_EXCHANGE)


def record_times(root):
    """Has the times of writes recorded at once, by a chmod; else that takes a second or two."""
    for directory, _, files in os.walk(root):
        for name in files:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                os.chmod(path, stat.S_IMODE(os.stat(path).st_mode))


@pytest.mark.page_sizes("4K")
def test_time_of_a_write_is_on_record_soon(fs):
    path = fs.make_file("file", b"written")
    before = os.stat(path)
    time.sleep(2.5)
    fs.daemon.kill()
    fs.daemon.next()
    assert os.stat(path).st_mtime_ns == before.st_mtime_ns


def test_restart_keeps_everything(fs):
    furnish(fs.root, fs.unit)
    before = snapshot(fs.root)
    fs.daemon.stop()
    fs.daemon.start()
    assert snapshot(fs.root) == before


def test_kill_loses_nothing(fs):
    furnish(fs.root, fs.unit)
    record_times(fs.root)
    before = snapshot(fs.root)
    fs.daemon.kill()
    fs.daemon.next()
    assert snapshot(fs.root) == before


def churn(pipe, fs):
    """Makes, renames and removes files until the daemon dies, and tells which calls were answered."""
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


@pytest.mark.page_sizes("4K")
@pytest.mark.parametrize("seconds", [0.05, 0.8, 3])
def test_kill_while_many_changes_are_made(fs, seconds):
    """All answered changes are on record, whether in the database or in its log."""
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
    seen = {name for name in os.listdir(fs.root) if name.startswith("new")}
    if unsure:  # asked for, and not answered
        expected -= {unsure}
        seen -= {unsure, f"{unsure}r"}
    assert len(seen - expected) <= 1 and expected <= seen
    fs.daemon.stop()


@pytest.mark.page_sizes("4K")
def test_copy_of_the_record_taken_at_any_moment_is_in_order(fs):
    """As a backup, or the disk after a power cut: consistent, with all changes answered before."""
    ctl = Control(control_program(fs.daemon.program), fs.daemon.work)

    def client(pipe):
        for number in range(100000):
            os.mkdir(fs / f"new{number}")
            os.setxattr(fs / f"new{number}", "user.text", bytes(3000))
            if pipe.poll():
                return

    with Child(client, with_pipe=True) as child:
        for copied in range(15):
            there = len(os.listdir(fs.root))
            copy = fs.daemon.work / f"copy{copied}"
            copy.mkdir()
            copy_record(fs.daemon.state_dir, copy)
            assert ctl.text("fsck", str(copy)) == f"{copy}/metadata.db: in order\n"
            with closing(sqlite3.connect(copy / "metadata.db")) as record:
                known = {bytes(name).decode() for (name,) in record.execute("SELECT name FROM entry")}
            assert len(known) >= there and known == {f"new{number}" for number in range(len(known))}
        child.pipe.send("enough")
        child.wait()


def test_inode_numbers_are_not_used_again(fs):
    (fs / "file").write_bytes(b"x")
    last = os.stat(fs / "file").st_ino
    os.unlink(fs / "file")
    fs.wait_free(fs.capacity)
    fs.daemon.kill()
    fs.daemon.next()
    (fs / "other").write_bytes(b"x")
    assert os.stat(fs / "other").st_ino > last


def test_removed_file_that_was_open_is_gone_after_the_kill(fs):
    """Its memory is free at the latest when the last process that maps it ends."""

    def client(pipe):
        fd = os.open(fs / "file", os.O_RDWR | os.O_CREAT)
        os.ftruncate(fd, 2 * fs.unit)
        mapping = Mapping(fd, 2 * fs.unit)
        mapping.write(0, b"mine")
        os.unlink(fs / "file")
        pipe.send("ready")
        pipe.recv()
        assert mapping.read(0, 4) == b"mine"

    with Child(client, with_pipe=True) as child:
        assert child.receive() == "ready"
        fs.daemon.kill()
        fs.daemon.next()
        fs.make_file("new", b"n" * fs.unit)
        child.pipe.send("go on")
        child.wait()
    assert fs.wait_free(fs.capacity - fs.unit) == fs.capacity - fs.unit


# Every place at which the daemon can be made to die, and what makes a daemon come there. @see CRASH_POINT() in the source.
def make(fs):
    (fs / "victim").mkdir()


def grow(fs):
    os.truncate(fs / "kept", 3 * fs.unit)


def shrink(fs):
    os.truncate(fs / "large", 1)


def remove(fs):
    os.unlink(fs / "large")


def open_and_close(fs):
    with open(fs / "kept", "rb") as file:
        file.read(1)
    make(fs)


CRASHES = {
    "before-commit": (make, grow, shrink, remove, open_and_close),
    "after-commit": (make, grow, shrink, remove, open_and_close),
    "cleaned": (grow,),
    "extents-committed": (grow,),
    "extents-given": (grow,),
    "shrunk": (shrink,),
    "memory-taken": (shrink,),
    "resized": (shrink,),
    "before-drop": (remove,),
    "after-drop": (remove,),
    "registered": (open_and_close,),
}


LOST = ("lost-removed",)  # see test_lost_contents.py
STARTS = ("before-commit", "after-commit", "loading", "unknown-given-up", "attached", "pins-recorded")
TAKEOVERS = (*STARTS, "swept", "resend-asked", "replayed")  # see test_takeover.py
ZEROING = ("zeroed", "clean-recording", "clean-recorded")  # see test_zeroing.py
POISON = ("poison-found", "poison-recorded")  # see ../vm/test_poison_mount.py
PINS = ("pins-checked",)  # see ../vm/test_pages_mount.py
DEMAND = ("size-committed", "hole-taken", "hole-committed", "punched-found")  # see ../vm/test_demand.py
LENDING, TAKING = ("lend-begun", "lend-recorded", "lent"), ("take-begun", "taken")  # see ../vm/test_lending.py


def run_to_the_crash(fs, operation):
    """Runs the operation, which the death of the daemon may end with an error."""

    def client():
        try:
            operation(fs)
        except OSError:
            pass

    with Child(client) as child:
        child.wait()


@pytest.mark.parametrize(("point", "operation"),
                         [(point, operation) for point, operations in CRASHES.items() for operation in operations],
                         ids=lambda value: value if isinstance(value, str) else value.__name__)
@pytest.mark.dmemfs(zero_in_advance="false")  # which has commits of its own
def test_crash(fs, point, operation):
    """The daemon dies at the point. The next one finds a consistent file system; other files are unchanged."""
    others = fs / "others"
    others.mkdir()
    furnish(others, fs.unit)
    (fs / "kept").write_bytes(b"k" * 100)
    (fs / "large").write_bytes(b"l" * (2 * fs.unit + 100))
    before = snapshot(others)
    fs.daemon.stop()
    fs.daemon.start(DMEMFS_CRASH_AT=point)
    run_to_the_crash(fs, operation)
    wait_until(lambda: not fs.daemon.running, f"the daemon has died at {point}")
    fs.daemon.ended_by_test = True
    fs.daemon.next()
    assert snapshot(others) == before
    fs.check()
    assert (fs / "kept").read_bytes().rstrip(b"\0") == b"k" * 100
    with suppress(FileNotFoundError):
        # What a truncation was about to cut off may be zeroes already.
        contents = (fs / "large").read_bytes()
        assert contents[0] == ord("l") and set(contents) <= {0, ord("l")}
        assert operation is shrink or contents == b"l" * (2 * fs.unit + 100)
    with suppress(FileExistsError, FileNotFoundError):
        operation(fs)


@pytest.mark.page_sizes("4K")
@pytest.mark.parametrize("point", STARTS)
def test_crash_at_the_start(fs, point):
    """A daemon dies while it makes all copies equal to the record. The next one does it again."""
    furnish(fs.root, fs.unit)
    record_times(fs.root)
    before = snapshot(fs.root)
    fs.daemon.kill()
    with pytest.raises(DaemonError):
        fs.daemon.next(DMEMFS_CRASH_AT=f"start/{point}")
    fs.daemon.next()
    assert snapshot(fs.root) == before


def test_crash_points_are_all_tested(dmemfsd):
    """Each crash point of the source is named in a test. (A release build has none.)"""
    source = subprocess.run(["grep", "-rhoE", r"CRASH_POINT\(\"[a-z-]+\"\)", f"{os.path.dirname(__file__)}/../../fuse-daemon"],
                            capture_output=True, text=True, check=True).stdout
    assert {line.split('"')[1] for line in source.splitlines()} == {*CRASHES, *TAKEOVERS, *ZEROING, *DEMAND, *POISON, *PINS, *LOST, *LENDING, *TAKING}


@pytest.mark.memory_only("takes the memory away as a power failure does")
def test_lost_contents_read_zero_and_names_stay(fs, backend):
    furnish(fs.root, fs.unit)
    before = snapshot(fs.root)
    fs.daemon.stop()
    for entry in backend.object_path(0).parent.iterdir():
        entry.unlink()
    fs.daemon.expected.append("contents are lost")
    fs.daemon.start()
    after = snapshot(fs.root)
    assert after.keys() == before.keys()
    for path, seen in after.items():
        for changed in ("contents", "extents", "blocks"):
            before[path].pop(changed, None)
            seen.pop(changed, None)
        assert seen == before[path]
        if stat.S_ISREG(seen["mode"]):
            assert not (fs / path).read_bytes().strip(b"\0")


@pytest.mark.memory_only("another daemon's memory directory")
def test_memory_of_another_database_is_not_shown(fs):
    """Two state directories use one memory directory in turn. Neither shows the other's bytes."""
    fs.make_file("mine", b"first" * 1000)
    fs.daemon.stop()
    mine = fs.daemon.work / "mine"
    fs.daemon.state_dir.rename(mine)
    fs.daemon.state_dir.mkdir()
    fs.daemon.start()
    fs.make_file("theirs", b"second" * 1000)
    fs.daemon.stop()
    shutil.rmtree(fs.daemon.state_dir)
    mine.rename(fs.daemon.state_dir)
    fs.daemon.expected.append("contents are lost")
    fs.daemon.start()
    assert os.listdir(fs.root) == ["mine"]
    assert (fs / "mine").read_bytes() == bytes(5000)


@pytest.mark.page_sizes("4K")
def test_full_state_directory_refuses_changes_and_loses_nothing(fs):
    fs.make_file("file", b"kept")
    fs.daemon.stop()
    record = database(fs.daemon).read_bytes()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=900k,mode=700", "none", fs.daemon.state_dir], check=True)
    database(fs.daemon).write_bytes(record)
    try:
        fs.daemon.expected.append("disk is full|No space left")
        fs.daemon.start()
        made = 0
        with fails_with(errno.ENOSPC):
            for made in range(10000):
                (fs / f"{made:0200}").mkdir()
        before = snapshot(fs.root)
        assert f"{made:0200}" not in before
        with fails_with(errno.ENOSPC):
            (fs / f"{made:0200}").mkdir()
        assert snapshot(fs.root) == before
        fs.daemon.kill()
        with fails_with(errno.ENOSPC):
            (fs.daemon.state_dir / "other").write_bytes(bytes(1 << 20))
        with pytest.raises(DaemonError, match="disk is full|No space left"):
            for _ in range(10):  # each needs a little: the log's last page has some room left
                fs.daemon.next()
                fs.daemon.kill()
        subprocess.run(["mount", "-o", "remount,size=2M", fs.daemon.state_dir], check=True)
        fs.daemon.next()
        assert snapshot(fs.root) == before
        assert (fs / "file").read_bytes() == b"kept"
        fs.check()
        fs.daemon.stop()
    finally:
        subprocess.run(["umount", "--lazy", fs.daemon.state_dir], check=True)


@pytest.mark.page_sizes("4K")
def test_change_that_was_refused_leaves_no_trace(fs):
    """Changes that a full state directory refused are not on record; later ones are."""
    fs.daemon.stop()
    record = database(fs.daemon).read_bytes()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M,mode=700", "none", fs.daemon.state_dir], check=True)
    database(fs.daemon).write_bytes(record)
    try:
        fs.daemon.expected.append("free some space in")
        fs.daemon.start()
        fs.make_file("file", b"contents" * 1000)
        filler = fs.daemon.state_dir / "filler"
        with suppress(OSError), open(filler, "wb", buffering=0) as full:
            while True:
                full.write(bytes(4096))
        with fails_with(errno.ENOSPC):
            for number in range(1000):
                os.mkdir(fs / f"a{number}")
        before = snapshot(fs.root)
        for change in (lambda: os.truncate(fs / "file", 1), lambda: os.truncate(fs / "file", 1 << 20),
                       lambda: os.unlink(fs / "file"), lambda: os.rename(fs / "file", fs / "b"),
                       lambda: os.setxattr(fs / "file", "user.a", b"1"), lambda: os.chmod(fs / "file", 0o600)):
            with fails_with(errno.ENOSPC):
                change()
        assert snapshot(fs.root) == before
        filler.unlink()
        fs.make_file("b", b"b")
        record_times(fs.root)
        before = snapshot(fs.root)
        fs.daemon.kill()
        fs.daemon.next()
        assert snapshot(fs.root) == before
        fs.daemon.stop()
    finally:
        subprocess.run(["umount", "--lazy", fs.daemon.state_dir], check=True)


@pytest.mark.page_sizes("4K")
def test_log_of_the_record_is_bounded(fs):
    """It stays below its limit while a client writes large values without a pause."""
    log, largest = fs.daemon.state_dir / "metadata.db-wal", 0
    value = os.urandom(60000)
    fs.make_file("file", b"")
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline:
        os.setxattr(fs / "file", "user.a", value)
        largest = max(largest, log.stat().st_size)
    assert 0 < largest <= 64 << 20


@pytest.mark.page_sizes("4K")
def test_log_does_not_fill_a_small_state_directory(fs):
    """Overwritten values give their space back: 20 MB of them go through 4 MB."""
    fs.daemon.stop()
    record = database(fs.daemon).read_bytes()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4M,mode=700", "none", fs.daemon.state_dir], check=True)
    database(fs.daemon).write_bytes(record)
    try:
        fs.daemon.start()
        path = fs.make_file("file", b"")
        for number in range(300):
            os.setxattr(path, "user.a", bytes([number % 256]) * 60000)
        os.unlink(path)
        fs.daemon.stop()
    finally:
        subprocess.run(["umount", "--lazy", fs.daemon.state_dir], check=True)


def database(daemon):
    return daemon.state_dir / "metadata.db"


def refused(daemon, *, because):
    """The start fails, gives the reason in one line, and leaves the database as it was."""
    before = database(daemon).read_bytes()
    daemon.expected.append("metadata.db")
    with pytest.raises(DaemonError) as failure:
        daemon.start()
    daemon.process = None
    assert str(database(daemon)) in str(failure.value)
    assert because in str(failure.value)
    assert database(daemon).read_bytes() == before


@pytest.mark.page_sizes("4K")
def test_record_of_the_version_before(fs):
    """It opens, but not beside a redo log: the error then asks to start the old version once more."""
    furnish(fs.root, fs.unit)
    before = snapshot(fs.root)
    fs.daemon.stop()
    with closing(sqlite3.connect(database(fs.daemon))) as record:
        record.executescript("PRAGMA journal_mode = DELETE; PRAGMA page_size = 1024; VACUUM; PRAGMA journal_mode = WAL")
        record.execute("INSERT INTO value VALUES ('applied', x'2a00000000000000', 0)")
        restore_sums(record)
        record.executescript("DROP TABLE held; PRAGMA user_version = 4")
        record.commit()
    redo = fs.daemon.state_dir / "metadata.db-redo"
    redo.write_bytes(b"dmemfsre" + bytes(4088))
    whole = database(fs.daemon).read_bytes()
    fs.daemon.expected.append("metadata.db-redo")
    with pytest.raises(DaemonError, match="metadata.db-redo: .* start that version once more and stop it"):
        fs.daemon.start()
    fs.daemon.process = None
    assert database(fs.daemon).read_bytes() == whole and redo.stat().st_size == 4096
    redo.unlink()
    fs.daemon.start()
    assert snapshot(fs.root) == before
    fs.daemon.kill()
    fs.daemon.next()
    assert snapshot(fs.root) == before


@pytest.mark.page_sizes("4K")
@pytest.mark.parametrize(("change", "because"), [
    ("PRAGMA user_version = 99", "newer dmemfsd"),
    ("PRAGMA application_id = 7", "another program"),
    ("UPDATE entry SET ino = 77", "no inode 77"),
    ("UPDATE entry SET name = x'2f'", "invalid name"),
    ("UPDATE extent SET start = start + 1", "malformed"),
    ("UPDATE extent SET start = start + 1099511627776", "lies in no region"),
    ("UPDATE extent SET start = (SELECT min(start) FROM extent)", "belongs to inode"),
    ("UPDATE inode SET size = size + 1000000 WHERE size > 0", "no memory from offset"),
    ("UPDATE inode SET mode = 0", "mode"),
    ("DELETE FROM inode WHERE ino = 1", "no such directory"),
    ("DELETE FROM value WHERE name = 'next_ino'", "next_ino"),
    ("DROP TABLE xattr", "no such table"),
    ("INSERT INTO clean SELECT start, 4096, 0 FROM extent LIMIT 1", "as clean, and as a file's"),
    ("INSERT INTO clean VALUES (4096, 4096, 0)", "lies in no region"),
    ("INSERT INTO clean VALUES (4097, 4096, 0)", "clean memory: malformed"),
    ("INSERT INTO poison VALUES (4097, 4096, 0)", "bad memory: malformed"),
    ("INSERT INTO poison VALUES (0, 8192, 0), (4096, 4096, 0)", "bad memory at 0x1000 is on record twice"),
    ("INSERT INTO held VALUES (4097, 4096, 0, 7, 0, x'', x'', 0)", "held memory: malformed"),
])
def test_database_that_contradicts_itself_is_refused(fs, change, because):
    furnish(fs.root, fs.unit)
    fs.daemon.stop()
    copy = fs.daemon.work / "copy.db"
    shutil.copy(database(fs.daemon), copy)
    changed = sqlite3.connect(database(fs.daemon))
    changed.execute(change)
    restore_sums(changed)
    changed.commit()
    changed.close()
    refused(fs.daemon, because=because)
    shutil.copy(copy, database(fs.daemon))
    fs.daemon.start()


@pytest.mark.page_sizes("4K")
def test_damaged_database_is_refused_or_right(fs):
    """An error names the file, or the tree is exactly what it was. Damage: flipped bits, a missing end."""
    furnish(fs.root, fs.unit)
    before = snapshot(fs.root)
    fs.daemon.stop()
    whole = database(fs.daemon).read_bytes()
    chance = random.Random(5)
    refusals = 0
    for attempt in range(24):
        damaged = bytearray(whole)
        if attempt % 4 == 0:
            del damaged[chance.randrange(1, len(whole)):]
        else:
            for _ in range(attempt):
                damaged[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        database(fs.daemon).write_bytes(damaged)
        try:
            fs.daemon.start()
        except DaemonError as failure:
            assert str(database(fs.daemon)) in str(failure)
            assert database(fs.daemon).read_bytes() == damaged
            fs.daemon.process = None
            fs.daemon.expected = ["metadata.db"]
            refusals += 1
            continue
        assert snapshot(fs.root) == before
        fs.daemon.stop()
    assert refusals >= 6
    database(fs.daemon).write_bytes(whole)
    fs.daemon.start()
    assert snapshot(fs.root) == before
