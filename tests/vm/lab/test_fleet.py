# SPDX-License-Identifier: GPL-2.0-or-later
"""
From a plain Debian host to guests on dmemfs. A VM with its own disk, Debian's kernel, libvirt and GRUB boots, is
prepared as README.Debian says (../fleet/bare.py), and boots again by that GRUB (../fleet/running.py). So the drop-in of
dmemfsctl plan goes through update-grub and GRUB, as on any host. AppArmor confines its guests (../fleet/confined.py). There
libvirt gets a drop-in (../fleet/drop_in.py) and instances of Nova (../fleet/nova.py), until the power fails (../fleet/crashed.py).
This file is the host's side.
"""

import argparse
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from fleet.host import BOOTS
from lab.kernel import Kernel
from lab.launch import add_options, machine_for, run_session

TOP = Path(__file__).parents[3]
FLEET = TOP / "tests" / "vm" / "fleet"
SETUP = TOP / "tests" / "setup"
PYTEST = ["/usr/bin/python3", "-m", "pytest", "-c", str(TOP / "tests" / "pytest.ini"), "-p", "plugins.results", "-q",
          "--no-header", "--tb=short"]
# Debian's own, as far as they are not on this machine, which is the VM's root.
DEBIAN = ("grub2-common", "grub-pc-bin", "dkms", "apparmor", "libvirt-daemon-system")
SECTOR, START = 512, 1 << 20  # the gap in front of the partition is GRUB's
DISK_SIZE = 2 << 30


def names(boot):
    return [name for file in BOOTS[boot] for name in re.findall(r"^def (test_\w+)", (FLEET / f"{file}.py").read_text(), re.MULTILINE)]


def make_disk(path, tree):
    """GRUB, and one ext4 partition with the contents of @tree, which ../fleet/install-host makes."""
    with open(path, "wb") as disk:
        disk.truncate(DISK_SIZE)
        disk.write((tree / "grub" / "boot.img").read_bytes()[:440])
        disk.seek(446)  # the first of four entries of an MBR: bootable, type Linux, no geometry
        disk.write(struct.pack("<B3xB3xII", 0x80, 0x83, START // SECTOR, (DISK_SIZE - START) // SECTOR))
        disk.seek(510)
        disk.write(b"\x55\xaa" + (tree / "grub" / "core.img").read_bytes())
        assert disk.tell() <= START
    subprocess.run(["mkfs.ext4", "-q", "-d", tree, "-E", f"offset={START}", path, f"{(DISK_SIZE - START) >> 10}k"], check=True)


class Host:
    """The machine, switched off. @directory: its disk, and the logs of the sessions."""

    def __init__(self, directory, packages):
        self._directory = directory
        self._packages = packages
        self._install()

    def _install(self):
        """Makes the disk of a Debian host without dmemfs, but with the package of the module."""
        debian = subprocess.run([SETUP / "fetch-packages", *DEBIAN], check=True, stdout=subprocess.PIPE,
                                text=True).stdout.strip()
        tree = self._directory / "tree"
        done = subprocess.run([FLEET / "install-host", tree, Kernel.find().directory, *Path(debian).glob("*.deb"),
                               *self._packages.glob("dmemfs-dkms_*.deb")], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        make_disk(self._directory / "disk", tree)
        shutil.rmtree(tree)

    def boot(self, name, *arguments):
        """{test: outcome} of the files of fleet.host.BOOTS[@name], and the output of pytest as "output"."""
        logs = self._directory / name
        parser = argparse.ArgumentParser()
        add_options(parser)
        environment = {
            "DMEMFS_PACKAGES": self._packages, "PYTHONPATH": TOP / "tests" / "vm",
            # Of the first boot: the others start from what is on the disk.
            "DMEMFS_LAB_INITRAMFS": self._directory / "bare" / "initramfs",
            "DMEMFS_TEST_SCALE": os.environ.get("DMEMFS_TEST_SCALE", "6")}
        options = parser.parse_args([
            "--node", "4G", "--node", "4G", "--systemd", "multi-user.target", "--timeout", "900",
            "--disk", str(self._directory / "disk"), "--root-disk", "/dev/vda1", "--logs", str(logs),
            "--visible", str(self._directory), "--visible", str(self._packages), *arguments])
        machine = machine_for(options)
        options.env += [f"{variable}={value}" for variable, value in environment.items()]
        output, found = bytearray(), {}

        def observe(message):
            if "end" in message:
                found[message["end"].rpartition("::")[2]] = message["outcome"]

        # The command is what the initramfs says, which is the same for all boots. See set_next_boot().
        command = ["sh", "-c", 'exec "$@" $(cat /boot/tests 2>/dev/null || echo "$0/bare.py")', str(FLEET), *PYTEST]
        status = run_session(machine, options, command, observe, output=output.extend)
        found["output"] = output.decode(errors="replace")
        console = (logs / "console.log").read_text(errors="replace")
        assert status in (0, 1), f"{found['output']}\n{console[-3000:]}"
        return found


@pytest.fixture(scope="module")
def host(tmp_path_factory, packages):
    directory = tmp_path_factory.mktemp("fleet")
    yield Host(directory, packages)
    (directory / "disk").unlink()


@pytest.fixture(scope="module")
def bare(host):
    return host.boot("bare")


@pytest.fixture(scope="module")
def running(host, bare):
    assert bare.get("test_update_grub") == "passed", "update-grub failed in the first boot, so there is nothing to boot"
    return host.boot("running", "--from-disk")


@pytest.fixture(scope="module")
def crashed(host, running):
    assert running.get("test_power_fails") == "passed", running["output"]
    return host.boot("crashed", "--from-disk")


@pytest.mark.parametrize("name", names("bare"))
def test_preparing(bare, name):
    assert bare.get(name) == "passed", bare["output"]


@pytest.mark.parametrize("name", names("running"))
def test_running(running, name):
    assert running.get(name) == "passed", running["output"]


@pytest.mark.parametrize("name", names("crashed"))
def test_after_a_power_failure(crashed, name):
    assert crashed.get(name) == "passed", crashed["output"]
