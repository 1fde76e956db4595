# SPDX-License-Identifier: GPL-2.0-or-later
"""Regular files: create, open with each flag that matters, read, write, unlink."""

import errno
import fcntl
import os

import pytest

from helpers.children import Child, in_child
from helpers.expect import refused
from helpers.syscalls import opened

pytestmark = pytest.mark.page_sizes("4K")


def test_root_is_an_empty_directory(fs):
    status = os.stat(fs.root)
    assert status.st_ino == 1
    assert os.path.ismount(fs.root)
    assert os.listdir(fs.root) == []


def test_new_file_is_empty_and_holds_no_memory(fs):
    path = fs.make_file("new")
    assert path.stat().st_size == 0
    assert fs.extents(path) == []
    assert fs.free() == fs.capacity


def test_bytes_come_back(fs):
    content = os.urandom(3 * 65536 + 17)
    path = fs.make_file("file", content)
    assert path.stat().st_size == len(content)
    assert path.read_bytes() == content


def test_reads_at_any_offset_stop_at_the_end(fs):
    path = fs.make_file("file", bytes(range(256)) * 40)
    with opened(path, os.O_RDONLY) as fd:
        assert os.pread(fd, 5, 255) == bytes([255, 0, 1, 2, 3])
        assert os.pread(fd, 4096, 10236) == bytes([252, 253, 254, 255])
        assert os.pread(fd, 4096, 10240) == b""
        assert os.pread(fd, 4096, 1 << 40) == b""


def test_missing_file_is_enoent(fs):
    refused(errno.ENOENT, os.open, fs / "none", os.O_RDWR)
    refused(errno.ENOENT, os.stat, fs / "none")
    refused(errno.ENOENT, os.unlink, fs / "none")
    refused(errno.ENOENT, os.open, fs / "no" / "dir", os.O_CREAT | os.O_RDWR)


def test_file_in_place_of_a_directory_is_enotdir(fs):
    path = fs.make_file("file")
    refused(errno.ENOTDIR, os.open, path / "below", os.O_CREAT | os.O_RDWR)
    refused(errno.ENOTDIR, os.open, path, os.O_RDONLY | os.O_DIRECTORY)


