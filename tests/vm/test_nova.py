# SPDX-License-Identifier: GPL-2.0-or-later
"""configs/nova.md, followed word for word: see nova_recipe.py. What Nova does not do itself is in test_nova_hotplug.py."""

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from helpers.counting import in_order
from helpers.mount import wait_until
from libvirt_host import attempt, faults, files_of, memory_of, virsh
from nova_host import SIZE, TIMEOUT, compute, defined, wait_free  # noqa: F401 compute is a fixture
from nova_recipe import NAME, domain, nova_conf
from places import GIB, RAW, capacity, kinds, page_size, pages, place  # noqa: F401 fixtures

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def instance(place, compute, work):  # noqa: F811
    with defined(work, domain(work, place.whole(SIZE), place.is_raw)) as made:
        yield made


def test_settings_that_nova_refuses_to_start_without():
    """nova-compute asks for these; the capacity is what it reports instead of the host's memory."""
    settings = nova_conf()
    assert settings["DEFAULT"].getfloat("ram_allocation_ratio") == 1.0
    assert settings["DEFAULT"].getint("reserved_host_memory_mb") == 0
    assert settings["libvirt"].getint("file_backed_memory") > 0 and settings["libvirt"]["virt_type"] == "kvm"
    assert not settings["libvirt"].getboolean("live_migration_permit_post_copy")


@kinds("pages=1G", RAW)
def test_instance_starts_and_gives_all_memory_back(place, compute, instance):  # noqa: F811
    """Twice, as by `openstack server stop` and `start`."""
    free, size = place.free(), place.whole(SIZE)
    for _ in range(2):
        virsh("start", NAME)
        memory = memory_of(compute)
        assert memory.parts[-4:-2] == ("libvirt", "qemu") and memory.stat().st_size == size
        assert place.used(memory) == size and place.free() == free - size
        instance.wait_counting()
        assert faults(memory, "1G" if place.unit == GIB else "2M") > 0
        assert faults(memory, "4K") == 0
        virsh("destroy", NAME)
        assert not files_of(compute)
        wait_free(place, free)


@kinds(RAW)
def test_instance_is_saved_and_comes_back(place, compute, instance, work):  # noqa: F811
    """`openstack server suspend` is managedsave. The memory is free meanwhile."""
    free = place.free()
    virsh("start", NAME)
    instance.wait_counting()
    for save, restore in ((("managedsave", NAME), ("start", NAME)),
                          (("save", NAME, work / "saved"), ("restore", work / "saved")),
                          (("save", NAME, work / "direct", "--bypass-cache"), ("restore", work / "direct", "--bypass-cache"))):
        virsh(*save)
        assert not files_of(compute)
        wait_free(place, free)
        virsh(*restore)
        instance.wait_counting()
    for options in ((), ("--memory-only",)):
        virsh("dump", NAME, work / "dump", *options)
        assert (work / "dump").stat().st_size > 0
        instance.wait_counting()
    virsh("destroy", NAME)
    numbers = instance.said()
    assert numbers == sorted(numbers) and in_order(sorted(set(numbers)))


def turn(instance):
    """Where the numbers go back: the last one before, and the one that follows. None while they only rise."""
    return next(((one, other) for one, other in pairwise(instance.said()) if other < one), None)


def check_went_back(instance, first, last):
    """The instance counts from a number on that it printed while the snapshot was made, between @first and @last."""
    wait_until(lambda: turn(instance), "the instance is where it was", TIMEOUT)
    before, after = turn(instance)
    assert first <= after <= last + 2 < before  # the number that was being printed is lost
    instance.wait_counting()


@kinds("pages=1G", RAW)
def test_instance_goes_back_to_an_internal_snapshot(place, compute, work):  # noqa: F811
    """It has its memory in its disk, which must be of qcow2. `virsh snapshot-revert` starts another QEMU, with a file of its own."""
    free, size, text = place.free(), place.whole(SIZE), domain(work, place.whole(SIZE), place.is_raw)
    raw, disk = work / "disk", work / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, disk], check=True)
    with defined(work, text.replace('type="raw"', 'type="qcow2"').replace(f'"{raw}"', f'"{disk}"')) as instance:
        virsh("start", NAME)
        instance.wait_counting()
        first = instance.said()[-1]
        virsh("snapshot-create-as", NAME, "before")
        last = instance.said()[-1]
        instance.wait_counting()
        assert place.used(memory_of(compute)) == size and place.free() == free - size
        virsh("snapshot-revert", NAME, "before")
        check_went_back(instance, first, last)
        assert place.used(memory_of(compute)) == size and place.free() == free - size
        virsh("destroy", NAME)
        assert not files_of(compute)
        wait_free(place, free)


@kinds("pages=1G", RAW)
def test_instance_goes_back_to_an_external_snapshot(place, compute, work, instance):  # noqa: F811
    """libvirt 9 cannot revert to it, but restores the memory as that of a saved guest, which is then on the disk of that time."""
    free, size = place.free(), place.whole(SIZE)
    virsh("start", NAME)
    instance.wait_counting()
    first = instance.said()[-1]
    virsh("snapshot-create-as", NAME, "before", "--memspec", f"file={work / 'saved'},snapshot=external",
          "--diskspec", f"vda,snapshot=external,file={work / 'overlay'}")
    last = instance.said()[-1]
    instance.wait_counting()
    assert place.used(memory_of(compute)) == size and place.free() == free - size
    reverted = attempt("snapshot-revert", NAME, "before")
    if reverted.returncode != 0:
        assert "revert to external snapshot not supported yet" in reverted.stderr
        instance.wait_counting()
        virsh("destroy", NAME)
        wait_free(place, free)
        virsh("restore", work / "saved")
    check_went_back(instance, first, last)
    assert place.used(memory_of(compute)) == size and place.free() == free - size
    virsh("destroy", NAME)
    assert not files_of(compute)
    wait_free(place, free)


@pytest.fixture
def userfaultfd():
    """Every process may use it, also QEMU as libvirt starts it."""
    setting = Path("/proc/sys/vm/unprivileged_userfaultfd")
    before = setting.read_text()
    setting.write_text("1\n")
    yield
    setting.write_text(before)


@kinds("pages=1G", RAW)
@pytest.mark.usefixtures("userfaultfd")
def test_background_snapshot_is_refused(compute, instance):
    """The instance goes on."""
    virsh("start", NAME)
    instance.wait_counting()
    capabilities = '[{"capability": "background-snapshot", "state": true}]'
    answer = virsh("qemu-monitor-command", NAME,
                   f'{{"execute": "migrate-set-capabilities", "arguments": {{"capabilities": {capabilities}}}}}')
    assert "not compatible with guest memory configuration" in answer
    instance.wait_counting()
    virsh("destroy", NAME)
