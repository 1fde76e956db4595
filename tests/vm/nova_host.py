# SPDX-License-Identifier: GPL-2.0-or-later
"""
The VM as a compute node, by configs/nova.md, with an instance as Nova defines it: see nova_recipe.py. Who imports the fixture `compute`
imports those of places.py, too.
"""

import shutil
import subprocess
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

import libvirt_host
from helpers.backends import MIB
from helpers.counting import TIMEOUT, numbers_in
from helpers.mount import wait_until
from libvirt_host import ALIGNED, attempt, virsh
from nova_recipe import EMULATOR, NAME, block, install_emulator
from places import HUGETLBFS

MOUNT = Path("/mnt/dmemfs")
INSTALLED = Path("/usr/bin/qemu-aligned")
SIZE = 64 * MIB


@contextmanager
def wrapper():
    """QEMU as the recipe has libvirt find it."""
    shutil.copy(ALIGNED, INSTALLED)
    install_emulator()
    try:
        yield
    finally:
        EMULATOR.unlink()


@pytest.fixture
def compute(place, work):
    """
    The host, prepared by the recipe: all in the paths that it names. Its value is the mount. hugetlbfs gets its place, and needs no
    wrapper.
    """
    MOUNT.mkdir(exist_ok=True)
    subprocess.run(["mount", "--bind", place / "", MOUNT], check=True)
    try:
        with ExitStack() as stack:
            if place.kind != HUGETLBFS:
                stack.enter_context(wrapper())
            stack.enter_context(libvirt_host.running(work, block("/etc/libvirt/qemu.conf")))
            yield MOUNT
    finally:
        subprocess.run(["umount", MOUNT], check=True)


class Instance:
    """Its console is a file that all of its lives append to."""

    def __init__(self, console):
        self.console = console

    def said(self):
        """The numbers that a counting guest has printed."""
        return numbers_in(self.console.read_text())

    def wait_counting(self):
        """Waits for three more numbers."""
        before = len(self.said())
        wait_until(lambda: len(self.said()) >= before + 3, "the instance counts", TIMEOUT)


@contextmanager
def defined(work, text):
    """An Instance that is defined, not started. @text: its domain."""
    path = work / "instance.xml"
    path.write_text(text)
    virsh("define", path)
    try:
        yield Instance(work / "console")
    finally:
        attempt("destroy", NAME)
        virsh("undefine", NAME, "--managed-save", "--snapshots-metadata")


def wait_free(place, size):
    wait_until(lambda: place.free() == size, "all memory is back", TIMEOUT)
