# SPDX-License-Identifier: GPL-2.0-or-later
"""configs/nova.md, followed word for word: see nova_host.py."""

import configparser
from pathlib import Path

import pytest

from helpers.counting import in_order
from libvirt_host import faults, files_of, memory_of, virsh
from nova_host import NAME, SIZE, block, compute, defined, domain, wait_free  # noqa: F401 compute is a fixture
from places import GIB, RAW, capacity, kinds, page_size, pages, place  # noqa: F401 fixtures

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def settings():
    """nova.conf of the recipe."""
    parser = configparser.ConfigParser()
    parser.read_string(block("/etc/nova/nova.conf"))
    return parser


@pytest.fixture
def cache(settings, place):  # noqa: F811
    """As Nova chooses it: what is configured for the type of the disk, else "none"."""
    modes = dict(mode.split("=") for mode in settings["libvirt"]["disk_cachemodes"].split(","))
    return modes["file"] if place.is_raw else "none"


@pytest.fixture
def instance(place, compute, work, cache):  # noqa: F811
    with defined(work, domain(work, place.whole(SIZE), cache)) as made:
        yield made


def test_settings_that_nova_refuses_to_start_without(settings):
    """nova-compute asks for these; the capacity is what it reports instead of the host's memory."""
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
