# SPDX-License-Identifier: GPL-2.0-or-later
"""Allocation units of several sizes in one pool: each directory sets its own."""

import errno
import os
import random

import pytest

from helpers.children import Child
from helpers.expect import refused
from helpers.quota import limit, sized, used
from helpers.syscalls import opened

PAGE_SIZE = "dmemfs.page_size"
UNITS = {"4K": 4096, "2M": 2 << 20, "1G": 1 << 30}


def set_unit(path, text):
    os.setxattr(path, PAGE_SIZE, text.encode())


def unit_of(path):
    return os.getxattr(path, PAGE_SIZE).decode()


@pytest.fixture
def sizes(fs, page_size):
    """{size: directory}, the one of the configuration and another one."""
    found = {page_size: fs.root}
    for text in {"4K", "2M"} - {page_size}:
        found[text] = fs / text
        found[text].mkdir()
        set_unit(found[text], text)
    return found


def expect_units(fs, path, text):
    for run in fs.extents(path):
        assert not any(number % UNITS[text] for number in run)


def test_each_file_takes_whole_units_of_its_directory(fs, sizes):
    for text, directory in sizes.items():
        path = sized(directory / "file", 1)
        assert (unit_of(path), fs.allocated(path)) == (text, UNITS[text])
        os.truncate(path, 2 * UNITS[text] + 1)
        assert fs.allocated(path) == 3 * UNITS[text]
        expect_units(fs, path, text)
        os.truncate(path, UNITS[text])
        assert fs.allocated(path) == UNITS[text]


def test_statfs_counts_in_units_of_the_place(fs, sizes):
    sized(sizes["4K"] / "file", 4096)
    for text, directory in sizes.items():
        figures = os.statvfs(directory)
        assert figures.f_bsize == figures.f_frsize == UNITS[text]
        assert figures.f_blocks == fs.capacity // UNITS[text]
    assert os.statvfs(sizes["4K"]).f_bfree == fs.capacity // 4096 - 1
    assert os.statvfs(sizes["2M"]).f_bfree == fs.capacity // (2 << 20) - 1  # one of them is broken


def test_unit_is_handed_down(fs, sizes):
    for text, directory in sizes.items():
        below = directory / "below" / "deep"
        below.mkdir(parents=True)
        assert unit_of(below) == text
        with opened(below, os.O_RDWR | os.O_TMPFILE) as fd:
            os.ftruncate(fd, 1)
            assert fs.allocated(fd) == UNITS[text]
    other = next(iter(set(sizes) - {unit_of(fs.root)}))
    path = sized(sizes[other] / "file", 1)
    os.removexattr(sizes[other], PAGE_SIZE)
    assert unit_of(sizes[other]) == unit_of(fs.root)
    assert unit_of(path) == other
    os.rename(path, fs / "moved")
    os.truncate(fs / "moved", UNITS[other] + 1)
    assert fs.allocated(fs / "moved") == 2 * UNITS[other]


@pytest.mark.page_sizes("4K")
def test_values(fs):
    for text in ("", "0", "1", "8K", "4k ", "2M\0", "4G", "2 M", "x" * 300):
        refused(errno.EINVAL, os.setxattr, fs.root, PAGE_SIZE, text.encode())
    refused(errno.ENODATA, os.removexattr, fs.root, PAGE_SIZE)
    refused(errno.ENODATA, os.setxattr, fs.root, PAGE_SIZE, b"2M", os.XATTR_REPLACE)
    for text in ("4096", "2m\n", "0x40000000", "4K"):
        set_unit(fs.root, text)
    assert unit_of(fs.root) == "4K"
    refused(errno.EEXIST, os.setxattr, fs.root, PAGE_SIZE, b"2M", os.XATTR_CREATE)
    refused(errno.ENOTDIR, os.setxattr, sized(fs / "file", 0), PAGE_SIZE, b"2M")
    os.chmod(fs.root, 0o777)
    with Child(lambda: refused(errno.EPERM, os.setxattr, fs.root, PAGE_SIZE, b"2M"), uid=1234) as child:
        child.wait()


@pytest.mark.parametrize("end", ("stop", "kill"))
def test_units_outlive_the_daemon(fs, sizes, end):
    paths = {text: sized(directory / "file", UNITS[text] + 1) for text, directory in sizes.items()}
    getattr(fs.daemon, end)()
    fs.daemon.next() if end == "kill" else fs.daemon.start()
    for text, path in paths.items():
        assert unit_of(path) == unit_of(path.parent) == text
        os.truncate(path, 2 * UNITS[text] + 1)
        assert fs.allocated(path) == 3 * UNITS[text]


def test_other_unit_in_the_configuration_is_for_new_files(fs, page_size):
    other = {"4K": "2M", "2M": "4K"}[page_size]
    path = sized(fs / "file", fs.unit + 1)
    fs.daemon.stop()
    text = fs.daemon.config.read_text()
    fs.daemon.config.write_text(text.replace(f"page-size={page_size}", f"page-size={other}"))
    fs.daemon.start()
    os.truncate(path, 2 * fs.unit + 1)
    assert fs.allocated(path) == 2 * fs.unit + 4096  # the smaller one, which fits what it had
    assert fs.allocated(sized(fs / "new", 1)) == UNITS[other]
    os.unlink(fs / "new")
    os.truncate(path, 0)
    os.unlink(path)
    fs.daemon.stop()
    fs.daemon.config.write_text(text)
    fs.daemon.start()


def test_quota_counts_units(fs, sizes):
    limit(fs.root, max_bytes=6 << 20)
    for text, directory in sizes.items():
        sized(directory / "file", 1)
    assert used(fs.root) == ((2 << 20) + 4096, 3)
    refused(errno.EDQUOT, os.truncate, sizes["2M"] / "file", (4 << 20) + 1)
    os.truncate(sizes["4K"] / "file", 4 << 20)
    limit(fs.root, max_bytes=0)


@pytest.mark.page_sizes("1G")
@pytest.mark.dmemfs(populate="false")
def test_gigabytes_beside_small_ones(fs):
    """Small files share one broken gigabyte. The other gigabytes stay whole."""
    for text in ("4K", "2M"):
        (fs / text).mkdir()
        set_unit(fs / text, text)
    chance = random.Random(1)
    for turn in range(200):
        small = fs / chance.choice(("4K", "2M")) / f"{turn % 20}"
        sized(small, chance.randrange(8 << 20))
    whole = fs.capacity - (1 << 30)
    path = sized(fs / "large", whole)
    assert fs.allocated(path) == whole
    refused(errno.ENOSPC, os.truncate, path, whole + 1)
    assert os.statvfs(fs.root).f_bfree == 0
    assert os.statvfs(fs / "2M").f_bfree > 0
    for text in ("4K", "2M"):
        for small in (fs / text).iterdir():
            expect_units(fs, small, text)
            small.unlink()
        (fs / text).rmdir()
