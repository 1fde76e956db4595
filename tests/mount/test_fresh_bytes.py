# SPDX-License-Identifier: GPL-2.0-or-later
"""A file never shows bytes of an earlier owner of its memory, nor bytes that were beyond its end."""

import os

import pytest

from helpers.expect import same_bytes
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, Mapping, fallocate, opened

SECRET = b"\xa5"
UNITS = 8


def holds_only_zeros(path):
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            if chunk.count(0) != len(chunk):
                return False
    return True


@pytest.mark.dmemfs(size=16 << 20)
def test_new_file_in_used_memory_reads_zero(fs):
    for _ in range(3):
        old = fs.make_file("old", SECRET * fs.capacity)
        os.unlink(old)
        new = fs.make_file("new", size=fs.capacity)
        assert holds_only_zeros(new)
        with opened(new) as fd, Mapping(fd, fs.capacity) as mapping:
            mapping.write(0, SECRET * fs.capacity)
        os.unlink(new)


@pytest.mark.parametrize("cut", (0, 1, 100, 4095, 4096, 4097))
def test_bytes_cut_off_are_zero_when_the_file_grows_back(fs, cut):
    path = fs.make_file("file", SECRET * (UNITS * fs.unit))
    os.truncate(path, cut)
    os.truncate(path, UNITS * fs.unit)
    same_bytes(path.read_bytes(), SECRET * cut + bytes(UNITS * fs.unit - cut))


@pytest.mark.parametrize("grow", ("truncate", "write", "append", "fallocate"))
@pytest.mark.parametrize("size", (1, 100, 4000, 4095))
def test_bytes_that_a_mapping_left_past_the_end_never_show(fs, grow, size):
    """The last page is mapped as a whole, so a process can write past the end of the file."""
    path = fs.make_file("file", SECRET * size)
    with opened(path) as fd, Mapping(fd, 4096) as mapping:
        mapping.write(0, SECRET * 4096)
        if grow == "truncate":
            os.ftruncate(fd, 4096)
        elif grow == "write":
            os.pwrite(fd, b"\0", 4095)
        elif grow == "append":
            with opened(path, os.O_WRONLY | os.O_APPEND) as appender:
                os.write(appender, bytes(4096 - size))
        else:
            fallocate(fd, 0, 0, 4096)
        expected = SECRET * size + bytes(4096 - size)
        same_bytes(mapping.read(0, 4096), expected)
        same_bytes(os.pread(fd, 8192, 0), expected)


def test_page_dirtied_past_the_end_is_clean_after_shrink_and_growth(fs):
    path = fs.make_file("file", SECRET * (2 * fs.unit))
    with opened(path) as fd, Mapping(fd, 2 * fs.unit) as mapping:
        os.ftruncate(fd, 1000)
        mapping.write(0, SECRET * 4096)
        os.ftruncate(fd, 500)
        mapping.write(0, SECRET * 4096)
        os.ftruncate(fd, 2 * fs.unit)
        same_bytes(mapping.read(0, 2 * fs.unit), SECRET * 500 + bytes(2 * fs.unit - 500))


def test_kept_memory_is_zero_when_the_file_grows_into_it(fs):
    path = fs.make_file("file", SECRET * (4 * fs.unit))
    with opened(path) as fd:
        os.ftruncate(fd, 10)
        fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4 * fs.unit)
        os.pwrite(fd, SECRET, 2 * fs.unit)
        os.ftruncate(fd, 4 * fs.unit)
    expected = SECRET * 10 + bytes(2 * fs.unit - 10) + SECRET + bytes(2 * fs.unit - 1)
    same_bytes(path.read_bytes(), expected)


def test_gap_that_a_seek_leaves_is_zero_even_in_used_memory(fs):
    path = fs.make_file("file", SECRET * (4 * fs.unit))
    os.truncate(path, 0)
    with opened(path) as fd:
        os.pwrite(fd, SECRET, 3 * fs.unit)
    same_bytes(path.read_bytes(), bytes(3 * fs.unit) + SECRET)
