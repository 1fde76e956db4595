# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest in a container of podman, which has the mount as a volume."""

import resource
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.control import Control
from helpers.counting import SCALE, SIZE, CountingGuest, make_disk, word_in
from helpers.processes import mounts_under

# The directories of Debian that are below /usr; those that podman fills; and what the volumes need.
LINKS, EMPTY = ("bin", "lib", "lib64", "sbin"), ("dev", "etc", "proc", "run", "sys", "tmp", "usr", "var/tmp")

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(120),
              pytest.mark.skipif(not (shutil.which("podman") and shutil.which("runc")), reason="needs podman and runc")]


class Podman:
    """Has its containers and state in @store, whose path must be short. What it runs has this machine's /usr."""

    def __init__(self, store):
        self._command = ("podman", "--root", store / "root", "--runroot", store / "run", "--tmpdir", store / "tmp", "--runtime", "runc",
                         "--cgroup-manager", "cgroupfs", "--storage-driver", "vfs", "--events-backend", "none")
        self._root = store / "rootfs"
        for name in EMPTY:
            (self._root / name).mkdir(parents=True)
        for name in LINKS:
            (self._root / name).symlink_to(f"usr/{name}")

    def running(self, name, *volumes):
        """A command that runs its last arguments in a container, in the last of the @volumes. They have the same path outside."""
        # Podman's own limits may be more than this process may give.
        limits = (f"nofile={min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1])}",
                  f"nproc={min(1024, resource.getrlimit(resource.RLIMIT_NPROC)[1])}")
        return (*self._command, "run", "--name", name, "--network", "none", "--cgroup-parent", "/", "-v", "/usr:/usr:ro",
                *(word for limit in limits for word in ("--ulimit", limit)),
                *(word for volume in volumes for word in ("-v", f"{volume}:{volume}")), "-w", volumes[-1], "--rootfs", self._root)

    def __call__(self, *arguments):
        return subprocess.run([*self._command, *arguments], capture_output=True, text=True, check=True, timeout=60 * SCALE).stdout


@contextmanager
def container(*volumes):
    """Podman, and a command that runs its last arguments in a container that is removed at the end."""
    with tempfile.TemporaryDirectory(dir="/run", prefix="dmemfs-tests.") as store:
        podman = Podman(Path(store))
        try:
            yield podman, podman.running("guest", *volumes)
        finally:
            podman("rm", "--force", "--time", "0", "guest")


def test_a_guest_in_a_container(fs, work, dmemfsd):
    """The file is the same inside and outside. When the container has ended, its memory is free, and its volume is not mounted."""
    control, home = Control(dmemfsd.parent / "dmemfsctl" / "dmemfsctl", work), work / "guest"
    home.mkdir()
    disk = "-drive", f"file={make_disk(home / 'disk')},format=raw,if=ide,snapshot=on"
    before = mounts_under("/")
    with container(fs.root, home) as (podman, run):
        with CountingGuest(home, fs / "vm1", *disk, before=run) as guest:
            guest.wait_for(2)
            guest.qmp.execute("stop")
            assert word_in(fs / "vm1") >= 2
            assert f" {SIZE} " in podman("exec", "guest", "ls", "-l", fs / "vm1")
            pid = int(podman("inspect", "--format", "{{.State.Pid}}", "guest"))
            assert f" {fs.root} " in Path(f"/proc/{pid}/mountinfo").read_text()
            (file,) = control.json("ls", fs.root)["files"]
            assert [user["pid"] for user in file["mapped_by"]] == [pid]
    assert not Path(f"/proc/{pid}").exists() and mounts_under("/") == before
    (fs / "vm1").unlink()
    assert fs.wait_free(fs.capacity) == fs.capacity
