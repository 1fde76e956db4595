# SPDX-License-Identifier: GPL-2.0-or-later
"""
How dmemfs deviates from tmpfs, each deviation with its reason. Both results are checked, so a deviation that has ended
must leave the table.
"""

import errno
import os
import shutil
import stat
import struct
import subprocess

import pytest

from helpers.mount import wait_until
from helpers.processes import state_of
from helpers.syscalls import opened

pytestmark = pytest.mark.page_sizes("4K")
PAST = 10**18


def _outcome(function, *arguments):
    """What the call returns, or the name of its error."""
    try:
        return function(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]


def _atime_after(action, path):
    os.utime(path, ns=(PAST, PAST), follow_symlinks=False)
    action(path)
    return "moves" if os.lstat(path).st_atime_ns != PAST else "stays"


def _reading(root):
    (root / "file").write_bytes(b"x")
    return _atime_after(lambda path: path.read_bytes(), root / "file")


def _listing(root):
    (root / "dir").mkdir()
    return _atime_after(os.listdir, root / "dir")


def _following(root):
    (root / "link").symlink_to("nowhere")
    return _atime_after(os.readlink, root / "link")


def _making_a_device(root):
    return _outcome(os.mknod, root / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))


def _setting_an_acl(root):
    (root / "file").touch()
    entries = ((1, 6, -1), (4, 4, -1), (32, 4, -1))  # as mode 0644
    acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
    return _outcome(os.setxattr, root / "file", "system.posix_acl_access", acl)


def _sizing_past_the_memory(root):
    (root / "file").touch()
    return _outcome(os.truncate, root / "file", 1 << 40)


def _sending_from_a_writing_descriptor(root):
    (root / "file").write_bytes(b"abc")
    with opened(root / "file") as source, opened(root / "copy", os.O_CREAT | os.O_RDWR) as target:
        return _outcome(os.sendfile, target, source, 0, 3)


NO_ATIME = "the daemon is not in the way of a read, and a record of each would cost more than it tells"
DEVIATIONS = {
    _reading: ("moves", "stays", NO_ATIME),
    _listing: ("moves", "stays", NO_ATIME),
    _following: ("moves", "stays", NO_ATIME),
    _making_a_device: (None, "EPERM", "files are the memory of guests: a device among them opens a hole for nothing"),
    _setting_an_acl: (None, "ENOTSUP", "owner and mode decide"),
    _sizing_past_the_memory: (None, "ENOSPC", "a size is a promise of memory: no SIGBUS later"),
    _sending_from_a_writing_descriptor: (3, "EINVAL", "the kernel would keep pages of the file that go stale"),
}


@pytest.mark.parametrize("probe", DEVIATIONS, ids=lambda probe: probe.__name__.strip("_"))
def test_deviation_is_as_it_is_known(fs, peer, probe):
    on_tmpfs, on_dmemfs, _ = DEVIATIONS[probe]
    subprocess.run(["mount", "-o", "remount,strictatime", peer], check=True)
    assert (probe(peer), probe(fs.root)) == (on_tmpfs, on_dmemfs)


def _writing_to_a_running_program(root):
    program = root / "program"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as running:
        try:
            wait_until(lambda: state_of(running.pid) == "S", "the program sleeps")
            return _outcome(lambda: os.close(os.open(program, os.O_WRONLY))), _outcome(os.truncate, program, 0)
        finally:
            running.kill()


@pytest.mark.memory_only("there, a program cannot be mapped: private mappings are refused")
def test_running_program_is_protected_as_on_tmpfs(fs, peer):
    """ETXTBSY, except on those kernels that did not have it."""
    assert _writing_to_a_running_program(fs.root) == _writing_to_a_running_program(peer)
