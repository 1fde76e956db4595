# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsctl doctor and files of libvirt's guests that would keep their memory after a power failure."""

import json
import os
import shlex
import subprocess

import pytest

from helpers.control import Control

pytestmark = pytest.mark.page_sizes("4K")
NAME = "dmemfs.lost_contents"


@pytest.fixture
def notes(ctl, fs, work):
    """notes(directory): what doctor says where this directory is libvirt's memory_backing_dir, without what is in order."""
    etc = work / "etc"
    (etc / "libvirt").mkdir(parents=True)
    program = work / "dmemfsctl-with-libvirt"
    script = f'mount --bind {shlex.quote(str(etc))} /etc; exec {shlex.quote(str(ctl.program))} "$@"'
    program.write_text(f'#!/bin/sh\nexec unshare --mount --propagation private sh -ec {shlex.quote(script)} sh "$@"\n')
    program.chmod(0o755)

    def ask(directory):
        (etc / "libvirt" / "qemu.conf").write_text(f'memory_backing_dir = "{directory}"\n')
        done = Control(program, work).run("doctor", "--json", "--config", fs.daemon.config)
        return [finding for finding in json.loads(done.stdout)["findings"]
                if finding["check"] == "libvirt" and finding["level"] != "ok"]

    return ask


def settings(path):
    return {name: os.getxattr(name, NAME) for name in [path, *path.rglob("*")]}


@pytest.mark.parametrize("name", [".", "guests; of 'libvirt'"])
def test_remedy_for_a_directory_that_libvirt_has_not_used(notes, fs, name):
    """Other files in the directory are not libvirt's."""
    guests = fs / name
    guests.mkdir(exist_ok=True)
    (guests / "others").mkdir()
    (guests / "others" / "vm1").write_bytes(b"x")
    (note,) = notes(guests)
    assert note["level"] == "note" and f"{NAME} of {guests} is zero" in note["text"]
    subprocess.run(["sh", "-ec", note["remedy"].removeprefix("run ")], check=True)
    assert notes(guests) == []
    assert {path: value for path, value in settings(guests).items() if value == b"remove"} == {
        guests / "libvirt": b"remove", guests / "libvirt" / "qemu": b"remove"}


def test_remedy_reaches_what_libvirt_has_made(notes, fs):
    """A setting of memory_backing_dir is too late for the directories of guests, which are those of libvirt's."""
    (fs / "libvirt" / "qemu" / "1-guest").mkdir(parents=True)
    fs.make_file("libvirt/qemu/1-guest/pc.ram", b"x")
    os.mkfifo(fs / "libvirt" / "qemu" / "fifo")
    fs.make_file("other", b"x")
    os.setxattr(fs.root, NAME, b"remove")
    (note,) = notes(fs.root)
    assert f"{NAME} of {fs.root}/libvirt/qemu is zero" in note["text"]
    assert f"setfattr -h -n {NAME} -v remove" in note["remedy"]
    subprocess.run(["sh", "-ec", note["remedy"].removeprefix("run ")], check=True)
    assert notes(fs.root) == []
    os.unlink(fs / "libvirt" / "qemu" / "fifo")
    assert set(settings(fs / "libvirt").values()) == {b"remove"}
    assert os.getxattr(fs / "other", NAME) == b"zero"


@pytest.mark.dmemfs(lost_contents="remove")
def test_files_that_are_removed_anyway(notes, fs):
    (fs / "guests").mkdir()
    assert notes(fs / "guests") == []
