# SPDX-License-Identifier: GPL-2.0-or-later
"""
Extended attributes: those that users store, and the virtual ones by which the file system reports and is configured.
"""

import ctypes
import errno
import os
import struct

import pytest

from helpers.children import Child
from helpers.expect import fails_with, refused
from helpers.syscalls import opened

pytestmark = pytest.mark.page_sizes("4K")

NAMESPACES = ("user", "trusted", "security")


@pytest.fixture
def path(fs):
    return fs.make_file("file")


@pytest.mark.parametrize("space", NAMESPACES)
def test_attribute_is_set_read_listed_and_removed(path, space):
    name = f"{space}.test"
    os.setxattr(path, name, b"value\0with\xffbytes")
    assert os.getxattr(path, name) == b"value\0with\xffbytes"
    assert os.listxattr(path) == [name]
    os.removexattr(path, name)
    refused(errno.ENODATA, os.getxattr, path, name)
    refused(errno.ENODATA, os.removexattr, path, name)
    assert os.listxattr(path) == []


def test_directories_have_attributes_too(fs):
    (fs / "dir").mkdir()
    os.setxattr(fs / "dir", "user.x", b"1")
    os.setxattr(fs.root, "user.x", b"2")
    assert os.getxattr(fs / "dir", "user.x") == b"1"
    assert os.getxattr(fs.root, "user.x") == b"2"


def test_symlink_takes_no_user_attribute_but_a_trusted_one(fs):
    (fs / "link").symlink_to("x")
    refused(errno.EPERM, os.setxattr, fs / "link", "user.x", b"1", follow_symlinks=False)
    os.setxattr(fs / "link", "trusted.x", b"1", follow_symlinks=False)
    assert os.getxattr(fs / "link", "trusted.x", follow_symlinks=False) == b"1"


def test_attributes_belong_to_the_file_and_not_to_the_name(fs, path):
    os.setxattr(path, "user.x", b"1")
    os.link(path, fs / "link")
    os.rename(path, fs / "moved")
    assert os.getxattr(fs / "link", "user.x") == b"1"
    with opened(fs / "moved") as fd:
        os.unlink(fs / "moved")
        os.unlink(fs / "link")
        os.setxattr(fd, "user.x", b"2")
        assert os.getxattr(fd, "user.x") == b"2"


def test_new_value_replaces_the_old(path):
    for value in (b"short", b"a longer value", b"", b"x"):
        os.setxattr(path, "user.x", value)
        assert os.getxattr(path, "user.x") == value
        assert os.listxattr(path) == ["user.x"]


def test_create_and_replace_flags(path):
    refused(errno.ENODATA, os.setxattr, path, "user.x", b"1", os.XATTR_REPLACE)
    os.setxattr(path, "user.x", b"1", os.XATTR_CREATE)
    refused(errno.EEXIST, os.setxattr, path, "user.x", b"2", os.XATTR_CREATE)
    os.setxattr(path, "user.x", b"3", os.XATTR_REPLACE)
    assert os.getxattr(path, "user.x") == b"3"


def test_value_of_64_kib_fits_and_more_is_e2big(path):
    value = os.urandom(65536)
    os.setxattr(path, "user.x", value)
    assert os.getxattr(path, "user.x") == value
    refused(errno.E2BIG, os.setxattr, path, "user.y", bytes(65537))


def test_names_and_values_of_a_file_are_bounded(path):
    with fails_with(errno.ENOSPC, errno.EDQUOT):
        for number in range(1000):
            os.setxattr(path, f"user.{number}", bytes(32768))
    assert 1 <= len(os.listxattr(path)) < 1000
    for name in os.listxattr(path):
        os.removexattr(path, name)
    os.setxattr(path, "user.again", bytes(32768))


def test_name_limits(path):
    longest = "user." + "n" * 250
    os.setxattr(path, longest, b"1")
    assert os.listxattr(path) == [longest]
    with fails_with(errno.ERANGE):
        os.setxattr(path, longest + "n", b"1")
    with fails_with(errno.EINVAL, errno.EOPNOTSUPP):
        os.setxattr(path, "user.", b"1")


def test_buffer_too_small_is_erange_and_size_zero_asks(path):
    libc = ctypes.CDLL(None, use_errno=True)
    os.setxattr(path, "user.x", b"0123456789")
    buffer = ctypes.create_string_buffer(64)
    name = os.fsencode(path)
    assert libc.getxattr(name, b"user.x", None, 0) == 10
    assert libc.getxattr(name, b"user.x", buffer, 9) == -1
    assert ctypes.get_errno() == errno.ERANGE
    assert libc.getxattr(name, b"user.x", buffer, 10) == 10
    assert libc.listxattr(name, None, 0) == len("user.x") + 1
    assert libc.listxattr(name, buffer, 3) == -1
    assert ctypes.get_errno() == errno.ERANGE


def test_many_attributes_are_all_listed(path):
    names = {f"user.attribute{number}" for number in range(300)}
    for name in names:
        os.setxattr(path, name, name.encode())
    assert set(os.listxattr(path)) == names
    assert all(os.getxattr(path, name) == name.encode() for name in names)


def test_other_namespaces_are_eopnotsupp(path):
    for name in ("nonsense", "system.nonsense", "other.x"):
        refused(errno.EOPNOTSUPP, os.setxattr, path, name, b"1")


