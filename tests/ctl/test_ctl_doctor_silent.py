# SPDX-License-Identifier: GPL-2.0-or-later
"""No command waits for ever for the server of a FUSE or of a network that does not answer."""

import json
import shlex

import pytest

from helpers.control import DAEMON

pytestmark = pytest.mark.page_sizes("2M")
SILENT = 'silent fuse.dmemfs "$PLACE"'
HIDDEN = 'mkdir -p "$PLACE/mnt"; mount --bind "$ROOT" "$PLACE/mnt"; umount -l "$ROOT"; silent fuse.silent "$PLACE"'


def findings(ctl, config, check):
    found = json.loads(ctl.run("doctor", "--json", "--config", config).stdout)["findings"]
    return [(finding["level"], finding["text"]) for finding in found if finding["check"] == check]


def test_mount_that_another_one_hides(in_namespace, fs):
    ctl = in_namespace(HIDDEN)
    says = f"{in_namespace.place}/mnt: this dmemfs is hidden by what is mounted over {in_namespace.place} (fuse.silent): unmount that"
    ctl.fails("status", says=[says], status=4)
    assert findings(ctl, fs.daemon.config, "daemon") == [("problem", says)]


def test_mount_that_is_also_elsewhere(in_namespace, fs):
    """One that is hidden does not count."""
    ctl = in_namespace(HIDDEN.replace('umount -l "$ROOT"', "true"))
    (mount,) = ctl.json("status")["mounts"]
    assert mount["mountpoint"] == str(fs.root)


def test_dmemfs_beside_one_that_does_not_answer(in_namespace, fs):
    ctl = in_namespace(SILENT)
    says = f"{in_namespace.place}: its daemon has not answered for 5 s: see its log, or restart it"
    result = ctl.json("status", status=DAEMON)
    assert [mount["mountpoint"] for mount in result["mounts"]] == [str(fs.root)] and result["errors"] == [says]
    done = ctl.run("status")
    assert done.returncode == DAEMON and done.stdout.startswith(f"{fs.root}: dmemfsd ")
    assert done.stderr == f"dmemfsctl: error: {says}\n"
    (silent, (level, text)) = findings(ctl, fs.daemon.config, "daemon")
    assert silent == ("problem", says) and level == "ok" and text.startswith(f"{fs.root}: served by dmemfsd ")


@pytest.mark.parametrize("command", ["status", "ls", "extents", "quota", "guest-args"])
@pytest.mark.usefixtures("fs")
def test_path_below_a_mount_that_does_not_answer(in_namespace, command):
    done = in_namespace(SILENT).run(command, in_namespace.place / "a" / "b")
    assert (done.returncode, done.stdout) == (DAEMON, "")
    assert f"{in_namespace.place}: its daemon has not answered for 5 s" in done.stderr


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("key", ["mountpoint", "state-dir", "memory-dir", "metrics-file"])
def test_path_of_the_configuration(in_namespace, fs, key, link):
    place = in_namespace.place
    named = place.parent / "link" if link else place
    if link:
        named.symlink_to(place)
    ctl = in_namespace('umount -l "$ROOT"; silent fuse.silent "$PLACE"')
    config = place.parent / "other.conf"
    lines = [line for line in fs.daemon.config.read_text().splitlines() if not line.startswith(f"{key}=")]
    lines.insert(lines.index("[daemon]") + 1, f"{key}={named}/a/b.prom")
    config.write_text("\n".join(lines))
    path = f"{named}/a" if key == "metrics-file" else f"{named}/a/b.prom"
    note = ("note", f"{path} is not examined: it is on the mount of fuse.silent at {place}, which may not answer")
    assert note in findings(ctl, config, "config")
    assert (note in findings(ctl, config, "state")) == (key == "state-dir")


@pytest.mark.parametrize(("mounts", "directory", "level", "text"), [
    ('silent fuse.silent "$PLACE"', "PLACE/a/b", "problem", "memory_backing_dir = PLACE/a/b is not on dmemfs"),
    (HIDDEN, "PLACE/mnt/a", "problem", "memory_backing_dir = PLACE/mnt/a is not on dmemfs"),
    ('silent fuse.dmemfs "$PLACE"', "PLACE/a/b", "ok", "libvirt's guests use PLACE/a/b"),
], ids=["silent", "hidden", "dmemfs"])
def test_path_of_libvirt(in_namespace, fs, work, mounts, directory, level, text):
    """The daemon of dmemfs may be what does not answer."""
    place = str(in_namespace.place)
    libvirt = work / "etc" / "libvirt"
    libvirt.mkdir(parents=True)
    (libvirt / "qemu.conf").write_text(f'memory_backing_dir = "{directory.replace("PLACE", place)}"\n')
    ctl = in_namespace(f"{mounts}; mount --bind {shlex.quote(str(work / 'etc'))} /etc")
    (finding,) = findings(ctl, fs.daemon.config, "libvirt")
    assert (finding[0], finding[1].removeprefix("/etc/libvirt/qemu.conf: ")) == (level, text.replace("PLACE", place))
