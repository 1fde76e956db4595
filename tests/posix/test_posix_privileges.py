# SPDX-License-Identifier: GPL-2.0-or-later
"""A file that is changed loses set-user-id, set-group-id and capabilities, as on tmpfs."""

import os
import struct
import subprocess

import pytest

from arena import ALICE, identity
from helpers.syscalls import opened

pytestmark = pytest.mark.page_sizes("4K")
CAPABILITY = "security.capability"
NET_RAW = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)  # linux/capability.h: cap_net_raw=ep


def _write(path):
    with opened(path, os.O_WRONLY) as fd:
        os.pwrite(fd, b"x", 0)


def _append(path):
    with opened(path, os.O_WRONLY | os.O_APPEND) as fd:
        os.write(fd, b"x" * 5000)


def _open_truncating(path):
    os.close(os.open(path, os.O_WRONLY | os.O_TRUNC))


def _allocate(path):
    with opened(path) as fd:
        os.posix_fallocate(fd, 0, 10000)


def _copy(path):
    with opened(path) as fd:
        os.copy_file_range(fd, fd, 1, 0, 4)


CHANGES = {
    "write": _write,
    "append": _append,
    "truncate": lambda path: os.truncate(path, 1),
    "open truncating": _open_truncating,
    "fallocate": _allocate,
    "copy_file_range": _copy,
    "chown": lambda path: os.chown(path, -1, ALICE),
    "touch": os.utime,
    "read": lambda path: path.read_bytes(),
}


def _outcome(root, mode, change, user):
    path = root / "program"
    path.write_bytes(b"12345")
    os.chown(path, ALICE, ALICE)
    os.chmod(path, mode)
    os.setxattr(path, CAPABILITY, NET_RAW)
    path.stat()  # the kernel knows it
    with identity(user):
        change(path)
    seen = oct(path.stat().st_mode & 0o7777), os.listxattr(path)
    path.unlink()
    return seen


@pytest.mark.parametrize("change", CHANGES)
def test_change_takes_privileges_as_on_tmpfs(fs, peer, change):
    for user in ("root", "alice"):
        for mode in (0o6755, 0o6745, 0o4755, 0o755):
            assert _outcome(fs.root, mode, CHANGES[change], user) == _outcome(peer, mode, CHANGES[change], user), (user, oct(mode))


def test_write_of_root_without_the_capability_takes_them(place):
    path = place / "program"
    path.write_bytes(b"12345")
    os.chmod(path, 0o6755)
    subprocess.run(["setpriv", "--bounding-set", "-fsetid", "sh", "-c", f"printf x 1<>{path}"], check=True)
    assert path.stat().st_mode & 0o7777 == 0o755
