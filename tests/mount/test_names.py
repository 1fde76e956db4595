# SPDX-License-Identifier: GPL-2.0-or-later
"""Names at their limits, odd bytes in them, and the kinds of file that are allowed or refused."""

import errno
import os
import socket
import stat

import pytest

from helpers.expect import refused
from helpers.syscalls import RENAME_NOREPLACE, opened, renameat2

pytestmark = pytest.mark.page_sizes("4K")

LONGEST = "n" * 255
TOO_LONG = "n" * 256


def test_name_of_255_bytes_works_everywhere(fs):
    path = fs.make_file(LONGEST, b"x")
    assert os.listdir(fs.root) == [LONGEST]
    os.link(path, fs / ("l" * 255))
    os.rename(path, fs / ("r" * 255))
    os.mkdir(fs / ("d" * 255))
    os.symlink("x", fs / ("s" * 255))
    assert len(os.listdir(fs.root)) == 4
    assert os.statvfs(fs.root).f_namemax == 255


def test_name_of_256_bytes_is_enametoolong_everywhere(fs):
    path = fs.make_file("file")
    long = fs / TOO_LONG
    refused(errno.ENAMETOOLONG, os.open, long, os.O_CREAT | os.O_RDWR)
    refused(errno.ENAMETOOLONG, os.stat, long)
    refused(errno.ENAMETOOLONG, os.mkdir, long)
    refused(errno.ENAMETOOLONG, os.symlink, "x", long)
    refused(errno.ENAMETOOLONG, os.link, path, long)
    refused(errno.ENAMETOOLONG, os.rename, path, long)
    refused(errno.ENAMETOOLONG, renameat2, path, long, RENAME_NOREPLACE)
    refused(errno.ENAMETOOLONG, os.rename, long, path)
    refused(errno.ENAMETOOLONG, os.unlink, long)
    refused(errno.ENAMETOOLONG, os.rmdir, long)
    refused(errno.ENAMETOOLONG, os.mkfifo, long)
    assert os.listdir(fs.root) == ["file"]


def test_path_longer_than_path_max_is_enametoolong(fs):
    refused(errno.ENAMETOOLONG, os.stat, f"{fs.root}/{'d/' * 2100}")


def test_any_bytes_but_slash_and_nul_make_a_name(fs):
    root = os.fsencode(fs.root)
    names = [bytes([byte]) for byte in range(1, 256) if byte not in b"/."]
    names += [b"\xff\xfe\x80", "ü€𐍈".encode(), b"...", b" x "]
    for name in names:
        with opened(root + b"/" + name, os.O_CREAT | os.O_EXCL | os.O_WRONLY):
            pass
    assert sorted(os.listdir(root)) == sorted(names)


def test_names_differ_by_case(fs):
    fs.make_file("a", b"lower")
    fs.make_file("A", b"upper")
    assert (fs / "a").read_bytes() == b"lower"


@pytest.mark.parametrize("kind", (stat.S_IFCHR, stat.S_IFBLK), ids=("character", "block"))
def test_devices_are_refused(fs, kind):
    refused(errno.EPERM, os.mknod, fs / "device", kind | 0o600, os.makedev(1, 3))
    assert os.listdir(fs.root) == []


def test_fifo_carries_bytes_and_holds_no_memory(fs):
    os.mkfifo(fs / "fifo", 0o600)
    assert stat.S_ISFIFO(os.stat(fs / "fifo").st_mode)
    with opened(fs / "fifo", os.O_RDWR) as fd:
        os.write(fd, b"through")
        assert os.read(fd, 10) == b"through"
    assert fs.free() == fs.capacity


def test_socket_can_be_bound_and_connected(fs, monkeypatch):
    monkeypatch.chdir(fs.root)  # sun_path holds 107 bytes
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        server.bind("socket")
        server.listen()
        client.connect("socket")
    assert stat.S_ISSOCK(os.stat(fs / "socket").st_mode)
    monkeypatch.undo()


def test_mknod_makes_a_regular_file(fs):
    os.mknod(fs / "file", stat.S_IFREG | 0o640)
    assert stat.S_ISREG(os.stat(fs / "file").st_mode)
    assert stat.S_IMODE(os.stat(fs / "file").st_mode) == 0o640
