# SPDX-License-Identifier: GPL-2.0-or-later
"""A guest in a container of podman, which has the mount as a volume."""

import os
import resource
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.control import Control
from helpers.counting import SCALE, SIZE, TIMEOUT, CountingGuest, make_disk, word_in
from helpers.mount import wait_until
from helpers.processes import mounts_under, processes_naming

# The directories of Debian that are below /usr; those that podman fills; and what the volumes need.
NOBODY = 65534
LINKS, EMPTY = ("bin", "lib", "lib64", "sbin"), ("dev", "etc", "proc", "run", "sys", "tmp", "usr", "var/tmp")

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(120),
              pytest.mark.skipif(not (shutil.which("podman") and shutil.which("runc")), reason="needs podman and runc")]


class Podman:
    """
    Has its containers and state in @store, whose path must be short, and runs as the user @uid. What it runs has this machine's /usr.
    """

    def __init__(self, store, uid):
        user = ("setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "env", f"HOME={store}", f"XDG_RUNTIME_DIR={store}")
        self._command = (*(user if uid else ()), "podman", "--root", store / "root", "--runroot", store / "run", "--tmpdir", store / "tmp", "--runtime", "runc",
                         "--cgroup-manager", "cgroupfs", "--storage-driver", "vfs", "--events-backend", "none")
        # Without privileges there is a cgroup only where systemd gives the user one.
        self._cgroup = () if uid else ("--cgroup-parent", "/")
        self._root = store / "rootfs"
        for name in EMPTY:
            (self._root / name).mkdir(parents=True)
        for name in LINKS:
            (self._root / name).symlink_to(f"usr/{name}")
        for path in (store, *store.rglob("*")):
            os.chown(path, uid, uid, follow_symlinks=False)

    def running(self, name, *volumes):
        """A command that runs its last arguments in a container, in the last of the @volumes. They have the same path outside."""
        # Podman's own limits may be more than this process may give.
        limits = (f"nofile={min(1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1])}",
                  f"nproc={min(1024, resource.getrlimit(resource.RLIMIT_NPROC)[1])}")
        return (*self._command, "run", "--name", name, "--network", "none", *self._cgroup, "-v", "/usr:/usr:ro",
                *(word for limit in limits for word in ("--ulimit", limit)),
                *(word for volume in volumes for word in ("-v", f"{volume}:{volume}")), "-w", volumes[-1], "--rootfs", self._root)

    def __call__(self, *arguments):
        return subprocess.run([*self._command, *arguments], cwd="/", capture_output=True, text=True, check=True, timeout=60 * SCALE).stdout


@contextmanager
def container(uid, *volumes):
    """Podman, and a command that runs its last arguments in a container that is removed at the end."""
    with tempfile.TemporaryDirectory(dir="/run", prefix="dmemfs-tests.") as store:
        podman = Podman(Path(store), uid)
        try:
            yield podman, podman.running("guest", *volumes)
        finally:
            podman("rm", "--force", "--time", "0", "guest")
            if uid:
                podman("system", "migrate")  # ends the process that keeps the user's namespace
            # The program that watches a container starts another one at its end, which writes to the store.
            wait_until(lambda: not processes_naming(store), "podman's processes have ended", TIMEOUT)


@contextmanager
def shown_to_all(directory):
    """Another name of @directory, below one that all users may enter."""
    with tempfile.TemporaryDirectory(dir="/run", prefix="dmemfs-tests.") as place:
        path = Path(place) / "mnt"
        path.mkdir()
        Path(place).chmod(0o755)
        subprocess.run(["mount", "--bind", directory, path], check=True)
        try:
            yield path
        finally:
            wait_until(lambda: subprocess.run(["umount", path], check=False, capture_output=True).returncode == 0,
                       "podman's processes have left it", TIMEOUT)


@pytest.mark.parametrize("uid", [0, NOBODY], ids=["root", "rootless"])
def test_a_guest_in_a_container(fs, work, dmemfsd, uid):
    """
    The file is the same inside and outside. When the container has ended, its memory is free, and its volume is not mounted. Without
    privileges, the container's root is the user, who owns what it makes in a directory of its own.
    """
    control = Control(dmemfsd.parent / "dmemfsctl" / "dmemfsctl", work)
    for path in (fs / "tenant", work / "guest"):
        path.mkdir()
        os.chown(path, uid, uid)
    before = mounts_under("/")
    with shown_to_all(fs / "tenant") as tenant, shown_to_all(work / "guest") as home, container(uid, tenant, home) as (podman, run):
        disk = "-drive", f"file={make_disk(home / 'disk')},format=raw,if=ide,snapshot=on"
        machine = CountingGuest(home, tenant / "vm1", *disk, before=run)
        for path in home.iterdir():
            os.chown(path, uid, uid)
        with machine as guest:
            guest.wait_for(2)
            guest.qmp.execute("stop")
            assert word_in(fs / "tenant" / "vm1") >= 2
            assert (fs / "tenant" / "vm1").stat().st_uid == uid
            assert podman("exec", "guest", "stat", "-c", "%s %u", tenant / "vm1").split() == [str(SIZE), "0"]
            pid = int(podman("inspect", "--format", "{{.State.Pid}}", "guest"))
            assert f" {tenant} " in Path(f"/proc/{pid}/mountinfo").read_text()
            assert os.stat(f"/proc/{pid}").st_uid == uid
            (file,) = control.json("ls", fs.root)["files"]
            assert [user["pid"] for user in file["mapped_by"]] == [pid]
    assert not Path(f"/proc/{pid}").exists() and mounts_under("/") == before
    assert fs.free() == fs.capacity - SIZE
    (fs / "tenant" / "vm1").unlink()
    assert fs.wait_free(fs.capacity) == fs.capacity
