# SPDX-License-Identifier: GPL-2.0-or-later
"""ls, status and doctor show processes that map files since before the daemon was stopped or died: by a mount that is gone."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager

import pytest

from helpers.children import Child
from helpers.control import DONE, FOUND
from helpers.daemon import Daemon
from helpers.syscalls import Mapping, opened

pytestmark = pytest.mark.page_sizes("2M")


@contextmanager
def guest(*paths, size):
    """A process that maps the files and holds no descriptor. Yields its pid, and a function that reads a byte of the first."""

    def work(pipe):
        mappings = []
        for path in paths:
            with opened(path) as fd:
                mappings.append(Mapping(fd, size, skew=0))
            mappings[-1].write(0, b"g")
        pipe.send(os.getpid())
        while pipe.recv() == "read":
            pipe.send(mappings[0].read(0, 1))

    with Child(work, with_pipe=True) as child:

        def read():
            child.pipe.send("read")
            return child.receive()

        yield child.receive(), read
        child.pipe.send("end")
        child.wait()


def stop(daemon):
    """As systemctl stop, while files are in use."""
    daemon.process.terminate()
    daemon.wait()
    daemon.process = None


def kill(daemon):
    """The next daemon finds the dead mount."""
    daemon.kill()
    daemon.process = None


def users(ctl, root):
    """{file: [(pid, is it by an earlier mount)]}"""
    return {file["path"] or file["last_path"]: [(user["pid"], user["earlier_mount"]) for user in file["mapped_by"]]
            for file in ctl.json("ls", root)["files"]}


def problems(ctl, fs, pid):
    done = ctl.run("doctor", "--json", "--config", fs.daemon.config)
    assert done.returncode in (DONE, FOUND), done
    return [finding for finding in json.loads(done.stdout)["findings"]
            if finding["check"] == "mappings" and f"({pid})" in finding["text"] and "earlier mount" in finding["text"]]


@pytest.mark.parametrize("end", [stop, kill])
def test_guest_of_an_earlier_mount(ctl, fs, end):
    path = fs.make_file("vm1", size=fs.unit)
    with guest(path, size=fs.unit) as (early, read):
        assert users(ctl, fs.root) == {"vm1": [(early, False)]}
        end(fs.daemon)
        fs.daemon.start()
        assert users(ctl, fs.root) == {"vm1": [(early, True)]}
        with guest(path, size=fs.unit) as (late, _):
            assert dict(users(ctl, fs.root)["vm1"]) == {early: True, late: False}
            (status,) = ctl.json("status", fs.root)["mounts"]
            assert (status["mapping_processes"], status["earlier_mount_processes"]) == (2, 1)
        text = ctl.text("ls", fs.root)
        assert re.search(rf" vm1 +python3?[\d.]*\({early}\), by an earlier mount$", text, re.MULTILINE)
        assert ", mapped by 1 process\n  1 of them by an earlier mount: see dmemfsctl doctor\n" in ctl.text("status", fs.root)
        (finding,) = problems(ctl, fs, early)
        assert finding["level"] == "problem" and "maps vm1 by an earlier mount" in finding["text"]
        assert "do not truncate vm1, and do not give it to another guest" in finding["remedy"]
        # What the finding says: the memory is the same.
        with open(path, "r+b", buffering=0) as file:
            assert file.read(1) == b"g"
            file.seek(0)
            file.write(b"l")
        assert read() == b"l"
        end(fs.daemon)
        fs.daemon.start()
        assert users(ctl, fs.root) == {"vm1": [(early, True)]}  # also after the second time
    assert users(ctl, fs.root) == {"vm1": []}
    assert problems(ctl, fs, early) == [] and "earlier mount" not in ctl.text("status", fs.root)


def test_files_that_were_removed_or_renamed(ctl, fs):
    before, after, renamed = (fs.make_file(name, size=fs.unit) for name in ("before", "after", "renamed"))
    with guest(renamed, before, after, size=fs.unit) as (pid, read):
        before.unlink()
        stop(fs.daemon)
        fs.daemon.start()
        after.unlink()
        renamed.rename(fs / "other")
        assert users(ctl, fs.root) == {"other": [(pid, True)], str(before): [(pid, True)], str(after): [(pid, True)]}
        assert str(before) in ctl.text("status", fs.root)
        found = {finding["text"].split(" maps ")[1].split()[0]: finding["remedy"] for finding in problems(ctl, fs, pid)}
        assert found.keys() == {"other", str(before), str(after)}
        assert "the memory comes back when this process ends" in found[str(after)]
        # What the finding says: nobody else gets it meanwhile.
        assert fs.stats()["pending_bytes"] >= fs.unit and read() == b"g"
    fs.wait_free(fs.capacity - fs.unit)
    assert fs.free() == fs.capacity - fs.unit and fs.stats()["pending_bytes"] == 0


def test_mount_that_was_taken_over_is_the_same(ctl, kept):
    path = kept.make_file("vm1", size=kept.unit)
    with guest(path, size=kept.unit) as (pid, _):
        kept.daemon.kill()
        kept.daemon.take_over()
        assert users(ctl, kept.root) == {"vm1": [(pid, False)]}


@pytest.mark.memory_only("two daemons at a time")
def test_file_of_another_dmemfs(ctl, fs):
    """It has the same name and the same number there, and that mount is gone, too."""
    path = fs.make_file("vm1", size=fs.unit)
    work = fs.daemon.work / "other"
    work.mkdir()
    keys = {"backend": "memory", "size": "8M", "memory-dir": tempfile.mkdtemp(dir="/dev/shm")}
    other = Daemon(fs.daemon.program, work, keys).start()
    with open(other.mountpoint / "vm1", "wb") as file:
        file.truncate(fs.unit)
    assert os.stat(other.mountpoint / "vm1").st_ino == os.stat(path).st_ino
    with guest(path, size=fs.unit) as (pid, _), guest(other.mountpoint / "vm1", size=fs.unit) as (foreign, _):
        stop(fs.daemon)
        stop(other)
        fs.daemon.start()
        assert users(ctl, fs.root) == {"vm1": [(pid, True)]}
        assert problems(ctl, fs, foreign) == []
    shutil.rmtree(keys["memory-dir"])


# Takes a mount namespace whose mounts do not go when those of the host go.
CONTAINED = """
import ctypes, mmap, os, sys
libc = ctypes.CDLL(None)
assert libc.unshare(0x20000) == 0 and libc.mount(b"none", b"/", None, 0x44000, None) == 0
with open(sys.argv[1], "r+b") as file:
    kept = mmap.mmap(file.fileno(), 0)
print(flush=True)
sys.stdin.read()
"""


@pytest.mark.memory_only("mounts: the backend makes no difference")
def test_guest_in_a_container_that_has_kept_the_mount(ctl, fs):
    path = fs.make_file("vm1", size=fs.unit)
    with subprocess.Popen([sys.executable, "-c", CONTAINED, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"\n"
            stop(fs.daemon)
            fs.daemon.start()
            assert users(ctl, fs.root) == {"vm1": [(child.pid, True)]}
        finally:
            child.kill()
