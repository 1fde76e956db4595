# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon's record, changed by a test."""

import struct
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


class RedoLog:
    """What the daemon committed and had not applied to the database yet (store_redo.h)."""

    HEADER = struct.Struct("<8sII16s40sII")
    RECORD = struct.Struct("<IIQII")
    HALVES_AT = 4096

    def __init__(self, state_dir):
        self.path = state_dir / "metadata.db-redo"
        self.contents = bytearray(self.path.read_bytes())

    def write(self):
        self.path.write_bytes(self.contents)

    def records(self):
        """(number, offset, size with its head) of each transaction in the order they were made."""
        half_size = self.HEADER.unpack_from(self.contents)[2]
        found = []
        for at in (self.HALVES_AT, self.HALVES_AT + half_size):
            last = 0
            while True:
                magic, size, number, _, _ = self.RECORD.unpack_from(self.contents, at)
                if magic != int.from_bytes(b"redo", "little") or number <= last:
                    break
                size = (self.RECORD.size + size + 7) // 8 * 8
                found.append((number, at, size))
                at += size
                last = number
        return sorted(found)

    def bytes_of(self, record):
        _, at, size = record
        return self.contents[at:at + size]

    def remove(self, record):
        _, at, size = record
        self.contents[at:at + size] = bytes(size)

    def change_header(self, **changes):
        names = ("magic", "format", "half_size", "mark", "boot", "reserved")
        fields = dict(zip(names, self.HEADER.unpack_from(self.contents))) | changes
        head = self.HEADER.pack(*fields.values(), 0)[:-4]
        self.contents[:self.HEADER.size] = head + zlib.crc32(head).to_bytes(4, "little")

    def flip(self, at):
        self.contents[at] ^= 1
