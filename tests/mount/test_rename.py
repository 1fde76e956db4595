# SPDX-License-Identifier: GPL-2.0-or-later
"""rename(2) and its flags: which entry replaces which, and which renames are refused."""

import errno
import os

import pytest

from helpers.expect import fails_with, refused
from helpers.syscalls import RENAME_EXCHANGE, RENAME_NOREPLACE, RENAME_WHITEOUT, opened, renameat2

pytestmark = pytest.mark.page_sizes("4K")


@pytest.fixture
def tree(fs):
    """file and other contain their names; dir is empty; full contains full/inner."""
    for name in ("file", "other"):
        fs.make_file(name, name.encode())
    (fs / "dir").mkdir()
    (fs / "full").mkdir()
    fs.make_file("full/inner", b"inner")
    return fs


def test_rename_moves_a_file_with_its_inode(tree):
    ino = (tree / "file").stat().st_ino
    os.rename(tree / "file", tree / "dir" / "moved")
    assert not (tree / "file").exists()
    assert (tree / "dir" / "moved").stat().st_ino == ino
    assert (tree / "dir" / "moved").read_bytes() == b"file"


def test_rename_over_a_file_replaces_and_frees_it(tree):
    os.truncate(tree / "other", 10 * tree.unit)
    os.rename(tree / "file", tree / "other")
    assert (tree / "other").read_bytes() == b"file"
    assert tree.wait_free(tree.capacity - 2 * tree.unit) == tree.capacity - 2 * tree.unit


def test_rename_over_an_open_file_leaves_the_open_one_alone(tree):
    with opened(tree / "other") as fd:
        os.rename(tree / "file", tree / "other")
        assert os.pread(fd, 10, 0) == b"other"
        assert os.fstat(fd).st_nlink == 0


def test_rename_over_an_empty_directory_replaces_it(tree):
    os.rename(tree / "full", tree / "dir")
    assert os.listdir(tree / "dir") == ["inner"]
    assert os.stat(tree.root).st_nlink == 3


def test_rename_refuses_a_full_directory_and_mixed_kinds(tree):
    with fails_with(errno.ENOTEMPTY, errno.EEXIST):
        os.rename(tree / "dir", tree / "full")
    refused(errno.EISDIR, os.rename, tree / "file", tree / "dir")
    refused(errno.ENOTDIR, os.rename, tree / "dir", tree / "file")
    refused(errno.ENOENT, os.rename, tree / "none", tree / "file")
    assert (tree / "file").read_bytes() == b"file"


def test_rename_onto_itself_or_its_own_link_does_nothing(tree):
    os.rename(tree / "file", tree / "file")
    os.link(tree / "file", tree / "link")
    os.rename(tree / "file", tree / "link")
    assert (tree / "file").stat().st_nlink == 2
    assert (tree / "file").read_bytes() == (tree / "link").read_bytes() == b"file"


def test_rename_into_its_own_subtree_is_einval(tree):
    (tree / "full" / "sub").mkdir()
    refused(errno.EINVAL, os.rename, tree / "full", tree / "full" / "new")
    refused(errno.EINVAL, os.rename, tree / "full", tree / "full" / "sub" / "new")
    with fails_with(errno.ENOTEMPTY, errno.EEXIST, errno.EINVAL):
        os.rename(tree / "full" / "sub", tree / "full")


def test_exchange_with_its_own_subtree_is_einval(tree):
    refused(errno.EINVAL, renameat2, tree / "full", tree / "full" / "inner", RENAME_EXCHANGE)
    refused(errno.EINVAL, renameat2, tree / "full" / "inner", tree / "full", RENAME_EXCHANGE)


def test_noreplace_refuses_any_existing_name(tree):
    (tree / "dangling").symlink_to("nowhere")
    for name in ("other", "dir", "dangling", "file"):
        refused(errno.EEXIST, renameat2, tree / "file", tree / name, RENAME_NOREPLACE)
    renameat2(tree / "file", tree / "free", RENAME_NOREPLACE)
    assert (tree / "free").read_bytes() == b"file"


def test_exchange_swaps_two_files(tree):
    before = (tree / "file").stat().st_ino, (tree / "full" / "inner").stat().st_ino
    renameat2(tree / "file", tree / "full" / "inner", RENAME_EXCHANGE)
    assert ((tree / "full" / "inner").stat().st_ino, (tree / "file").stat().st_ino) == before
    assert (tree / "file").read_bytes() == b"inner"


def test_exchange_of_a_file_and_a_directory_moves_the_link_counts(tree):
    (tree / "full" / "sub").mkdir()
    renameat2(tree / "file", tree / "full" / "sub", RENAME_EXCHANGE)
    assert (tree / "file").is_dir()
    assert (tree / "full" / "sub").read_bytes() == b"file"
    assert (tree / "full").stat().st_nlink == 2
    assert os.stat(tree.root).st_nlink == 5
    assert os.stat(tree / "file" / "..").st_ino == os.stat(tree.root).st_ino


def test_exchange_needs_both_names(tree):
    refused(errno.ENOENT, renameat2, tree / "file", tree / "none", RENAME_EXCHANGE)
    refused(errno.ENOENT, renameat2, tree / "none", tree / "file", RENAME_EXCHANGE)
    assert (tree / "file").read_bytes() == b"file"


def test_other_flags_are_einval(tree):
    refused(errno.EINVAL, renameat2, tree / "file", tree / "x", RENAME_NOREPLACE | RENAME_EXCHANGE)
    with fails_with(errno.EINVAL, errno.EPERM):
        renameat2(tree / "file", tree / "x", RENAME_WHITEOUT)
    refused(errno.EINVAL, renameat2, tree / "file", tree / "x", 1 << 10)
    assert (tree / "file").read_bytes() == b"file"


def test_renamed_directory_keeps_its_children_reachable(tree):
    with opened(tree / "full", os.O_RDONLY) as fd:
        os.rename(tree / "full", tree / "dir" / "deeper")
        with opened(tree / "dir" / "deeper" / "inner") as inner:
            assert os.read(inner, 10) == b"inner"
        assert os.stat("inner", dir_fd=fd).st_size == 5


def test_rename_out_of_the_mount_is_exdev(tree, work):
    refused(errno.EXDEV, os.rename, tree / "file", work / "outside")
