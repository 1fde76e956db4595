# SPDX-License-Identifier: GPL-2.0-or-later
"""A dmemfs with bind mounts is one file system."""

import json

import pytest

pytestmark = pytest.mark.page_sizes("2M")

@pytest.fixture
def after(fs, in_namespace):
    (fs / "tenant").mkdir()
    fs.make_file("tenant/vm1", size=fs.unit)
    return in_namespace


MOUNTS = {
    "none": "",
    "whole": 'mount --bind "$ROOT" "$PLACE"',
    "part": 'mount --bind "$ROOT/tenant" "$PLACE"',
    "over-itself": 'mount --bind "$ROOT" "$ROOT"',
    "several": 'mount --bind "$ROOT/tenant" "$PLACE"; mount --bind "$ROOT" "$PLACE"; mount --bind "$ROOT" "$ROOT/tenant"',
}


@pytest.mark.parametrize("commands", MOUNTS.values(), ids=MOUNTS.keys())
def test_dmemfs_with_bind_mounts_is_one(after, fs, commands):
    ctl = after(commands)
    (mount,) = ctl.json("status")["mounts"]
    assert (mount["mountpoint"], mount["pid"]) == (str(fs.root), fs.daemon.pid)
    assert ctl.json("ls")["mountpoint"] == str(fs.root)
    findings = json.loads(ctl.run("doctor", "--json", "--config", fs.daemon.config).stdout)["findings"]
    (finding,) = [finding for finding in findings if finding["check"] == "daemon"]
    assert finding["text"].startswith(f"{fs.root}: served by")


def test_bind_mount_that_is_named(after, fs):
    ctl = after('mount --bind "$ROOT" "$PLACE"')
    result = ctl.json("ls", after.place / "tenant")
    assert result["mountpoint"] == str(after.place)
    assert [file["path"] for file in result["files"]] == ["tenant/vm1"]


def test_bind_mount_of_a_directory_stands_for_all(after, fs):
    ctl = after('mount --bind "$ROOT/tenant" "$PLACE"')
    (mount,) = ctl.json("status", after.place)["mounts"]
    assert (mount["mountpoint"], mount["pid"]) == (str(fs.root), fs.daemon.pid)
    assert ctl.json("extents", after.place / "vm1") == {**ctl.json("extents", fs / "tenant/vm1"), "file": str(after.place / "vm1")}


def test_container_that_sees_a_directory_only(after):
    ctl = after('mount --bind "$ROOT/tenant" "$PLACE"; umount -l "$ROOT"')
    for arguments in (["status"], ["status", after.place], ["ls"]):
        ctl.fails(*arguments, says=[f"{after.place}: is a bind mount of a part of a dmemfs", "outside of the container"])


def test_bind_mount_that_remains(after, fs):
    ctl = after('mount --bind "$ROOT" "$PLACE"; umount -l "$ROOT"')
    (mount,) = ctl.json("status")["mounts"]
    assert (mount["mountpoint"], mount["pid"]) == (str(after.place), fs.daemon.pid)
