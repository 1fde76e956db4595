# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsctl fsck finds problems of the record, and moves the record aside only when told to."""

import os
import re
import resource
import shutil
import sqlite3
import subprocess
from contextlib import closing

import pytest

from helpers.control import DAEMON, FAILED, FOUND
from helpers.record import restore_sums

pytestmark = pytest.mark.page_sizes("4K")


def database(fs):
    return fs.daemon.state_dir / "metadata.db"


def listing(fs):
    return sorted(path.name for path in fs.daemon.state_dir.iterdir())


@pytest.fixture
def stopped(fs):
    """A record with a few files, whose daemon has ended."""
    for number in range(4):
        fs.make_file(f"file{number}", b"x" * 10000)
    (fs / "dir").mkdir()
    fs.daemon.stop()
    return fs


def damage(fs, change):
    with closing(sqlite3.connect(database(fs))) as connection:
        connection.execute(change)
        restore_sums(connection)
        connection.commit()


def test_clean(ctl, stopped):
    state_dir = stopped.daemon.state_dir
    before = database(stopped).read_bytes()
    assert sorted(path.name for path in state_dir.iterdir()) == ["lock", "metadata.db"]
    assert ctl.text("fsck", state_dir) == f"{database(stopped)}: in order\n"
    assert ctl.text("fsck", "--config", stopped.daemon.config) == f"{database(stopped)}: in order\n"
    assert ctl.json("fsck", os.path.relpath(state_dir, ctl.work)) == {
        "database": str(database(stopped)), "clean": True, "problems": [], "moved_to": None}
    assert database(stopped).read_bytes() == before
    assert sorted(path.name for path in state_dir.iterdir()) == ["lock", "metadata.db"]


def test_after_a_kill(ctl, fs):
    """The log has transactions that are not in the database yet."""
    fs.make_file("file", b"x" * 10000)
    fs.daemon.kill()
    assert ctl.json("fsck", fs.daemon.state_dir)["clean"]
    fs.daemon.next()
    assert (fs / "file").read_bytes() == b"x" * 10000


def test_running_daemon(ctl, fs):
    fs.make_file("file", b"x")
    line = ctl.fails("fsck", fs.daemon.state_dir, status=DAEMON, says=["is running", "fusermount3 -u"])
    assert f"pid {fs.daemon.pid}" in line
    ctl.fails("fsck", "--move-aside", "--force", fs.daemon.state_dir, status=DAEMON, says=["is running"])
    assert (fs / "file").read_bytes() == b"x"


@pytest.mark.parametrize(("change", "says"), [
    ("UPDATE extent SET start = (SELECT min(start) FROM extent)", "belongs to inode"),
    ("UPDATE extent SET start = start + 1099511627776", "lies in no region"),
    ("UPDATE entry SET ino = 77 WHERE name = CAST('dir' AS BLOB)", "no inode 77"),
    ("UPDATE entry SET parent = ino WHERE name = CAST('dir' AS BLOB)", "does not lie under the root"),
    ("DELETE FROM extent", "no memory from offset 0"),
    ("UPDATE value SET value = x'0100000000000000' WHERE name = 'next_ino'", "the number was never assigned"),
    ("DROP TABLE xattr", "no such table"),
])
def test_damage_is_found_and_moved_aside(ctl, stopped, change, says):
    damage(stopped, change)
    damaged = database(stopped).read_bytes()
    state_dir = stopped.daemon.state_dir
    text = ctl.text("fsck", state_dir, status=FOUND)
    assert says in text
    assert f"dmemfsctl fsck --move-aside {state_dir}" in text
    result = ctl.json("fsck", state_dir, status=FOUND)
    assert not result["clean"] and says in "\n".join(result["problems"])
    assert database(stopped).read_bytes() == damaged
    moved = ctl.json("fsck", "--move-aside", state_dir)["moved_to"]
    assert re.fullmatch(re.escape(str(database(stopped))) + r"\.aside-\d{8}T\d{6}\.\d{6}Z", moved)
    assert open(moved, "rb").read() == damaged
    assert not database(stopped).exists()
    ctl.fails("fsck", state_dir, says=["has no metadata.db"])
    stopped.daemon.start()
    assert os.listdir(stopped.root) == []
    stopped.make_file("new", b"x" * stopped.unit)


def test_files_are_named_by_their_paths(ctl, stopped):
    damage(stopped, "UPDATE extent SET start = (SELECT min(start) FROM extent)")
    problems = "\n".join(ctl.json("fsck", stopped.daemon.state_dir, status=FOUND)["problems"])
    assert re.search(r"belongs to inode \d+ \(/file\d\) and to inode \d+ \(/file\d\)", problems)
    damage(stopped, "UPDATE entry SET parent = (SELECT ino FROM entry WHERE name = CAST('dir' AS BLOB)) WHERE name = CAST('file3' AS BLOB)")
    problems = "\n".join(ctl.json("fsck", stopped.daemon.state_dir, status=FOUND)["problems"])
    assert re.search(r"and to inode \d+ \(/dir/file3\)", problems)
    ctl.text("fsck", "--move-aside", stopped.daemon.state_dir)


