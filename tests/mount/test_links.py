# SPDX-License-Identifier: GPL-2.0-or-later
"""Hard links, symbolic links, files without a name, and files that lose their last name while in use."""

import errno
import os

import pytest

from helpers.expect import refused
from helpers.mount import wait_until
from helpers.syscalls import Mapping, link_fd, opened

pytestmark = pytest.mark.page_sizes("4K")


def test_hard_links_are_one_file(fs):
    first = fs.make_file("first", b"content")
    os.link(first, fs / "second")
    assert first.stat().st_ino == (fs / "second").stat().st_ino
    assert first.stat().st_nlink == 2
    (fs / "second").write_bytes(b"changed")
    assert first.read_bytes() == b"changed"
    os.unlink(first)
    assert (fs / "second").stat().st_nlink == 1
    assert (fs / "second").read_bytes() == b"changed"


def test_link_refuses_existing_names_and_directories(fs):
    path = fs.make_file("file")
    (fs / "dir").mkdir()
    refused(errno.EEXIST, os.link, path, path)
    refused(errno.EEXIST, os.link, path, fs / "dir")
    refused(errno.EPERM, os.link, fs / "dir", fs / "other")
    refused(errno.ENOENT, os.link, fs / "none", fs / "other")


def test_link_to_another_file_system_is_exdev(fs, work):
    refused(errno.EXDEV, os.link, fs.make_file("file"), work / "outside")


def test_symlink_keeps_its_text_whatever_it_says(fs):
    for number, target in enumerate(("file", "../..", "/", "no such file", "x" * 4095, "täst\n\x01")):
        link = fs / f"link{number}"
        link.symlink_to(target)
        assert os.readlink(link) == target
        assert os.lstat(link).st_size == len(os.fsencode(target))


def test_symlink_too_long_or_empty_is_refused(fs):
    refused(errno.ENAMETOOLONG, os.symlink, "x" * 4096, fs / "link")
    refused(errno.ENOENT, os.symlink, "", fs / "link")


def test_symlink_to_itself_is_eloop(fs):
    (fs / "loop").symlink_to("loop")
    refused(errno.ELOOP, os.open, fs / "loop", os.O_RDONLY)


def test_readlink_of_a_file_is_einval(fs):
    refused(errno.EINVAL, os.readlink, fs.make_file("file"))


def test_hard_link_to_a_symlink_is_the_symlink(fs):
    (fs / "link").symlink_to("target")
    os.link(fs / "link", fs / "again", follow_symlinks=False)
    assert os.readlink(fs / "again") == "target"
    assert os.lstat(fs / "link").st_nlink == 2


def test_unlinked_file_lives_until_its_last_close(fs):
    path = fs.make_file("file", b"still here")
    with opened(path) as fd:
        os.unlink(path)
        assert os.fstat(fd).st_nlink == 0
        assert not path.exists()
        os.pwrite(fd, b"STILL", 0)
        os.ftruncate(fd, 4 * fs.unit)
        assert os.pread(fd, 10, 0) == b"STILL here"
        assert fs.free() == fs.capacity - 4 * fs.unit
    assert fs.wait_free(fs.capacity) == fs.capacity


def test_name_of_an_unlinked_open_file_can_be_used_again(fs):
    path = fs.make_file("file", b"old")
    with opened(path) as fd:
        os.unlink(path)
        fs.make_file("file", b"new")
        assert os.pread(fd, 10, 0) == b"old"
        assert path.read_bytes() == b"new"
        assert path.stat().st_ino != os.fstat(fd).st_ino


def test_inode_numbers_are_never_used_twice(fs):
    seen = set()
    for _ in range(200):
        path = fs.make_file("file")
        seen.add(path.stat().st_ino)
        os.unlink(path)
    assert len(seen) == 200


def test_unlinked_file_lives_while_it_is_mapped(fs):
    """Only the mapping is left of it. No other file may get its memory."""
    path = fs.make_file("file", b"m" * fs.unit)
    with opened(path) as fd:
        mapping = Mapping(fd, fs.unit)
    os.unlink(path)
    with mapping:
        others = fs.make_file("others", size=fs.capacity - fs.unit)
        with opened(others) as fd:
            os.pwrite(fd, b"o" * fs.unit, 0)
            os.pwrite(fd, b"o" * fs.unit, fs.capacity - 2 * fs.unit)
        refused(errno.ENOSPC, os.truncate, fs.make_file("more"), fs.unit)
        assert mapping.read(0, fs.unit) == b"m" * fs.unit
        mapping.write(0, b"w")
        assert fs.free() == 0
    assert fs.wait_free(fs.unit) == fs.unit


