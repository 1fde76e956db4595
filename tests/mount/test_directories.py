# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories: creation, removal, link counts, "." and "..", and listings while entries are added and removed."""

import errno
import os
import stat

import pytest

from helpers.effort import PROFILE
from helpers.expect import refused
from helpers.syscalls import getdents, list_directory, opened

pytestmark = pytest.mark.page_sizes("4K")

# Names are the daemon's affair, not the backend's: where the CPU is emulated, a few will do.
MANY = {"vm": 1_000, "quick": 10_000}.get(PROFILE, 100_000)


def test_mkdir_makes_an_empty_directory(fs):
    (fs / "dir").mkdir()
    assert os.listdir(fs / "dir") == []
    assert os.listdir(fs.root) == ["dir"]


def test_mkdir_over_any_name_is_eexist(fs):
    fs.make_file("file")
    (fs / "dir").mkdir()
    (fs / "dangling").symlink_to("nowhere")
    for name in ("file", "dir", "dangling"):
        refused(errno.EEXIST, os.mkdir, fs / name)


def test_rmdir_refuses_what_is_not_an_empty_directory(fs):
    (fs / "full" / "sub").mkdir(parents=True)
    fs.make_file("file")
    refused(errno.ENOTEMPTY, os.rmdir, fs / "full")
    refused(errno.ENOTDIR, os.rmdir, fs / "file")
    refused(errno.ENOENT, os.rmdir, fs / "none")
    assert (fs / "full" / "sub").is_dir()


def test_unlink_refuses_a_directory(fs):
    (fs / "dir").mkdir()
    refused(errno.EISDIR, os.unlink, fs / "dir")


def test_link_count_of_a_directory_is_two_and_its_subdirectories(fs):
    top = fs / "top"
    top.mkdir()
    for name in ("a", "b", "c"):
        (top / name).mkdir()
    fs.make_file("top/file")
    assert top.stat().st_nlink == 5
    (top / "b").rmdir()
    assert top.stat().st_nlink == 4
    os.rename(top / "c", fs / "c")
    assert top.stat().st_nlink == 3
    os.rename(fs / "c", top / "c")
    assert top.stat().st_nlink == 4


def test_dot_and_dotdot_name_the_directory_and_its_parent(fs):
    (fs / "a" / "b").mkdir(parents=True)

    def dots(path):
        return {entry.name: entry.ino for entry in list_directory(path) if entry.name in (".", "..")}

    assert dots(fs / "a" / "b") == {".": (fs / "a" / "b").stat().st_ino, "..": (fs / "a").stat().st_ino}
    os.rename(fs / "a" / "b", fs / "b")
    assert dots(fs / "b")[".."] == os.stat(fs.root).st_ino
    assert os.stat(fs / "b" / "..").st_ino == os.stat(fs.root).st_ino


def test_listing_has_inode_number_and_type_of_each_entry(fs):
    fs.make_file("file")
    (fs / "dir").mkdir()
    (fs / "link").symlink_to("file")
    os.mkfifo(fs / "fifo")
    for entry in list_directory(fs.root):
        if entry.name not in (".", ".."):
            status = os.lstat(fs / entry.name)
            assert entry.ino == status.st_ino
            assert entry.type == stat.S_IFMT(status.st_mode) >> 12


def test_removed_directory_that_is_open_takes_no_new_entry(fs):
    (fs / "dir").mkdir()
    with opened(fs / "dir", os.O_RDONLY) as fd:
        os.rmdir(fs / "dir")
        assert os.fstat(fd).st_nlink == 0
        refused(errno.ENOENT, os.open, "new", os.O_CREAT | os.O_RDWR, dir_fd=fd)
        refused(errno.ENOENT, os.mkdir, "new", dir_fd=fd)
        refused(errno.ENOENT, getdents, fd)


def test_deep_tree_works_to_the_bottom(fs):
    depth = 200
    with opened(fs.root, os.O_RDONLY) as top:
        fd = os.dup(top)
        for _ in range(depth):
            os.mkdir("d", dir_fd=fd)
            below = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)
    path = fs.root / "/".join(["d"] * depth)
    (path / "file").write_bytes(b"bottom")
    assert (path / "file").read_bytes() == b"bottom"