def test_o_excl_refuses_an_existing_name_of_any_kind(fs):
    fs.make_file("file", b"kept")
    (fs / "dir").mkdir()
    (fs / "dangling").symlink_to("nowhere")
    for name in ("file", "dir", "dangling"):
        refused(errno.EEXIST, os.open, fs / name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
    assert (fs / "file").read_bytes() == b"kept"
    assert not os.path.lexists(fs / "nowhere")


def test_o_creat_opens_an_existing_file_as_it_is(fs):
    path = fs.make_file("file", b"old")
    os.chmod(path, 0o600)
    with opened(path, os.O_CREAT | os.O_RDWR, 0o777) as fd:
        assert os.read(fd, 10) == b"old"
    assert path.stat().st_mode & 0o7777 == 0o600


def test_o_creat_through_a_dangling_symlink_makes_the_target(fs):
    (fs / "link").symlink_to("target")
    with opened(fs / "link", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"through")
    assert (fs / "target").read_bytes() == b"through"


def test_o_nofollow_refuses_a_symlink(fs):
    fs.make_file("file")
    (fs / "link").symlink_to("file")
    refused(errno.ELOOP, os.open, fs / "link", os.O_RDONLY | os.O_NOFOLLOW)


def test_o_trunc_empties_and_frees(fs):
    path = fs.make_file("file", b"x" * (3 * fs.unit))
    with opened(path, os.O_RDWR | os.O_TRUNC) as fd:
        assert os.fstat(fd).st_size == 0
        assert fs.extents(fd) == []
    assert fs.free() == fs.capacity


def test_o_append_writes_at_the_end_of_the_moment(fs):
    path = fs.make_file("file", b"one")
    with opened(path, os.O_WRONLY | os.O_APPEND) as first, opened(path, os.O_WRONLY | os.O_APPEND) as second:
        os.write(first, b"two")
        os.write(second, b"three")
        os.write(first, b"four")
    assert path.read_bytes() == b"onetwothreefour"


def test_appends_of_many_processes_do_not_overwrite_each_other(fs):
    path = fs.make_file("log")
    records, length = 200, 37

    def append(letter):
        with opened(path, os.O_WRONLY | os.O_APPEND) as fd:
            for _ in range(records):
                os.write(fd, letter * length)

    writers = [Child(append, letter) for letter in (b"a", b"b", b"c", b"d")]
    for writer in writers:
        writer.wait()
    content = path.read_bytes()
    assert len(content) == 4 * records * length
    for start in range(0, len(content), length):
        assert len(set(content[start : start + length])) == 1


def test_write_past_the_end_leaves_zeros_between(fs):
    path = fs.make_file("file", b"head")
    with opened(path) as fd:
        os.pwrite(fd, b"tail", 3 * fs.unit + 5)
    assert path.read_bytes() == b"head" + bytes(3 * fs.unit + 1) + b"tail"


def test_write_of_zero_bytes_changes_nothing(fs):
    path = fs.make_file("file", b"abc")
    with opened(path) as fd:
        assert os.pwrite(fd, b"", 1 << 20) == 0
    assert path.stat().st_size == 3


def test_access_mode_of_the_descriptor_counts(fs):
    path = fs.make_file("file", b"abc")
    with opened(path, os.O_RDONLY) as fd:
        refused(errno.EBADF, os.write, fd, b"x")
        refused(errno.EINVAL, os.ftruncate, fd, 0)
    with opened(path, os.O_WRONLY) as fd:
        refused(errno.EBADF, os.read, fd, 1)
        assert os.write(fd, b"xyz") == 3
    assert path.read_bytes() == b"xyz"


def test_every_descriptor_sees_the_writes_of_the_others_at_once(fs):
    path = fs.make_file("file", b"0" * 8192)
    with opened(path, os.O_RDONLY) as reader, opened(path, os.O_RDWR) as both, opened(path, os.O_WRONLY) as writer:
        for turn in range(20):
            data = bytes([turn]) * 4096
            os.pwrite(writer if turn % 2 else both, data, 4096 * (turn % 3))
            assert os.pread(reader, 4096, 4096 * (turn % 3)) == data
            assert os.pread(both, 4096, 4096 * (turn % 3)) == data


def test_vectored_io_is_one_transfer(fs):
    path = fs.make_file("file")
    with opened(path) as fd:
        assert os.pwritev(fd, [b"abc", b"", b"defgh"], 4094) == 8
        parts = [bytearray(4), bytearray(10)]
        assert os.preadv(fd, parts, 4092) == 10
    assert bytes(parts[0] + parts[1][:6]) == b"\0\0abcdefgh"


def test_directory_cannot_be_opened_for_writing_or_read_as_a_file(fs):
    (fs / "dir").mkdir()
    refused(errno.EISDIR, os.open, fs / "dir", os.O_RDWR)
    refused(errno.EISDIR, os.truncate, fs / "dir", 0)
    with opened(fs / "dir", os.O_RDONLY) as fd:
        refused(errno.EISDIR, os.read, fd, 1)


def test_fsync_and_fdatasync_succeed(fs):
    path = fs.make_file("file", b"abc")
    with opened(path) as fd:
        os.fsync(fd)
        os.fdatasync(fd)
    with opened(fs.root, os.O_RDONLY) as fd:
        os.fsync(fd)


def test_flock_excludes_another_process(fs):
    path = fs.make_file("file")

    def try_lock():
        with opened(path) as fd:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    with opened(path) as fd:
        fcntl.flock(fd, fcntl.LOCK_EX)
        refused(errno.EAGAIN, in_child, try_lock)
    in_child(try_lock)


def test_record_lock_excludes_another_process(fs):
    path = fs.make_file("file")

    def try_lock(start):
        with opened(path) as fd:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, start)

    with opened(path) as fd:
        fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
        refused(errno.EAGAIN, in_child, try_lock, 5)
        in_child(try_lock, 10)