def test_many_names_and_directories_in_each_other(ctl, stopped):
    """No path leads from such a directory to the root. The record has no index of names by inode, so each try reads all of them."""
    with closing(sqlite3.connect(database(stopped))) as connection:
        connection.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 150000)"
                           " INSERT INTO entry SELECT 1, i + 1000, CAST('name' || i AS BLOB), ino, 0 FROM n, inode"
                           " WHERE ino = (SELECT ino FROM entry WHERE name = CAST('file1' AS BLOB))")
        connection.commit()
    damage(stopped, "UPDATE entry SET parent = ino WHERE name = CAST('dir' AS BLOB)")
    found = ctl.run("fsck", stopped.daemon.state_dir, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (4, 4)))
    assert found.returncode == FOUND and "does not lie under the root" in found.stdout
    ctl.text("fsck", "--move-aside", stopped.daemon.state_dir)


@pytest.mark.parametrize("change", ["UPDATE entry SET ino = 77", "PRAGMA user_version = 0", "DELETE FROM value WHERE name = 'mark'"])
def test_daemon_says_what_to_run_on_a_damaged_record(ctl, stopped, change):
    damage(stopped, change)
    state_dir = stopped.daemon.state_dir
    started = subprocess.run([stopped.daemon.program, "--config", stopped.daemon.config, "--foreground"], capture_output=True,
                             text=True, timeout=30, check=False)
    assert started.returncode == 1
    assert re.search(rf"metadata\.db: damaged: .*: run dmemfsctl fsck {state_dir}, then restore a copy", started.stderr), started.stderr
    ctl.text("fsck", "--move-aside", "--force", state_dir)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_who_is_not_root_is_told_so(ctl, stopped):
    """And not to change the owner of the daemon's directory, or that no daemon ran."""
    nobody = {"executable": shutil.copy(ctl.program, ctl.work / "dmemfsctl"), "user": 65534, "group": 65534, "extra_groups": []}
    stopped.daemon.config.chmod(0o644)
    state_dir = stopped.daemon.state_dir
    for mode, says in ((0o755, f"{state_dir} belongs to user 0 (mode 0755): run as root"),
                       (0o700, f"{state_dir}/metadata.db: Permission denied: run as root")):
        state_dir.chmod(mode)
        for command in ("fsck", "prepare-kexec"):
            assert "chown" not in ctl.fails(command, state_dir, says=[says], **nobody)
        said = ctl.fails("reload", "--config", stopped.daemon.config, lines=2, says=[
            f"state-dir: {state_dir} belongs to user 0", "memory-dir: ", "run as root"], **nobody)
        assert "chown" not in said


def test_checksums(ctl, stopped):
    with closing(sqlite3.connect(database(stopped))) as connection:
        connection.execute("UPDATE inode SET uid = uid + 1 WHERE size > 0")
        connection.commit()
    problems = ctl.json("fsck", stopped.daemon.state_dir, status=FOUND)["problems"]
    assert len(problems) == 4 and all("does not match its checksum" in problem for problem in problems)
    with closing(sqlite3.connect(database(stopped))) as connection:
        connection.execute("UPDATE inode SET uid = uid - 1 WHERE size > 0")
        connection.commit()


def test_no_database_at_all_but_a_text(ctl, stopped):
    whole = database(stopped).read_bytes()
    database(stopped).write_text("this is no database, however long it may be" * 100)
    assert "not a database" in "".join(ctl.json("fsck", stopped.daemon.state_dir, status=FOUND)["problems"])
    text = ctl.text("fsck", "--move-aside", stopped.daemon.state_dir)
    assert "moved aside to" in text and "empty tree" in text
    database(stopped).write_bytes(whole)
    assert len([name for name in listing(stopped) if ".aside-" in name]) == 1


def test_good_and_foreign_ones_stay_unless_forced(ctl, stopped):
    state_dir = stopped.daemon.state_dir
    ctl.fails("fsck", "--move-aside", state_dir, says=["is in order, and was not moved", "--force"])
    damage(stopped, "PRAGMA application_id = 7")
    ctl.fails("fsck", state_dir, says=["another program"])
    ctl.fails("fsck", state_dir, "--move-aside", says=["another program"])
    moved = ctl.json("fsck", "--move-aside", "--force", state_dir)["moved_to"]
    assert listing(stopped) == ["lock", os.path.basename(moved)]


def test_redo_log_of_an_older_daemon(ctl, stopped):
    """The redo log has changes that the database lacks. fsck does not check without it, and moves both."""
    state_dir = stopped.daemon.state_dir
    (state_dir / "metadata.db-redo").write_bytes(b"x")
    ctl.fails("fsck", state_dir, says=["metadata.db-redo", "start that version once more and stop it"])
    moved = ctl.json("fsck", "--move-aside", "--force", state_dir)["moved_to"]
    assert listing(stopped) == ["lock", os.path.basename(moved), os.path.basename(moved) + "-redo"]


def test_what_is_no_state_directory(ctl, stopped):
    ctl.fails("fsck", "/nonexistent", says=["/nonexistent: No such file", "state-dir"])
    ctl.fails("fsck", stopped.daemon.config, says=["is not a directory", "--config FILE"])
    ctl.fails("fsck", "--config", "/nonexistent", says=["/nonexistent: cannot open"])
    empty = ctl.work / "empty"
    empty.mkdir()
    ctl.fails("fsck", empty, says=["has no metadata.db", "no daemon has used"])
    assert list(empty.iterdir()) == []
    (empty / "metadata.db").write_bytes(b"")
    ctl.fails("fsck", empty, status=FAILED, says=["empty: no daemon has used it yet"])
