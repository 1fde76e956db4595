# SPDX-License-Identifier: GPL-2.0-or-later
"""Databases of other versions of the schema. Only the daemon migrates one; all else refuse it and leave it as it is."""

import sqlite3
from contextlib import closing

import pytest

from helpers.control import Control
from helpers.daemon import DaemonError, control_program

pytestmark = pytest.mark.page_sizes("4K")


def set_version(database, number):
    with closing(sqlite3.connect(database)) as record:
        record.execute(f"PRAGMA user_version = {number}")


def test_record_of_a_version_that_no_release_had(fs):
    database = fs.daemon.state_dir / "metadata.db"
    ctl = Control(control_program(fs.daemon.program), fs.daemon.work)
    path = fs.make_file("file", b"content")
    fs.daemon.stop()
    set_version(database, 3)
    before = database.read_bytes()
    fs.daemon.expected.append("metadata.db")
    with pytest.raises(DaemonError, match="of a version that was never released: .* fsck --move-aside --force"):
        fs.daemon.start()
    assert database.read_bytes() == before
    ctl.fails("fsck", str(fs.daemon.state_dir), says=["of a version that was never released"])
    set_version(database, 4)
    ctl.fails("fsck", str(fs.daemon.state_dir), says=["of an older version: start dmemfsd once"])
    fs.daemon.next()
    assert path.read_bytes() == b"content"
