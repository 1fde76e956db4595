# SPDX-License-Identifier: GPL-2.0-or-later
"""Compound pages: regions of different kinds in one pool, and files and directories that choose among them."""

import errno
import os

import pytest

from helpers.children import Child
from helpers.daemon import DaemonError
from helpers.expect import refused
from helpers.mount import wait_until
from helpers.quota import limit, sized, used

PAGES, PAGE_SIZE = "dmemfs.pages", "dmemfs.page_size"
MIB, GIB = 1 << 20, 1 << 30
HALF = 128 * MIB  # a section of the kernel, which such regions are multiples of
PLACES = {"none": 8 * GIB, "2M": 16 * GIB}

pytestmark = [
    pytest.mark.memory_only("regions of the configuration are imaginary there, so each can be of any kind"),
    pytest.mark.page_sizes("2M"),
    pytest.mark.dmemfs(size=2 * HALF),
]


def configure(fs, kinds):
    """Regions of these kinds, each at its place; none: as the test found it. The daemon is stopped."""
    lines = [line for line in fs.daemon.config.read_text().splitlines(True) if not line.startswith("size=")]
    text = "".join(lines).split("[region", maxsplit=1)[0]
    for place, kind in kinds.items():
        text += f"[region {place}]\nstart={PLACES[place]}\nsize={HALF}\npages={kind}\n"
    fs.daemon.config.write_text(text if kinds else text.replace("[daemon]\n", f"[daemon]\nsize={2 * HALF}\n"))


@pytest.fixture
def mixed(fs):
    """Half of the memory is raw, half has compound pages of 2 MiB."""
    fs.daemon.stop()
    configure(fs, {"none": "none", "2M": "2M"})
    fs.daemon.start()
    return fs


def set_pages(path, kind):
    os.setxattr(path, PAGES, kind.encode())


def pages_of(path):
    return os.getxattr(path, PAGES).decode()


def kinds_of(fs, path):
    """Where its memory lies."""
    return {kind for run in fs.extents(path) for kind, start in PLACES.items() if start <= run.start < start + HALF}


def made(directory, kind=None):
    directory.mkdir()
    if kind:
        set_pages(directory, kind)
    return directory