def test_o_tmpfile_has_no_name_until_it_is_linked(fs):
    with opened(fs.root, os.O_TMPFILE | os.O_RDWR, 0o600) as fd:
        assert os.fstat(fd).st_nlink == 0
        assert os.listdir(fs.root) == []
        os.write(fd, b"content")
        link_fd(fd, fs / "named")
        assert os.fstat(fd).st_nlink == 1
    assert (fs / "named").read_bytes() == b"content"
    assert (fs / "named").stat().st_mode & 0o7777 == 0o600


def test_o_tmpfile_with_o_excl_can_never_be_linked(fs):
    with opened(fs.root, os.O_TMPFILE | os.O_RDWR | os.O_EXCL) as fd:
        refused(errno.ENOENT, link_fd, fd, fs / "named")


def test_o_tmpfile_never_linked_gives_its_memory_back(fs):
    with opened(fs.root, os.O_TMPFILE | os.O_RDWR) as fd:
        os.ftruncate(fd, 8 * fs.unit)
        assert fs.free() == fs.capacity - 8 * fs.unit
        with Mapping(fd, fs.unit) as mapping:
            mapping.write(0, b"works")
            assert os.pread(fd, 5, 0) == b"works"
    assert fs.wait_free(fs.capacity) == fs.capacity
    assert fs.stats()["inodes"] == 1


def test_file_that_lost_its_last_name_is_not_linked_again(fs):
    path = fs.make_file("file")
    with opened(path) as fd:
        os.unlink(path)
        refused(errno.ENOENT, link_fd, fd, fs / "back")


@pytest.mark.memory_only("reaches the memory of a removed file through tmpfs")
def test_memory_of_a_removed_file_is_pending_while_somebody_reaches_it(fs):
    path = fs.make_file("file", size=4 * fs.unit)
    with opened(fs.backend.object_path(path.stat().st_ino)) as fd:
        behind = Mapping(fd, 4 * fs.unit)
    with behind:
        os.unlink(path)
        wait_until(lambda: fs.stats()["pending_bytes"] == 4 * fs.unit, "the memory is pending")
        assert fs.free() == fs.capacity - 4 * fs.unit
        refused(errno.ENOSPC, os.truncate, fs.make_file("all"), fs.capacity)
    assert fs.wait_free(fs.capacity) == fs.capacity
    os.truncate(fs / "all", fs.capacity)


def removed_bytes(fs):
    return fs.stats()["removed_bytes"]


def test_memory_of_a_removed_file_that_is_mapped_is_counted(fs):
    """Apart from that of files with a name."""
    fs.make_file("stays", size=fs.unit)
    path = fs.make_file("file", size=4 * fs.unit)
    os.link(path, fs / "other")
    with opened(path) as fd:
        mapping = Mapping(fd, fs.unit)
    with mapping:
        path.unlink()
        assert removed_bytes(fs) == 0
        (fs / "other").unlink()
        stats = fs.stats()
        assert (stats["removed_bytes"], stats["allocated_bytes"], stats["pending_bytes"]) == (4 * fs.unit, 5 * fs.unit, 0)
    wait_until(lambda: removed_bytes(fs) == 0, "it is not counted any more")
    assert fs.wait_free(fs.capacity - fs.unit) == fs.capacity - fs.unit


def test_memory_of_open_files_without_a_name_is_counted(fs):
    replaced, other = fs.make_file("replaced", size=2 * fs.unit), fs.make_file("other", size=fs.unit)
    with opened(replaced), opened(fs.root, os.O_TMPFILE | os.O_RDWR) as fd:
        os.rename(other, replaced)
        assert removed_bytes(fs) == 2 * fs.unit
        os.ftruncate(fd, 8 * fs.unit)
        assert removed_bytes(fs) == 10 * fs.unit
        link_fd(fd, fs / "named")
        assert removed_bytes(fs) == 2 * fs.unit
    wait_until(lambda: removed_bytes(fs) == 0, "it is not counted any more")


def test_memory_of_a_removed_file_is_counted_by_the_next_daemon(kept):
    path = kept.make_file("file", size=3 * kept.unit)
    kept.make_file("stays", size=kept.unit)
    with opened(path):
        path.unlink()
        kept.daemon.kill()
        kept.daemon.take_over()
        assert removed_bytes(kept) == 3 * kept.unit
    wait_until(lambda: removed_bytes(kept) == 0, "it is not counted any more")
