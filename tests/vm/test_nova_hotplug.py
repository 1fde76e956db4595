# SPDX-License-Identifier: GPL-2.0-or-later
"""
Memory that libvirt plugs into an instance and takes out again. Nova does neither; libvirt does when the domain has a maximum and a
NUMA node. hugetlbfs beside it: libvirt makes the same files there.
"""

import os
import shutil
from pathlib import Path

import pytest

from helpers.backends import GIB, MIB
from helpers.mount import wait_until
from kvm_guest import BOOT_TIMEOUT, SCALE, unplug, value_in
from libvirt_host import attempt, files_of, memory_of, refused, virsh
from nova_host import SIZE, compute, defined, wait_free  # noqa: F401 compute is a fixture
from nova_recipe import NAME, domain
from places import ALL, HUGETLBFS, RAW, capacity, kinds, page_size, pages, place  # noqa: F401 fixtures

pytestmark = pytest.mark.timeout(120)

LARGE = 512 * MIB  # for Linux; nested/plugger wants as much in addition
FILLED = 250 * MIB  # what it fills of it
PATIENCE = 20 * SCALE
DEVICE = """<memory model="{model}">
  <target><size unit="b">{size}</size><node>0</node>{more}</target>
</memory>
"""
BLOCKS = '<block unit="b">{}</block><requested unit="b">0</requested>'


def with_room(text, size):
    """The domain @text, with what libvirt wants before it plugs memory in: up to 4 GiB in all."""
    room = f"""<maxMemory slots="4" unit="b">{4 * GIB}</maxMemory>
  <vcpu>1</vcpu>
  <cpu><numa><cell id="0" cpus="0" memory="{size}" unit="b"/></numa></cpu>"""
    return text.replace("<vcpu>1</vcpu>", room)


@pytest.fixture
def instance(place, compute, work):  # noqa: F811
    """It counts, and drives no device that is plugged in."""
    size = place.whole(SIZE)
    with defined(work, with_room(domain(work, size, place.is_raw), size)) as made:
        yield made


@pytest.fixture
def linux(place, compute, work):  # noqa: F811
    """It runs nested/plugger. Nova writes the kernel so if the image has one."""
    size = place.whole(LARGE)
    kernel = shutil.copy(os.environ["DMEMFS_GUEST_KERNEL"], work / "kernel")
    initramfs = shutil.copy(os.environ["DMEMFS_GUEST_INITRAMFS"], work / "initramfs")
    boot = f"""<kernel>{kernel}</kernel>
    <initrd>{initramfs}</initrd>
    <cmdline>console=ttyS0 panic=-1 mitigations=off quiet plugger memhp_default_state=online_movable</cmdline>"""
    text = domain(work, size, place.is_raw).replace('<boot dev="hd"/>', boot).replace('type="qemu"', 'type="kvm"')
    device = Path("/dev/kvm")
    mode = device.stat().st_mode
    device.chmod(0o666)  # as the group kvm has it
    with defined(work, with_room(text, size)) as made:
        yield made
    device.chmod(mode)


def device_file(work, model, size, more=""):
    path = work / f"{model}.xml"
    path.write_text(DEVICE.format(model=model, size=size, more=more))
    return path


def file_of(compute, name):  # noqa: F811
    """The file of the device @name."""
    (found,) = [path for path in files_of(compute) if path.name == name]
    return found


def expect_small_pages(request, place):  # noqa: F811
    """libvirt has no setting for the alignment: the daemon logs it."""
    if place.kind != HUGETLBFS:
        request.getfixturevalue("fs").daemon.expected.append("allows pages of 4K only.*memory that is plugged in later")


@kinds(*ALL)
def test_dimm_that_the_guest_does_not_eject(request, place, compute, instance, work):  # noqa: F811
    """libvirt asks the guest, which has no driver. So the DIMM stays until the guest ends."""
    expect_small_pages(request, place)
    free, size = place.free(), place.whole(SIZE)
    virsh("start", NAME)
    instance.wait_counting()
    dimm = device_file(work, "dimm", size)
    virsh("attach-device", NAME, dimm)
    file = file_of(compute, "dimm0")
    assert file.parts[-4:-2] == ("libvirt", "qemu") and file.stat().st_size == size
    assert place.used(file) == size and place.free() == free - 2 * size
    instance.wait_counting()
    virsh("detach-device", NAME, dimm)
    assert "model='dimm'" in virsh("dumpxml", NAME) and place.used(file) == size
    instance.wait_counting()
    virsh("destroy", NAME)
    assert not files_of(compute)
    wait_free(place, free)


