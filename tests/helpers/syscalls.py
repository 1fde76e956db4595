# SPDX-License-Identifier: GPL-2.0-or-later
"""System calls that Python's standard library does not have, or that it changes too much."""

import ctypes
import os
import struct
from contextlib import contextmanager
from typing import NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)

# linux/falloc.h
FALLOC_FL_KEEP_SIZE = 0x01
FALLOC_FL_PUNCH_HOLE = 0x02
FALLOC_FL_COLLAPSE_RANGE = 0x08
FALLOC_FL_ZERO_RANGE = 0x10
FALLOC_FL_INSERT_RANGE = 0x20

# linux/fs.h
RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
RENAME_WHITEOUT = 4

# linux/fcntl.h, bits/fcntl-linux.h
AT_FDCWD = -100
AT_SYMLINK_NOFOLLOW = 0x100
AT_SYMLINK_FOLLOW = 0x400
AT_EMPTY_PATH = 0x1000
MAX_HANDLE_SZ = 128

# linux/stat.h
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2

# linux/sched.h, linux/mount.h
CLONE_NEWNS = 0x20000
MS_REC = 0x4000
MS_SLAVE = 0x80000

# asm-generic/mman.h
PROT_NONE, PROT_READ, PROT_WRITE = 0, 1, 2
MAP_SHARED, MAP_PRIVATE = 1, 2
MAP_FIXED, MAP_ANONYMOUS, MAP_NORESERVE = 0x10, 0x20, 0x4000
MS_ASYNC, MS_SYNC = 1, 4
MADV_DONTNEED, MADV_REMOVE = 4, 9
MREMAP_MAYMOVE = 1
SYS_IO_URING_SETUP, SYS_PIDFD_GETFD = 425, 438  # the same on every architecture
MAP_FAILED = ctypes.c_void_p(-1).value


def _function(name, result, *arguments):
    function = _libc[name]  # an object of its own; as an attribute "syscall" would have one set of types for all
    function.restype = result
    function.argtypes = arguments

    def call(*values):
        ctypes.set_errno(0)
        returned = function(*values)
        if returned == (MAP_FAILED if result is ctypes.c_void_p else -1):
            error = ctypes.get_errno()
            raise OSError(error, f"{name}: {os.strerror(error)}")
        return returned

    return call


