# SPDX-License-Identifier: GPL-2.0-or-later
"""
The module is replaced while the daemon is stopped: names, attributes and bytes stay. While a guest maps a file this is
refused.
"""

import os
import re
import subprocess

import pytest

from device import PATH
from helpers.children import Child
from helpers.snapshot import snapshot
from helpers.syscalls import Mapping, opened
from mount.test_durable import furnish, record_times
from test_module import iomem_of_dmemfs, load, unload, unloaded

MIB = 1 << 20


def stop(daemon):
    assert daemon.unmount() is None
    assert daemon.wait() == 0


def replace_module():
    status, said = unload()
    assert status == 0, said
    assert not os.path.exists(PATH) and iomem_of_dmemfs() == []
    load()


@pytest.mark.page_sizes("4K", "2M")
def test_everything_is_kept(fs, daemon):
    furnish(fs.root, fs.unit)
    record_times(fs.root)
    before = snapshot(fs.root)
    stop(daemon)
    replace_module()
    daemon.next()
    assert snapshot(fs.root) == before


@pytest.mark.page_sizes("2M")
def test_again_and_again(fs, daemon):
    """Each new module and daemon finds what the ones before wrote."""
    for number in range(5):
        fs.make_file(f"file{number}", f"round {number}".encode(), size=3 * MIB)
        stop(daemon)
        replace_module()
        daemon.next()
        for older in range(number + 1):
            assert (fs / f"file{older}").read_bytes().rstrip(b"\0") == f"round {older}".encode()


@pytest.mark.page_sizes("2M")
def test_after_a_crash_of_the_daemon(fs, daemon):
    """The daemon was killed. No process uses a file."""
    path = fs.make_file("file", b"bytes")
    daemon.kill()
    subprocess.run(["umount", "--lazy", fs.root], check=True)
    replace_module()
    daemon.next()
    assert path.read_bytes() == b"bytes"


@pytest.mark.page_sizes("2M")
def test_refused_while_a_daemon_runs(fs, daemon):
    status, said = unload()
    assert status and re.search(r"dmemfs is in use", said)
    assert os.statvfs(fs.root).f_blocks > 0


@pytest.mark.page_sizes("4K", "2M")
def test_refused_while_a_guest_maps_a_file(fs, daemon):
    """
    The module cannot be unloaded although the daemon is stopped. The guest goes on; when it has ended, the upgrade
    succeeds.
    """
    path = fs.make_file("vm1", size=2 * MIB)

    def guest(pipe):
        with opened(path) as fd:
            mapping = Mapping(fd, 2 * MIB)
        mapping.write(0, b"before")
        pipe.send("mapped")
        pipe.recv()
        mapping.write(MIB, b"after")
        assert mapping.read(0, 6) == b"before"

    with Child(guest, with_pipe=True) as child:
        child.receive()
        daemon.kill()
        subprocess.run(["umount", "--lazy", fs.root], check=True)
        status, said = unload()
        assert status and re.search(r"dmemfs is in use", said)
        child.pipe.send("go on")
        child.wait()
    replace_module()
    daemon.next()
    contents = path.read_bytes()
    assert (contents[:6], contents[MIB : MIB + 5]) == (b"before", b"after")


@pytest.mark.page_sizes("2M")
@pytest.mark.expect_log("the contents are lost: others have used the memory since|keep their names and sizes")
def test_stale_bytes_are_never_shown(fs, daemon, reserved):
    """The memory may have been used while no module was loaded. The copy of the mark in /run shows whether it was."""
    path = fs.make_file("file", b"x" * MIB)
    stop(daemon)
    with unloaded():
        os.unlink("/run/dmemfs/mark")
    daemon.next()
    assert path.read_bytes() == bytes(MIB)
