# SPDX-License-Identifier: GPL-2.0-or-later
"""
A directory that nobody can look up a new name in. A thread lists it into memory that does not come (userfaultfd(2); a user without
privileges would map a file of a FUSE mount of his own), so the kernel holds the directory's lock. Another thread waits for the lock
to write there, which he need not be allowed to, and all who come later wait behind it.
"""

import ctypes
import fcntl
import mmap
import os
import struct
import threading

from helpers.mount import wait_until
from helpers.syscalls import getdents_into

SYS_MKDIR, SYS_GETDENTS64, SYS_USERFAULTFD = 83, 217, 323  # of x86-64
UFFD_API, UFFDIO_API, UFFDIO_REGISTER, UFFDIO_REGISTER_MODE_MISSING = 0xAA, 0xC018AA3F, 0xC020AA00, 1
LENGTH = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


def _memory_that_does_not_come():
    """Its address, and what must live as long."""
    faults = _libc.syscall(SYS_USERFAULTFD, os.O_CLOEXEC)
    if faults < 0:
        raise OSError(ctypes.get_errno(), "userfaultfd")
    fcntl.ioctl(faults, UFFDIO_API, bytearray(struct.pack("QQQ", UFFD_API, 0, 0)))
    memory = mmap.mmap(-1, LENGTH, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    fcntl.ioctl(faults, UFFDIO_REGISTER,
                bytearray(struct.pack("QQQQ", address, LENGTH, UFFDIO_REGISTER_MODE_MISSING, 0)))
    return address, (faults, memory)


def _waits_in(thread, number):
    """Whether the thread waits in this system call."""
    with open(f"/proc/self/task/{thread}/syscall", encoding="ascii") as call:
        return call.read().split()[0] == str(number)


def keep_locked(path):
    """Until this process ends. What it returns must live as long."""
    address, alive = _memory_that_does_not_come()
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    lists = threading.Thread(target=getdents_into, args=(directory, address, LENGTH), daemon=True)
    writes = threading.Thread(target=os.mkdir, args=(f"{path}/new",), daemon=True)
    lists.start()
    wait_until(lambda: _waits_in(lists.native_id, SYS_GETDENTS64), "a thread lists the directory")
    writes.start()
    wait_until(lambda: _waits_in(writes.native_id, SYS_MKDIR), "a thread waits for the directory's lock")
    return alive
