# SPDX-License-Identifier: GPL-2.0-or-later
"""Programs and system calls that move bytes in bulk: cp, dd, >>, sendfile, copy_file_range, splice, O_DIRECT."""

import ctypes
import errno
import mmap
import os
import subprocess

import pytest

from helpers.effort import IS_SHORT
from helpers.expect import refused, same_bytes
from helpers.syscalls import Mapping, opened

MIB = 1 << 20


@pytest.fixture
def content():
    return os.urandom(3 * MIB + 4097)


@pytest.fixture
def outside(work, content):
    """A file with the same content on another file system."""
    path = work / "outside"
    path.write_bytes(content)
    return path


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def send_all(target, source, count):
    """Calls sendfile(2) until @count bytes are sent. Returns how many were."""
    sent = 0
    while sent < count:
        step = os.sendfile(target, source, sent, count - sent)
        if step == 0:
            break
        sent += step
    return sent


def test_cp_in_within_and_out(fs, work, outside, content):
    run("cp", outside, fs / "in")
    run("cp", "--sparse=always", fs / "in", fs / "within")
    run("cp", "--preserve=all", fs / "within", work / "out")
    same_bytes((fs / "within").read_bytes(), content)
    same_bytes((work / "out").read_bytes(), content)
    run("cmp", fs / "in", outside)


def test_cp_of_a_tree_keeps_links_times_and_attributes(fs):
    (fs / "tree" / "sub").mkdir(parents=True)
    fs.make_file("tree/file", b"content")
    os.link(fs / "tree" / "file", fs / "tree" / "sub" / "hard")
    (fs / "tree" / "soft").symlink_to("file")
    os.setxattr(fs / "tree" / "file", "user.x", b"1")
    os.utime(fs / "tree" / "file", ns=(1, 123456789))
    run("cp", "-a", fs / "tree", fs / "copy")
    status = (fs / "copy" / "file").stat()
    assert status.st_ino == (fs / "copy" / "sub" / "hard").stat().st_ino
    assert status.st_mtime_ns == 123456789
    assert os.getxattr(fs / "copy" / "file", "user.x") == b"1"
    assert os.readlink(fs / "copy" / "soft") == "file"
    run("mv", fs / "copy", fs / "moved")
    run("rm", "-r", fs / "tree", fs / "moved")
    assert os.listdir(fs.root) == []


@pytest.mark.parametrize("block", ("4095", "1M") if IS_SHORT else ("512", "4095", "1M"))
def test_dd_writes_blocks_of_any_size(fs, work, outside, content, block):
    run("dd", f"if={outside}", f"of={fs / 'file'}", f"bs={block}", "status=none")
    same_bytes((fs / "file").read_bytes(), content)
    run("dd", f"if={fs / 'file'}", f"of={work / 'back'}", f"bs={block}", "status=none")
    same_bytes((work / "back").read_bytes(), content)


def test_dd_into_the_middle_leaves_the_rest(fs, outside, content):
    path = fs.make_file("file", b"o" * (5 * MIB))
    run("dd", f"if={outside}", f"of={path}", "bs=1M", "seek=1", "conv=notrunc", "status=none")
    same_bytes(path.read_bytes(), b"o" * MIB + content + b"o" * (5 * MIB - MIB - len(content)))


def test_shell_redirection_appends(fs):
    path = fs / "log"
    for word in ("one", "two", "three"):
        run("sh", "-c", f"echo {word} >> '{path}'")
    assert path.read_text() == "one\ntwo\nthree\n"


def test_sendfile_into_the_mount(fs, outside, content):
    with opened(outside, os.O_RDONLY) as source, opened(fs / "file", os.O_CREAT | os.O_WRONLY) as target:
        assert send_all(target, source, len(content)) == len(content)
    same_bytes((fs / "file").read_bytes(), content)


def test_sendfile_from_a_reading_descriptor_is_never_stale(fs, work):
    """sendfile sends the new bytes, however they were changed."""
    path = fs.make_file("file", b"0" * 16384)
    out = work / "out"

    def sent(source):
        with opened(out, os.O_CREAT | os.O_TRUNC | os.O_WRONLY) as target:
            send_all(target, source, 65536)
        return out.read_bytes()

    with opened(path, os.O_RDONLY) as reader, opened(path) as writer, Mapping(writer, 16384) as mapping:
        assert sent(reader) == b"0" * 16384
        os.pwrite(writer, b"1" * 16384, 0)
        assert sent(reader) == b"1" * 16384
        mapping.write(0, b"2" * 16384)
        assert sent(reader) == b"2" * 16384
        os.ftruncate(writer, 5000)
        assert sent(reader) == b"2" * 5000
        os.ftruncate(writer, 8192)
        assert sent(reader) == b"2" * 5000 + bytes(3192)


def test_sendfile_from_a_writing_descriptor_is_einval_rather_than_stale(fs, work):
    """A deviation: the bytes would come from a page cache that changes through mappings do not reach."""
    path = fs.make_file("file", b"0" * 8192)
    with opened(path) as source, opened(work / "out", os.O_CREAT | os.O_WRONLY) as target:
        refused(errno.EINVAL, os.sendfile, target, source, 0, 4096)
        os.pwrite(source, b"1" * 8192, 0)
        refused(errno.EINVAL, os.sendfile, target, source, 0, 4096)
        assert os.pread(source, 8192, 0) == b"1" * 8192
    assert (work / "out").read_bytes() == b""