def clear(fs):
    """Nothing is left, in the regions that @fs came with: its books are of one kind of memory."""
    for path in sorted(fs.root.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    # The kernel lets go of a removed file a little later. What it has not let go of is on record for the next daemon.
    wait_until(lambda: fs.stats()["free_bytes"] == fs.stats()["capacity_bytes"], "the memory of the removed files is free")
    fs.daemon.stop()
    configure(fs, {})
    fs.daemon.start()


def test_memory_is_of_the_kind_that_the_directory_says(mixed):
    for kind, directory in {"none": made(mixed / "raw", "none"), "2M": made(mixed / "paged", "2M"),
                            "2M ": made(mixed / "default")}.items():
        path = sized(directory / "file", 20 * MIB)
        assert (pages_of(directory), pages_of(path), kinds_of(mixed, path)) == (kind.strip(), kind.strip(), {kind.strip()})
    path = sized(mixed / "raw/large", HALF - 20 * MIB)
    refused(errno.ENOSPC, os.truncate, path, HALF - 18 * MIB)  # though there is memory of the other kind
    assert (f"wanted a size of {HALF - 18 * MIB} bytes, 0 are free in regions with pages=none, where the file gets memory, "
            f"and {HALF - 40 * MIB} in others") in mixed.daemon.log
    assert kinds_of(mixed, path) == {"none"}
    clear(mixed)


def test_kind_is_handed_down_and_kept(mixed):
    raw = made(mixed / "raw", "none")
    below = raw / "below" / "deep"
    below.mkdir(parents=True)
    path = sized(below / "file", 2 * MIB)
    assert (pages_of(below), pages_of(path)) == ("none", "none")
    os.removexattr(raw, PAGES)
    assert (pages_of(raw), pages_of(below)) == ("2M", "none")
    os.rename(path, mixed / "moved")
    os.truncate(mixed / "moved", 4 * MIB)
    assert kinds_of(mixed, mixed / "moved") == {"none"}
    clear(mixed)


def test_statfs_is_of_the_kind_of_the_place(mixed):
    raw = made(mixed / "raw", "none")
    sized(mixed / "file", 100 * MIB)
    for place, free in ((raw, HALF), (mixed.root, 28 * MIB)):
        figures = os.statvfs(place)
        assert (figures.f_blocks * figures.f_frsize, figures.f_bfree * figures.f_frsize) == (HALF, free)
    assert mixed.stats()["free_bytes"] == HALF + 28 * MIB
    clear(mixed)


def test_quota_counts_all_kinds(mixed):
    limit(mixed.root, max_bytes=100 * MIB)
    raw = made(mixed / "raw", "none")
    sized(raw / "file", 60 * MIB)
    path = sized(mixed / "file", 40 * MIB)
    assert used(mixed.root)[0] == 100 * MIB
    refused(errno.EDQUOT, os.truncate, path, 42 * MIB)
    limit(mixed.root, max_bytes=0)
    clear(mixed)


def test_unit_is_whole_compound_pages(mixed):
    small = made(mixed / "small")
    refused(errno.EINVAL, os.setxattr, small, PAGE_SIZE, b"4K")
    assert "do not go together: a file owns whole compound pages" in mixed.daemon.log
    set_pages(small, "none")
    os.setxattr(small, PAGE_SIZE, b"4K")
    refused(errno.EINVAL, os.setxattr, small, PAGES, b"2M")
    refused(errno.EINVAL, os.removexattr, small, PAGES)
    path = sized(small / "file", 1)
    assert (mixed.allocated(path), kinds_of(mixed, path)) == (4096, {"none"})
    clear(mixed)


def test_unit_of_the_time_without_pages_is_told_as_it_counts_now(mixed):
    """A directory had units of 4 KiB when regions were raw; files in it have whole compound pages by now."""
    mixed.daemon.stop()
    configure(mixed, {"none": "none", "2M": "none"})
    mixed.daemon.start()
    small = made(mixed / "small")
    os.setxattr(small, PAGE_SIZE, b"4K")
    assert (os.getxattr(small, PAGE_SIZE), os.statvfs(small).f_frsize) == (b"4K", 4096)
    mixed.daemon.stop()
    configure(mixed, {"none": "none", "2M": "2M"})
    mixed.daemon.start()
    path = sized(small / "file", 1)
    assert (mixed.allocated(path), kinds_of(mixed, path)) == (2 * MIB, {"2M"})
    assert (os.getxattr(small, PAGE_SIZE), os.statvfs(small).f_frsize) == (b"2M", 2 * MIB)
    set_pages(small, "none")
    assert (os.getxattr(small, PAGE_SIZE), os.statvfs(small).f_frsize) == (b"4K", 4096)
    clear(mixed)


def test_values(mixed):
    for text in ("", "0", "2m", "4K", "NONE", "1G,2M", "2M\0", "x" * 300):
        refused(errno.EINVAL, os.setxattr, mixed.root, PAGES, text.encode())
    refused(errno.ENODEV, os.setxattr, mixed.root, PAGES, b"1G")
    refused(errno.ENODATA, os.removexattr, mixed.root, PAGES)
    refused(errno.ENODATA, os.setxattr, mixed.root, PAGES, b"2M", os.XATTR_REPLACE)
    set_pages(mixed.root, "none\n")
    assert pages_of(mixed.root) == "none"
    refused(errno.EEXIST, os.setxattr, mixed.root, PAGES, b"2M", os.XATTR_CREATE)
    os.chmod(mixed.root, 0o777)
    with Child(lambda: refused(errno.EPERM, os.setxattr, mixed.root, PAGES, b"2M"), uid=1234) as child:
        child.wait()
    os.chmod(mixed.root, 0o755)
    os.removexattr(mixed.root, PAGES)
    clear(mixed)


def test_empty_file_can_change(mixed):
    path = sized(mixed / "file", 0)
    set_pages(path, "none")
    os.truncate(path, 2 * MIB)
    assert (pages_of(path), kinds_of(mixed, path)) == ("none", {"none"})
    refused(errno.EBUSY, os.setxattr, path, PAGES, b"2M")
    set_pages(path, "none")  # which it is
    os.truncate(path, 0)
    os.removexattr(path, PAGES)
    os.truncate(path, 2 * MIB)
    assert (pages_of(path), kinds_of(mixed, path)) == ("2M", {"2M"})
    clear(mixed)


@pytest.mark.parametrize("end", ("stop", "kill"))
def test_kinds_outlive_the_daemon(mixed, end):
    raw = made(mixed / "raw", "none")
    paths = {"none": sized(raw / "file", 4 * MIB), "2M": sized(mixed / "file", 4 * MIB)}
    empty = {"none": sized(raw / "empty", 0), "2M": sized(mixed / "empty", 0)}
    getattr(mixed.daemon, end)()
    mixed.daemon.next() if end == "kill" else mixed.daemon.start()
    assert pages_of(raw) == "none"
    for kind in ("none", "2M"):
        os.truncate(empty[kind], 2 * MIB)
        os.truncate(paths[kind], 6 * MIB)
        for path in (paths[kind], empty[kind]):
            assert (pages_of(path), kinds_of(mixed, path)) == (kind, {kind})
    clear(mixed)


def test_region_may_get_other_pages_that_fit_its_files(mixed):
    """As those of a host that is upgraded: what was raw has compound pages, and contents stay."""
    path = mixed / "raw/file"
    made(path.parent, "none")
    path.write_bytes(b"kept")
    mixed.daemon.stop()
    configure(mixed, {"none": "2M", "2M": "2M"})
    mixed.daemon.expected.append("had other compound pages")
    mixed.daemon.start()
    assert "1 files had other compound pages than their regions have now" in mixed.daemon.log
    assert (path.read_bytes(), pages_of(path)) == (b"kept", "2M")
    mixed.daemon.stop()
    mixed.daemon.start()
    assert mixed.daemon.log.count("other compound pages") == 1
    assert path.read_bytes() == b"kept"
    os.truncate(path, 4 * MIB)
    clear(mixed)


def test_region_does_not_get_pages_that_its_files_do_not_fit(mixed):
    small = made(mixed / "small", "none")
    os.setxattr(small, PAGE_SIZE, b"4K")
    (small / "file").write_bytes(b"kept")
    mixed.daemon.stop()
    configure(mixed, {"none": "2M", "2M": "2M"})
    mixed.daemon.expected.append("whole compound pages of its .region.")
    with pytest.raises(DaemonError, match="set pages= of the region to what it was"):
        mixed.daemon.start()
    configure(mixed, {"none": "none", "2M": "2M"})
    mixed.daemon.next()
    assert (small / "file").read_bytes() == b"kept"
    clear(mixed)
