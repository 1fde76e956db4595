# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's record, changed by a test."""

import zlib


def _crc(*values):
    """As the daemon's: of type and value of each column."""
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
    """What was changed is to be found by what it says, not by its checksum."""
    connection.create_function("crc", -1, _crc)
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "sum"]
        connection.execute(f"UPDATE {table} SET sum = crc({', '.join(columns)})")