def test_copy_file_range_within_the_mount(fs, content):
    source = fs.make_file("source", content)
    with opened(source, os.O_RDONLY) as reader, opened(fs / "target", os.O_CREAT | os.O_RDWR) as writer:
        done = 0
        while done < len(content):
            step = os.copy_file_range(reader, writer, len(content) - done, done, done)
            assert step > 0
            done += step
        assert os.copy_file_range(reader, writer, 100, len(content), len(content)) == 0
    same_bytes((fs / "target").read_bytes(), content)


def test_copy_file_range_sees_what_a_mapping_wrote(fs):
    source = fs.make_file("source", b"0" * 8192)
    with opened(source) as reader, opened(fs / "target", os.O_CREAT | os.O_RDWR) as writer:
        with Mapping(reader, 8192) as mapping:
            for turn in b"123":
                mapping.write(4000, bytes([turn]) * 200)
                assert os.copy_file_range(reader, writer, 8192, 0, 0) == 8192
                assert os.pread(writer, 8192, 0) == mapping.read(0, 8192)


def test_copy_file_range_within_one_file(fs, content):
    path = fs.make_file("file", content)
    with opened(path) as fd:
        assert os.copy_file_range(fd, fd, 100_000, 5, 2_000_000) == 100_000
        refused(errno.EINVAL, os.copy_file_range, fd, fd, 1000, 0, 500)
    same_bytes(path.read_bytes(), content[:2_000_000] + content[5:100_005] + content[2_100_000:])


def test_copy_file_range_into_a_shortage_copies_what_fits(fs):
    source = fs.make_file("source", b"s" * (2 * fs.unit))
    fs.make_file("big", size=fs.capacity - 3 * fs.unit)
    with opened(source, os.O_RDONLY) as reader, opened(fs / "target", os.O_CREAT | os.O_RDWR) as writer:
        assert os.copy_file_range(reader, writer, 2 * fs.unit, 0, 0) == fs.unit
        refused(errno.ENOSPC, os.copy_file_range, reader, writer, fs.unit, fs.unit, fs.unit)
        assert os.fstat(writer).st_size == fs.unit


def test_splice_through_a_pipe(fs):
    path = fs.make_file("file", b"abcdefgh" * 512)
    reading, writing = os.pipe()
    try:
        with opened(path, os.O_RDONLY) as source, opened(fs / "copy", os.O_CREAT | os.O_WRONLY) as target:
            assert os.splice(source, writing, 4096) == 4096
            assert os.splice(reading, target, 4096) == 4096
    finally:
        os.close(reading)
        os.close(writing)
    assert (fs / "copy").read_bytes() == b"abcdefgh" * 512


@pytest.mark.memory_only("reserved memory has no pages to pin, see the test of the laboratory")
def test_o_direct_reads_and_writes_aligned_blocks(fs):
    path = fs.make_file("file", b"0" * 16384)
    buffer = mmap.mmap(-1, 8192)
    buffer[:] = b"D" * 8192
    with opened(path, os.O_RDWR | os.O_DIRECT) as fd, opened(path, os.O_RDONLY | os.O_DIRECT) as reader:
        assert os.pwritev(fd, [buffer], 4096) == 8192
        buffer[:] = bytes(8192)
        assert os.preadv(fd, [buffer], 8192) == 8192
        assert buffer[:] == b"D" * 4096 + b"0" * 4096
        assert os.preadv(reader, [buffer], 0) == 8192
        assert buffer[:] == b"0" * 4096 + b"D" * 4096
        assert os.pwritev(fd, [buffer], 16384) == 8192
    assert path.stat().st_size == 24576


def test_read_into_a_mapping_of_the_same_file(fs, backend):
    """
    The buffer of the read is a mapping of the file that is read. The daemon's reply touches it, so the daemon must
    hold no lock while it replies.
    """
    path = fs.make_file("file", b"source" + bytes(4 * 4096 - 6))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.pread.argtypes = libc.pwrite.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int64)
    with opened(path) as fd, opened(path, os.O_RDONLY) as reader, Mapping(fd, 4 * 4096) as mapping:
        assert libc.pread(reader, mapping.address + 8192, 6, 0) == 6
        assert mapping.read(8192, 6) == b"source"
        if not backend.has_pages:
            # A deviation: a descriptor opened for writing has direct I/O, which pins the buffer.
            assert (libc.pread(fd, mapping.address + 4096, 6, 0), ctypes.get_errno()) == (-1, errno.EFAULT)
            assert (libc.pwrite(fd, mapping.address, 6, 12288), ctypes.get_errno()) == (-1, errno.EFAULT)
            return
        assert libc.pread(fd, mapping.address + 4096, 6, 0) == 6
        assert libc.pwrite(fd, mapping.address, 6, 12288) == 6
        for offset in (4096, 12288):
            assert mapping.read(offset, 6) == b"source"
