# SPDX-License-Identifier: GPL-2.0-or-later
"""A FUSE file system with one file, whose server never answers a read: the pages that are read stay locked."""

import ctypes
import errno
import os
import stat
import struct
import threading
from contextlib import contextmanager, suppress

# linux/fuse.h
LOOKUP, FORGET, GETATTR, OPEN, READ, RELEASE, FLUSH, INIT, INTERRUPT, BATCH_FORGET = 1, 2, 3, 14, 15, 18, 25, 26, 36, 42
HEADER = struct.Struct("=IIQQIIIHH")
ROOT, FILE = 1, 2
SIZE = 64 << 10
FOREVER = 1 << 30
MNT_FORCE, MNT_DETACH = 1, 2


def attributes(node):
    mode = stat.S_IFDIR | 0o755 if node == ROOT else stat.S_IFREG | 0o644
    return struct.pack("=6Q10I", node, SIZE, SIZE >> 9, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)


class Server:
    """@fd: /dev/fuse."""

    def __init__(self, fd):
        self.fd = fd
        self.was_read = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with suppress(OSError):  # it was unmounted
            while True:
                request = os.read(self.fd, 1 << 20)
                _, opcode, unique, node, *_ = HEADER.unpack_from(request)
                answer = self._answer(opcode, node)
                if answer is not None:
                    error, data = answer
                    os.write(self.fd, struct.pack("=IiQ", 16 + len(data), -error, unique) + data)

    def _answer(self, opcode, node):
        """(error, data), or None."""
        if opcode == READ:
            self.was_read.set()
        if opcode in (READ, FORGET, BATCH_FORGET, INTERRUPT):
            return None
        if opcode == INIT:
            return 0, struct.pack("=4I2H2I2H8I", 7, 31, 0, 0, 1, 1, 4096, 1, 1, 0, *[0] * 8)
        if opcode == GETATTR:
            return 0, struct.pack("=QII", FOREVER, 0, 0) + attributes(node)
        if opcode == LOOKUP:
            return 0, struct.pack("=4QII", FILE, 0, FOREVER, FOREVER, 0, 0) + attributes(FILE)
        if opcode == OPEN:
            return 0, struct.pack("=QIi", 0, 0, 0)
        return (0, b"") if opcode in (RELEASE, FLUSH) else (errno.ENOSYS, b"")


@contextmanager
def mounted(directory):
    """Yields the server and the path of the file. In the end, all reads fail."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    target = os.fsencode(directory)
    options = f"fd={fd},rootmode=40000,user_id=0,group_id=0".encode()
    if libc.mount(b"silent", target, b"fuse", 0, options):
        raise OSError(ctypes.get_errno(), "mount")
    try:
        yield Server(fd), directory / "file"
    finally:
        libc.umount2(target, MNT_FORCE | MNT_DETACH)
        os.close(fd)