@kinds(*ALL)
def test_dimm_that_does_not_fit(request, place, compute, instance, work):  # noqa: F811
    """Nothing is left of it, and the guest goes on. A smaller one is accepted then."""
    expect_small_pages(request, place)
    free, size = place.free(), place.whole(SIZE)
    virsh("start", NAME)
    instance.wait_counting()
    assert "Cannot allocate memory" in refused("attach-device", NAME, device_file(work, "dimm", 3 * GIB))
    assert len(files_of(compute)) == 1 and place.free() == free - size
    instance.wait_counting()
    virsh("attach-device", NAME, device_file(work, "dimm", size))
    assert place.used(file_of(compute, "dimm0")) == size and place.free() == free - 2 * size
    virsh("destroy", NAME)
    assert not files_of(compute)
    wait_free(place, free)


@kinds(RAW)
def test_virtio_mem_without_discard(request, place, compute, instance, work):  # noqa: F811
    """QEMU refuses it, and nothing is left of it. With the attribute on the directory of the guest's files it is accepted."""
    expect_small_pages(request, place)
    free, size = place.free(), place.whole(SIZE)
    virsh("start", NAME)
    instance.wait_counting()
    device = device_file(work, "virtio-mem", size, BLOCKS.format(place.unit))
    assert "Unexpected error discarding RAM" in refused("attach-device", NAME, device)
    assert len(files_of(compute)) == 1
    wait_free(place, free - size)
    os.setxattr(memory_of(compute).parent, "dmemfs.discard", b"1")
    virsh("attach-device", NAME, device)
    file = file_of(compute, "virtiomem0")
    assert file.stat().st_size == place.used(file) == size  # without demand allocation
    instance.wait_counting()
    virsh("destroy", NAME)
    assert not files_of(compute)
    wait_free(place, free)


@kinds("pages=2M")
def test_domain_of_nova_has_no_room(place, compute, work):  # noqa: F811
    free, size = place.free(), place.whole(SIZE)
    with defined(work, domain(work, size, place.is_raw)) as instance:
        virsh("start", NAME)
        instance.wait_counting()
        said = refused("attach-device", NAME, device_file(work, "dimm", size))
        assert "no NUMA nodes configured" in said or "'maxMemory' is not defined" in said
        assert len(files_of(compute)) == 1 and place.free() == free - size
        instance.wait_counting()
        virsh("destroy", NAME)
    wait_free(place, free)


def virtio_mem(size):
    """Requests so much of the device."""
    virsh("update-memory-device", NAME, "--alias", "virtiomem0", "--requested-size", f"{size}b")


@kinds(*ALL)
@pytest.mark.usefixtures("kvm")
@pytest.mark.dmemfs(alloc="demand")
@pytest.mark.timeout(300)
def test_linux_gives_memory_back(request, place, compute, linux, work):  # noqa: F811
    """A DIMM, which it ejects, and virtio-mem. What was plugged in is back while the guest runs."""
    def wait_for(name):
        wait_until(lambda: value_in(linux.console.read_text(errors="replace"), name), f"the guest prints {name}", BOOT_TIMEOUT)
        return value_in(linux.console.read_text(errors="replace"), name)

    expect_small_pages(request, place)
    free, size = place.free(), place.whole(LARGE)
    virsh("start", NAME)
    wait_for("ready-1")
    left = place.free()
    assert left == free - size

    dimm = device_file(work, "dimm", size)
    virsh("attach-device", NAME, dimm)
    file = file_of(compute, "dimm0")
    assert place.used(file) == size and place.free() == left - size
    assert wait_for("filled-1") == "1"
    virsh("detach-device", NAME, dimm)
    wait_until(lambda: not file.exists(), "the guest ejects it", PATIENCE)
    wait_free(place, left)

    wait_for("ready-2")
    if place.is_raw:
        os.setxattr(file.parent, "dmemfs.discard", b"1")
    virsh("attach-device", NAME, device_file(work, "virtio-mem", size, BLOCKS.format(place.unit)))
    file = file_of(compute, "virtiomem0")
    assert file.stat().st_size == size and place.used(file) == 0
    virtio_mem(size)
    assert wait_for("filled-2") == "1"
    assert place.used(file) >= FILLED and place.free() <= left - FILLED
    unplug(virtio_mem, place.unit, lambda: place.used(file) == 0)
    wait_free(place, left)
    removed = attempt("detach-device-alias", NAME, "virtiomem0")
    assert removed.returncode == 0 or "cannot be unplugged" in removed.stderr  # QEMU 7.2; QEMU 10 can
    virsh("destroy", NAME)
    assert not files_of(compute)
    wait_free(place, free)
