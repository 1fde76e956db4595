# SPDX-License-Identifier: GPL-2.0-or-later
"""
The Debian packages as built: their files, the findings of lintian, their scripts, and that the module builds from what
DKMS gets. ../vm/lab/test_systemd.py installs them in a VM.

Environment: DMEMFS_PACKAGES names a directory with packages that were built before; else they are built, which takes a
minute.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
sys.path.insert(0, str(TOP / "tests" / "vm"))


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """{name: the .deb}"""
    directory = os.environ.get("DMEMFS_PACKAGES")
    if not directory:
        directory = tmp_path_factory.mktemp("packages")
        subprocess.run([TOP / "tests" / "setup" / "build-packages", directory], check=True)
    return {path.name.split("_")[0]: path for path in Path(directory).glob("*.deb")}


@pytest.fixture(scope="session")
def unpacked(packages, tmp_path_factory):
    """{name: its files, with DEBIAN/ beside them}"""
    trees = {}
    for name, package in packages.items():
        trees[name] = tmp_path_factory.mktemp(name) / "tree"
        subprocess.run(["dpkg-deb", "-R", package, trees[name]], check=True)
    return trees


def files_of(tree):
    return {str(path.relative_to(tree)) for path in tree.rglob("*")
            if not path.is_dir() and path.relative_to(tree).parts[0] != "DEBIAN"}


def field(package, name):
    return subprocess.run(["dpkg-deb", "-f", package, name], capture_output=True, text=True, check=True).stdout.strip()


def test_lintian(packages):
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", *packages.values()],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_versions_agree(packages):
    version = re.search(r"version: '([\d.]+)'", (TOP / "meson.build").read_text())[1]
    assert {field(package, "Version") for package in packages.values()} == {version}
    assert f'PACKAGE_VERSION="{version}"' in (TOP / "kmod" / "dkms.conf").read_text()
    assert f"usr/src/dmemfs-{version}/" in (TOP / "debian" / "dmemfs-dkms.install").read_text()


def test_files_of_the_daemon(unpacked):
    found = {re.sub(r"^(usr/)?lib/systemd", "lib/systemd", name) for name in files_of(unpacked["dmemfs"])
             if not name.startswith("usr/share/doc/")}
    assert found == {
        "etc/apparmor.d/abstractions/libvirt-qemu.d/dmemfs", "etc/dmemfs/dmemfsd.conf", "usr/bin/qemu-aligned",
        "lib/systemd/system/dmemfsd.service", "usr/lib/tmpfiles.d/dmemfs.conf",
        "usr/libexec/dmemfs/qemu-aligned", "usr/libexec/dmemfs/unit-stop", "usr/sbin/dmemfsctl", "usr/sbin/dmemfsd",
        "usr/sbin/mount.fuse.dmemfs",
        "usr/share/bash-completion/completions/dmemfsctl", "usr/share/dmemfs/dmemfs-dashboard.json",
        "usr/share/dmemfs/dmemfs.rules.yml", "usr/share/dmemfs/libvirt-requires-dmemfsd.conf", "usr/share/dmemfs/nova.md",
        "usr/share/man/man1/qemu-aligned.1.gz", "usr/share/man/man5/dmemfs.conf.5.gz", "usr/share/man/man5/dmemfsd.conf.5.gz",
        "usr/share/man/man7/dmemfs-guests.7.gz", "usr/share/man/man7/dmemfs.7.gz", "usr/share/man/man8/dmemfsctl.8.gz",
        "usr/share/man/man8/dmemfsd.8.gz", "usr/share/man/man8/mount.fuse.dmemfs.8.gz"}
    assert (unpacked["dmemfs"] / "DEBIAN" / "conffiles").read_text().split() == [
        "/etc/apparmor.d/abstractions/libvirt-qemu.d/dmemfs", "/etc/dmemfs/dmemfsd.conf"]


def test_files_of_the_module(unpacked):
    sources = {f"kmod/{path.name}" for path in (TOP / "kmod").iterdir()
               if path.suffix in (".c", ".h") and not path.name.endswith(".mod.c")}
    found = files_of(unpacked["dmemfs-dkms"])
    version = re.search(r"dmemfs-([\d.]+)/", "".join(found))[1]
    assert {name.removeprefix(f"usr/src/dmemfs-{version}/") for name in found if name.startswith("usr/src/")} == {
        *sources, "kmod/Kbuild", "kmod/Makefile", "shared/dmemfs_ioctl.h", "dkms.conf"}
    assert {name for name in found if not name.startswith(("usr/src/", "usr/share/doc/"))} == {
        "usr/lib/modules-load.d/dmemfs.conf", "usr/lib/udev/rules.d/60-dmemfs.rules"}


def test_scripts_restart_at_the_end_of_an_upgrade(unpacked):
    """They stop the service only when the package is removed."""
    scripts = unpacked["dmemfs"] / "DEBIAN"
    assert re.search(r"_dh_action=restart", (scripts / "postinst").read_text())
    stops = re.findall(r"if (.*?); then\n\s*deb-systemd-invoke stop 'dmemfsd.service'", (scripts / "prerm").read_text())
    assert len(stops) == 1 and '"$1" = remove' in stops[0]
    assert not (scripts / "preinst").exists() or "systemctl" not in (scripts / "preinst").read_text()


def test_daemon_is_the_release_build(unpacked):
    """It has no crash points."""
    assert b"DMEMFS_CRASH_AT" not in (unpacked["dmemfs"] / "usr/sbin/dmemfsd").read_bytes()


def headers():
    """The headers of the laboratory's kernel."""
    from lab.kernel import Kernel
    return (Kernel.find().modules / "build").resolve()


