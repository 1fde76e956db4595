# SPDX-License-Identifier: GPL-2.0-or-later
"""
What doctor, ls and guest-args say about guests whose memory is reserved memory, by its compound pages. The guests are real
QEMUs; ctl/test_ctl_doctor_guests.py has those of the memory backend.
"""

import os
import subprocess

import pytest

from helpers.backends import MIB
from helpers.stopped_qemu import SIZE, backend_file, examine, qemu, unaligned
from holder import DISK, prepare_disk

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(120)]


@pytest.fixture(params=["none", "2M"])
def pages(request):
    return request.param


@pytest.fixture
def capacity():
    return 256 * MIB


@pytest.mark.parametrize("cache", ["none", "directsync", "writeback"])
def test_disk_without_a_cache(ctl, fs, pages, cache):
    prepare_disk()
    disk = ["-drive", f"file={DISK},format=raw,if=virtio,cache={cache},aio=threads"]
    with qemu([*backend_file(fs / "vm1", prealloc=None), *disk], ctl.work) as ask:
        found, shown, _ = examine(ctl, fs, ask.pid)
    assert shown == "" and {finding["check"] for finding in found} == \
        ({"direct-io"} if pages == "none" and cache != "writeback" else set())
    for finding in found:
        assert finding["level"] == "problem" and f"{DISK} open with O_DIRECT" in finding["text"]
        assert "cache=writeback" in finding["remedy"] and "pages=1G or 2M" in finding["remedy"]


def test_device_that_is_assigned(ctl, fs, pages):
    """QEMU gets a descriptor as it opens for an assigned device. With a device, it would not start on raw memory."""
    subprocess.run(["modprobe", "vfio"], check=True)
    fd = os.open("/dev/vfio/vfio", os.O_RDWR)
    with qemu(backend_file(fs / "vm1", prealloc=None), ctl.work, pass_fds=[fd]) as ask:
        found, _, _ = examine(ctl, fs, ask.pid)
    os.close(fd)
    assert [finding["check"] for finding in found] == (["vfio"] if pages == "none" else [])
    assert all("/dev/vfio/vfio open" in finding["text"] and "dmemfs.pages" in finding["remedy"] for finding in found)


def test_memory_that_is_plugged_in_later(ctl, fs):
    """The daemon's log names it, too."""
    fs.daemon.expected.append("add align=2M")
    memory = {"qom-type": "memory-backend-file", "id": "later", "mem-path": str(fs / "later"), "size": SIZE, "share": True}
    with unaligned(["-m", "64M,slots=1,maxmem=1G"], ctl.work, lambda ask: ask("object-add", **memory)) as ask:
        ((finding,), shown, _) = examine(ctl, fs, ask.pid)
        log = fs.daemon.log
    assert f"({ask.pid}) maps later at an address that allows pages of 4K only" in finding["text"]
    assert "plugged in while the guest ran" in finding["remedy"] and shown == ", 4K only"
    assert f"(pid {ask.pid}) maps it at an address that allows pages of 4K only" in log and "plugged in later" in log


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
