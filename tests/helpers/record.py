# SPDX-License-Identifier: GPL-2.0-or-later
"""Copies and changes of the daemon's record."""

import shutil
import sqlite3
import tempfile
import zlib
from contextlib import closing, contextmanager
from pathlib import Path


def _crc(*values):
    """As the daemon computes it: over type and value of each column."""
    total = 0
    for value in values:
        if value is None:
            total = zlib.crc32(b"\x05", total)
        elif isinstance(value, int):
            total = zlib.crc32(b"\x01" + value.to_bytes(8, "little", signed=True), total)
        else:
            total = zlib.crc32(b"\x03" + value.encode() if isinstance(value, str) else b"\x04" + value, total)
    return total


def restore_sums(connection):
    """Makes the checksums right, so that the daemon must find a change by the meaning of the row."""
    connection.create_function("crc", -1, _crc)
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "sum"]
        connection.execute(f"UPDATE {table} SET sum = crc({', '.join(columns)})")


def _start_of_log(path):
    try:
        with open(path, "rb") as log:
            return log.read(32)
    except FileNotFoundError:
        return b""


def copy_record(state_dir, to):
    """
    Copies the record while the daemon runs, as the manual says: the database first, then its log, which has all
    changes since. If the log was restarted meanwhile, copies both again.
    """
    log = state_dir / "metadata.db-wal"
    while True:
        before = _start_of_log(log)
        shutil.copy(state_dir / "metadata.db", to / "metadata.db")
        if before:
            shutil.copy(log, to / "metadata.db-wal")
        if before == _start_of_log(log):
            return to / "metadata.db"


@contextmanager
def opened_copy(state_dir):
    """A connection to a copy: no other process can open the record while the daemon runs."""
    with tempfile.TemporaryDirectory() as directory, \
            closing(sqlite3.connect(copy_record(state_dir, Path(directory)))) as connection:
        yield connection