_fallocate = _function("fallocate64", ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_ftruncate = _function("ftruncate64", ctypes.c_int, ctypes.c_int, ctypes.c_int64)
_renameat2 = _function("renameat2", ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p,
                       ctypes.c_uint)
_utimensat = _function("utimensat", ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)
_linkat = _function("linkat", ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
_getdents64 = _function("getdents64", ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_unshare = _function("unshare", ctypes.c_int, ctypes.c_int)
_mount = _function("mount", ctypes.c_int, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong,
                   ctypes.c_char_p)
_mmap = _function("mmap64", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                  ctypes.c_int, ctypes.c_int64)
_munmap = _function("munmap", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_mprotect = _function("mprotect", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_mremap = _function("mremap", ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int)
_msync = _function("msync", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
SYS_MBIND = 237  # x86-64; the C library has no function for it
_mbind = _function("syscall", ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int,
                   ctypes.c_void_p, ctypes.c_ulong, ctypes.c_uint)
_name_to_handle_at = _function("name_to_handle_at", ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p,
                               ctypes.c_void_p, ctypes.c_int)
_open_by_handle_at = _function("open_by_handle_at", ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int)
_syscall = _function("syscall", ctypes.c_long, ctypes.c_long, ctypes.c_int, ctypes.c_int, ctypes.c_uint)
_io_uring_setup = _function("syscall", ctypes.c_long, ctypes.c_long, ctypes.c_uint, ctypes.c_void_p)
_madvise = _function("madvise", ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


def make_mount_namespace():
    """
    Makes a mount namespace with a copy of each mount. A copy stays when its original is unmounted, unless the
    original is shared (mount_namespaces(7)).
    """
    _unshare(CLONE_NEWNS)


def keep_mounts_private():
    """
    From now on, mounts of this process and its children are visible to them only. Else a mount namespace that is
    made meanwhile would keep copies, and the daemon would go on after the tests have unmounted.
    """
    make_mount_namespace()
    _mount(None, b"/", None, MS_REC | MS_SLAVE, None)


def fallocate(fd, mode, offset, length):
    _fallocate(fd, mode, offset, length)


def ftruncate_raw(fd, length):
    """ftruncate(2) with any 64 bits as the length: Python refuses those past 2^63 itself."""
    _ftruncate(fd, ctypes.c_int64(length).value)


def renameat2(old, new, flags=0):
    _renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags)


def take_descriptor(pid, number):
    """A copy of the descriptor @number of another process: pidfd_getfd(2)."""
    pidfd = os.pidfd_open(pid)
    try:
        return _syscall(SYS_PIDFD_GETFD, pidfd, number, 0)
    finally:
        os.close(pidfd)


def close_a_ring():
    """
    Sets an io_uring up and closes it, as QEMU does when it starts. Some milliseconds later the kernel wakes the thread, with
    TIF_NOTIFY_SIGNAL but without a signal (io_ring_exit_work() of io_uring/io_uring.c).
    """
    parameters = ctypes.create_string_buffer(120)  # struct io_uring_params
    os.close(_io_uring_setup(SYS_IO_URING_SETUP, 1, parameters))


def _timespec(text):
    """now, omit, or seconds with a fraction of nine digits or none."""
    if text in ("now", "omit"):
        return 0, UTIME_NOW if text == "now" else UTIME_OMIT
    seconds, _, nanoseconds = text.partition(".")
    return int(seconds), int(nanoseconds or 0)


def utimensat(directory_fd, path, atime, mtime, follow=True):
    times = struct.pack("=4q", *_timespec(atime), *_timespec(mtime))
    _utimensat(directory_fd, os.fsencode(path), times, 0 if follow else AT_SYMLINK_NOFOLLOW)


def link_fd(fd, new):
    """Gives a name to an open file that was made with O_TMPFILE."""
    _linkat(AT_FDCWD, f"/proc/self/fd/{fd}".encode(), AT_FDCWD, os.fsencode(new), AT_SYMLINK_FOLLOW)


def handle_of(path):
    """name_to_handle_at(2): the handle of the file, as bytes."""
    buffer = ctypes.create_string_buffer(struct.pack("=Ii", MAX_HANDLE_SZ, 0), 8 + MAX_HANDLE_SZ)
    _name_to_handle_at(AT_FDCWD, os.fsencode(path), buffer, ctypes.byref(ctypes.c_int()), 0)
    return buffer.raw


@contextmanager
def opened_by_handle(mount, handle, flags=os.O_RDONLY):
    """As opened(), of a file on the same mount as the path @mount."""
    with opened(mount, os.O_RDONLY) as top:
        fd = _open_by_handle_at(top, handle, flags)
    try:
        yield fd
    finally:
        os.close(fd)


class Dirent(NamedTuple):
    """One entry as the kernel returns it. The cookie is the position after this entry."""

    ino: int
    cookie: int
    type: int
    name: str


def getdents_into(fd, address, size):
    """getdents64(2) into memory that the caller gives. Returns the number of bytes."""
    return _getdents64(fd, address, size)


def getdents(fd, size=32768):
    """One getdents64(2): a list of Dirent, empty at the end of the directory."""
    buffer = ctypes.create_string_buffer(size)
    length = _getdents64(fd, buffer, size)
    entries = []
    offset = 0
    while offset < length:
        ino, cookie, record, kind = struct.unpack_from("=QqHB", buffer, offset)
        name = buffer.raw[offset + 19 : offset + record].split(b"\0", 1)[0]
        entries.append(Dirent(ino, cookie, kind, os.fsdecode(name)))
        offset += record
    return entries


def list_directory(path, size=32768):
    """Every entry of the directory, "." and ".." included."""
    entries = []
    with opened(path, os.O_RDONLY | os.O_DIRECTORY) as fd:
        while more := getdents(fd, size):
            entries += more
    return entries


@contextmanager
def opened(path, flags=os.O_RDWR, mode=0o644):
    """A file descriptor that is closed at the end of the block."""
    fd = os.open(path, flags, mode)
    try:
        yield fd
    finally:
        os.close(fd)


def _free_place(length):
    """A multiple of 1 GiB with @length bytes of free address space."""
    hull = length + (1 << 30)
    address = _mmap(None, hull, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    _munmap(address, hull)
    return -(-address >> 30) << 30


class Mapping:
    """
    A shared mapping that does not keep a descriptor of its own, as Python's mmap does: it outlives its file's close.
    Touching it past the end of the file is SIGBUS, as in C.
    """

    def __init__(self, fd, length, offset=0, prot=PROT_READ | PROT_WRITE, flags=MAP_SHARED, skew=None):
        """@skew: bytes by which the address exceeds a multiple of 1 GiB."""
        self.length = length
        place = None
        if skew is not None:
            place = _free_place(length + skew) + skew
            flags |= MAP_FIXED
        self.address = _mmap(place, length, prot, flags, fd, offset)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.unmap()

    def unmap(self):
        if self.address is not None:
            _munmap(self.address, self.length)
            self.address = None

    def read(self, offset, length):
        assert 0 <= offset and offset + length <= self.length
        return ctypes.string_at(self.address + offset, length)

    def write(self, offset, data):
        assert 0 <= offset and offset + len(data) <= self.length
        ctypes.memmove(self.address + offset, bytes(data), len(data))

    def sync(self, flags=MS_SYNC):
        _msync(self.address, self.length, flags)

    def advise(self, advice, offset=0, length=None):
        _madvise(self.address + offset, self.length - offset if length is None else length, advice)

    def bind(self, mode, nodes):
        """mbind(2): @mode is a constant of linux/mempolicy.h, @nodes has one bit for each node."""
        mask = (ctypes.c_ulong * 1)(nodes)
        _mbind(SYS_MBIND, self.address, self.length, mode, mask, 65, 0)

    def protect(self, prot, offset=0, length=None):
        _mprotect(self.address + offset, self.length - offset if length is None else length, prot)

    def unmap_part(self, offset, length):
        """The rest stays mapped. The caller must not access the hole."""
        _munmap(self.address + offset, length)

    def resize(self, length):
        self.address = _mremap(self.address, self.length, length, MREMAP_MAYMOVE)
        self.length = length
