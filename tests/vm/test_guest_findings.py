# SPDX-License-Identifier: GPL-2.0-or-later
"""What guest-args says about reserved memory, by its compound pages."""

import os

import pytest

from helpers.backends import MIB

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(120)]


@pytest.fixture(params=["none", "2M"])
def pages(request):
    return request.param


@pytest.fixture
def capacity():
    return 256 * MIB


def test_what_works(ctl, fs, pages):
    def notes(vmm):
        return ctl.json("guest-args", fs / "new", "--vmm", vmm, "--size=16M")["notes"]

    raw = pages == "none"
    assert ("cache: every mode works, also none and directsync" in notes("qemu")) != raw
    assert ("devices: they can be assigned (VFIO)" in notes("libvirt")) != raw
    assert ("cache: a disk must not have direct=on" in notes("cloud-hypervisor")) == raw
    assert "prealloc: not needed: QEMU ends if the file gets no memory" in notes("qemu")
    assert ("discard: set dmemfs.discard to 1 first, or virtio-mem does not start" in notes("qemu")) == raw
    os.setxattr(fs.root, "dmemfs.discard", b"1")
    assert "discard: memory that the guest gives back comes back with dmemfs.alloc=demand only" in notes("qemu")
    os.setxattr(fs.root, "dmemfs.alloc", b"demand")
    assert any(note.startswith("prealloc: would take all memory at the start") for note in notes("qemu"))
    assert ("discard: virtio-mem, free page reporting and a balloon give whole units back" in notes("libvirt")) == raw