def test_posix_acls_are_eopnotsupp(path):
    # linux/posix_acl_xattr.h: version 2, then (tag, permission, id): user, group, mask, other and user 1234
    nobody = 0xFFFFFFFF
    entries = ((0x01, 6, nobody), (0x02, 7, 1234), (0x04, 4, nobody), (0x10, 7, nobody), (0x20, 4, nobody))
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    refused(errno.EOPNOTSUPP, os.setxattr, path, "system.posix_acl_access", acl)
    with fails_with(errno.EOPNOTSUPP, errno.ENODATA):
        os.getxattr(path, "system.posix_acl_access")
    assert path.stat().st_mode & 0o777 == 0o644


def test_virtual_extents_add_up_to_the_memory_of_the_file(fs, path):
    os.truncate(path, 5 * fs.unit + 1)
    runs = fs.extents(path)
    assert sum(run.length for run in runs) == 6 * fs.unit
    assert runs[0].offset == 0


@pytest.mark.memory_only("takes thousands of files")
def test_virtual_extents_in_parts(fs):
    """
    A file has more runs than fit into one attribute, because every other unit of the memory belongs to another
    file.
    """
    count = 64 * 1024 // len("1234567 1234567 4096")
    for number in range(2 * count):
        os.truncate(fs.make_file(f"{number}"), fs.unit)
    for number in range(0, 2 * count, 2):
        os.unlink(fs / f"{number}")
    fs.wait_free(fs.capacity - count * fs.unit)
    fs.make_file("rest", size=fs.free() - count * fs.unit)
    os.truncate(fs.make_file("file"), count * fs.unit)
    refused(errno.E2BIG, os.getxattr, fs / "file", "dmemfs.extents")
    end, parts = 0, 0
    while text := os.getxattr(fs / "file", f"dmemfs.extents@{end}").decode():
        parts += 1
        for line in text.splitlines():
            offset, _, length = map(int, line.split())
            assert offset == end
            end += length
    assert end == count * fs.unit and parts == 2
    refused(errno.ENODATA, os.getxattr, fs / "file", "dmemfs.extents@x")
    os.unlink(fs / "file")


def test_virtual_stats_have_every_key(fs):
    stats = fs.stats()
    assert {"capacity_bytes", "free_bytes", "allocated_bytes", "pending_bytes", "files", "directories",
            "inodes"} <= set(stats)
    assert stats["capacity_bytes"] == stats["free_bytes"] == fs.capacity
    assert (stats["files"], stats["directories"], stats["inodes"]) == (0, 1, 1)


def test_virtual_regions_and_daemon(fs, path):
    os.truncate(path, 3 * fs.unit)
    lines = [line.split() for line in os.getxattr(fs.root, "dmemfs.regions").decode().splitlines()]
    regions = [tuple(map(int, line[:4])) for line in lines]
    assert sum(length for _, length, _, _ in regions) == fs.capacity
    assert sum(free for _, _, free, _ in regions) == fs.capacity - 3 * fs.unit
    assert all(start <= run.start and run.start + run.length <= start + length
               for start, length, _, _ in regions for run in fs.extents(path))
    kernel = "unmapped" if fs.backend.name == "pfn" else "mapped"
    assert [line[4:] for line in lines] == [["none", kernel]] * len(regions)
    said = dict(line.split(" ", 1) for line in os.getxattr(fs.root, "dmemfs.daemon").decode().splitlines())
    assert said.keys() == {"version", "pid", "backend", "state_dir"}
    assert (said["pid"], said["state_dir"]) == (str(fs.daemon.pid), str(fs.daemon.state_dir))


def test_addresses_are_for_root_only(fs, path):
    os.truncate(path, fs.unit)
    attributes = ((path, "dmemfs.extents"), (path, "dmemfs.extents@0"), (path, "dmemfs.poison"), (fs.root, "dmemfs.regions"),
                  (fs.root, "dmemfs.pinned"), (fs.root, "dmemfs.lent"))
    for target, name in attributes:
        assert os.getxattr(target, f"trusted.{name}") == os.getxattr(target, name)

    def user():
        for target, name in attributes:
            refused(errno.EPERM, os.getxattr, target, name)
            refused(errno.ENODATA, os.getxattr, target, f"trusted.{name}")
        assert int(os.getxattr(path, "dmemfs.node_bytes").split()[1]) == fs.unit

    with Child(user, uid=1234) as child:
        child.wait()


def test_virtual_attributes_are_read_only_and_not_listed(fs, path):
    for target, name in ((path, "dmemfs.extents"), (fs.root, "dmemfs.stats")):
        with fails_with(errno.EPERM, errno.EACCES):
            os.setxattr(target, name, b"1")
        with fails_with(errno.EPERM, errno.EACCES):
            os.removexattr(target, name)
        assert os.listxattr(target) == []


def test_virtual_attribute_in_the_wrong_place_is_enodata(fs, path):
    for name in ("dmemfs.stats", "dmemfs.regions", "dmemfs.pinned", "dmemfs.lent", "dmemfs.daemon"):
        refused(errno.ENODATA, os.getxattr, path, name)
    refused(errno.ENODATA, os.getxattr, fs.root, "dmemfs.extents")
    with fails_with(errno.ENODATA, errno.EOPNOTSUPP):
        os.getxattr(path, "dmemfs.nonsense")