def test_listing_goes_on_after_a_seek_to_any_cookie(fs):
    for number in range(300):
        fs.make_file(f"file{number}")
    with opened(fs.root, os.O_RDONLY) as fd:
        entries = []
        while more := getdents(fd, 1024):
            entries += more
        for position in (0, 1, 2, 57, 299, 301):
            os.lseek(fd, entries[position].cookie, os.SEEK_SET)
            following = getdents(fd, 1024)
            assert [entry.name for entry in following] == [
                entry.name for entry in entries[position + 1 : position + 1 + len(following)]]
        os.lseek(fd, 0, os.SEEK_SET)
        assert getdents(fd, 1024)[0].name == entries[0].name


def test_rewound_listing_sees_what_changed(fs):
    fs.make_file("old")
    with opened(fs.root, os.O_RDONLY) as fd:
        getdents(fd)
        os.unlink(fs / "old")
        fs.make_file("new")
        os.lseek(fd, 0, os.SEEK_SET)
        assert {entry.name for entry in getdents(fd)} == {".", "..", "new"}


def test_entries_present_throughout_are_seen_exactly_once_while_others_come_and_go(fs):
    stay = {f"stay{number}" for number in range(500)}
    for name in sorted(stay):
        fs.make_file(name)
        fs.make_file(name.replace("stay", "go"))
    seen = []
    turn = 0
    with opened(fs.root, os.O_RDONLY) as fd:
        while more := getdents(fd, 1024):
            seen += [entry.name for entry in more]
            # Behind and before the reader: remove, make, and rename over an entry that stays out of it.
            for name in (f"go{turn}", f"go{499 - turn}"):
                if os.path.exists(fs / name):
                    os.unlink(fs / name)
            fs.make_file(f"new{turn}")
            if turn:
                os.rename(fs / f"new{turn - 1}", fs / f"moved{turn}")
            turn += 1
    assert turn > 20
    assert sorted(name for name in seen if name in stay) == sorted(stay)
    assert seen.count(".") == seen.count("..") == 1


def test_listing_ends_while_what_it_finds_is_renamed(fs):
    """
    Each entry is renamed away and back, and gets a new cookie. A listing that began before must not return it
    again.
    """
    names = {f"file{number}" for number in range(1000)}
    for name in names:
        fs.make_file(name)
    seen = []
    with os.scandir(fs.root) as entries:
        for entry in entries:
            seen.append(entry.name)
            assert len(seen) <= len(names), "the listing has entries that were made after it began"
            os.rename(fs / entry.name, fs / "away")
            os.rename(fs / "away", fs / entry.name)
    assert set(seen) == names == set(os.listdir(fs.root))


def test_entry_renamed_over_during_a_listing_is_seen_once(fs):
    for number in range(200):
        fs.make_file(f"file{number}")
    seen = []
    with opened(fs.root, os.O_RDONLY) as fd:
        while more := getdents(fd, 1024):
            seen += [entry.name for entry in more]
            fs.make_file("temporary", b"next version")
            os.rename(fs / "temporary", fs / "file150")
    assert seen.count("file150") == 1


@pytest.mark.timeout(180)
def test_one_directory_holds_many_files(fs):
    directory = fs / "many"
    directory.mkdir()
    with opened(directory, os.O_RDONLY) as fd:
        for number in range(MANY):
            os.mknod(f"{number:06}", 0o644 | stat.S_IFREG, dir_fd=fd)
    entries = list_directory(directory)
    names = [entry.name for entry in entries if entry.name not in (".", "..")]
    assert len(names) == MANY
    assert sorted(names) == [f"{number:06}" for number in range(MANY)]
    assert len({entry.ino for entry in entries}) == len(entries)
    assert fs.stats()["files"] == MANY
    # Removing while listing is what rm -r does.
    with opened(directory, os.O_RDONLY) as fd:
        while more := getdents(fd):
            for entry in more:
                if entry.name not in (".", ".."):
                    os.unlink(entry.name, dir_fd=fd)
    directory.rmdir()