def test_module_builds_from_its_package(unpacked):
    """With the command that DKMS runs."""
    (tree,) = (unpacked["dmemfs-dkms"] / "usr" / "src").iterdir()
    config = subprocess.run(["bash", "-c", '. ./dkms.conf; printf "%s\\n" "${MAKE[0]}" "$BUILT_MODULE_LOCATION"'], cwd=tree,
                            env={"kernel_source_dir": str(headers())},
                            capture_output=True, text=True, check=True).stdout.splitlines()
    subprocess.run(["sh", "-c", config[0]], cwd=tree, check=True, stdout=subprocess.DEVNULL)
    assert (tree / config[1] / "dmemfs.ko").exists()


def test_module_has_no_warning(tmp_path):
    """No warning of sparse, and none of the compiler's that are off by default."""
    for part in ("kmod", "shared"):
        shutil.copytree(TOP / part, tmp_path / part)
    done = subprocess.run(["make", "-C", tmp_path / "kmod", f"KERNELDIR={headers()}", "check"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert (tmp_path / "kmod" / "dmemfs.ko").exists()


def test_module_is_installed_by_make(tmp_path):
    """As README.md says, below another root."""
    for part in ("kmod", "shared"):
        shutil.copytree(TOP / part, tmp_path / part)
    subprocess.run(["make", "-C", tmp_path / "kmod", f"KERNELDIR={headers()}", f"INSTALL_MOD_PATH={tmp_path / 'root'}", "install"],
                   check=True, stdout=subprocess.DEVNULL)
    assert [path.name.partition(".")[0] for path in (tmp_path / "root").rglob("dmemfs.ko*")] == ["dmemfs"]


@pytest.mark.parametrize("release, built", [
    ("6.12.0-1-amd64", True), ("6.18.44", True), ("6.99.1", True), ("7.0.0", True), ("7.3.4-1", True), ("10.1.2", True),
    ("6.1.0-49-amd64", False), ("6.11.10", False), ("6.9.7", False), ("5.10.0", False), ("6.2.0", False)])
def test_kernels_that_dkms_leaves_out(release, built):
    pattern = re.search(r'BUILD_EXCLUSIVE_KERNEL="(.*)"', (TOP / "kmod" / "dkms.conf").read_text())[1]
    done = subprocess.run(["bash", "-c", "[[ $1 =~ $2 ]]", "bash", release, pattern], check=False)
    assert (done.returncode == 0) == built
