# SPDX-License-Identifier: GPL-2.0-or-later
"""The module as a whole: its device, what it keeps while it is loaded, and that it releases everything."""

import errno
import mmap
import os
import re
import stat
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from device import PATH, Device
from dmemfs_ioctl import CONSTANTS, STRUCTS
from helpers.backends import GIB, MIB
from helpers.children import in_child
from helpers.expect import fails_with

NOBODY = 65534
PAT = Path("/sys/kernel/debug/x86/pat_memtype_list")


def load(*parameters):
    subprocess.run(["insmod", os.environ["DMEMFS_MODULE"], *parameters], check=True)


def unload():
    """Runs rmmod. Returns its exit status and its output."""
    done = subprocess.run(["rmmod", "dmemfs"], stderr=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stderr


@contextmanager
def unloaded():
    """Within the block the module is not loaded. Afterwards it is loaded again."""
    status, said = unload()
    assert status == 0, said
    try:
        yield
    finally:
        if not Path(PATH).exists():
            load()


def iomem_of_dmemfs():
    return [line for line in Path("/proc/iomem").read_text().splitlines() if line.endswith(": dmemfs")]


def pat_entries(start, size):
    """Memory types of the PAT entries that begin in the range."""
    for low, kind in re.findall(r"PAT: \[mem 0x([0-9a-f]+)-0x[0-9a-f]+\] (\S+)", PAT.read_text()):
        if start <= int(low, 16) < start + size:
            yield kind


def test_device_is_for_root_only():
    mode = os.stat(PATH).st_mode
    assert stat.S_ISCHR(mode) and stat.S_IMODE(mode) == 0o600
    with fails_with(errno.EACCES):
        in_child(os.open, PATH, os.O_RDWR, uid=NOBODY)


def test_device_needs_more_than_its_mode_allows():
    """It needs CAP_SYS_RAWIO, whatever its permission bits are."""
    os.chmod(PATH, 0o666)
    try:
        with fails_with(errno.EPERM):
            in_child(os.open, PATH, os.O_RDWR, uid=NOBODY)
    finally:
        os.chmod(PATH, 0o600)


def test_one_daemon_at_a_time(device):
    with fails_with(errno.EBUSY):
        Device()
    device.close()
    Device().close()


def test_hello_comes_first_and_must_match():
    with Device(hello=False) as device:
        with fails_with(errno.EPROTO):
            device.call("REGION_NEXT")
        with fails_with(errno.EPROTO):
            device.call("HELLO", abi=CONSTANTS["ABI_VERSION"] + 1)
        with fails_with(errno.EPROTO):
            os.read(device.fd, 4096)
        assert device.call("HELLO", abi=CONSTANTS["ABI_VERSION"]).abi == CONSTANTS["ABI_VERSION"]


def test_hello_tells_the_page_sizes(device):
    assert device.hello.huge in (CONSTANTS["HUGE_SAFE"], CONSTANTS["HUGE_GUARDED"])
    assert device.hello.page_sizes == 4096 | 2 * MIB | GIB
    assert re.fullmatch(rb"\d+\.\d+\.\d+", device.hello.version)


def test_mark_lasts_as_long_as_the_module(device):
    mark = type(STRUCTS["mark"]().bytes)(*os.urandom(16))
    device.call("MARK_SET", bytes=mark)
    device.close()
    with Device() as again:
        assert bytes(again.call("MARK_GET").bytes) == bytes(mark)
        with fails_with(errno.EINVAL):
            again.call("MARK_GET", bytes=mark)
    with unloaded():
        pass
    with Device() as fresh:
        assert bytes(fresh.call("MARK_GET").bytes) == bytes(16)


def test_each_node_has_its_region(device, reserved):
    nodes = []
    for start, size in reserved:
        claimed = device.claim(start, size)
        assert (claimed.owned, claimed.node_length) == (0, size)
        nodes.append(claimed.node)
    assert nodes == list(range(len(reserved)))
    assert [(found.start, found.length) for found in device.regions()] == sorted(reserved)


@pytest.mark.parametrize("order", [0, 9, 18], ids=["raw", "pages=2M", "pages=1G"])
def test_region_is_write_back(device, reserved, order):
    for start, size in reserved:
        device.claim(start, size, order)
        kinds = set(pat_entries(start, size))
        assert kinds == {"write-back"}, f"{start:#x}: {kinds}"


def system_ram():
    """A range that the kernel uses. It starts past the first megabytes, much of which is special."""
    for start, end in re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM$", Path("/proc/iomem").read_text(), re.M):
        low, high = -(-int(start, 16) // MIB) * MIB, int(end, 16) + 1
        if low > 16 * MIB and high - low >= 16 * MIB:
            return low, 16 * MIB
    return 256 * MIB, 16 * MIB  # of the range that starts at 1 MiB


def end_of_system_ram():
    """The end of the memory that the kernel uses below the first range that it does not use."""
    ends = re.findall(r"^[0-9a-f]+-([0-9a-f]+) : System RAM$", Path("/proc/iomem").read_text(), re.M)
    return next(int(end, 16) + 1 for end in ends if int(end, 16) > 16 * MIB)


def firmware_reserved():
    """A page that the firmware reserves."""
    for entry in Path("/sys/firmware/memmap").iterdir():
        start, last = (int((entry / name).read_text(), 0) for name in ("start", "end"))
        if (entry / "type").read_text() == "Reserved\n" and start >= MIB and last - start >= 2 * 4096:
            return -(-start // 4096) * 4096
    raise ValueError("the firmware has nothing for itself")


@pytest.mark.parametrize("start_of, length, error", [
    (lambda start, end: start + 1, MIB, errno.EINVAL),
    (lambda start, end: start, 4095, errno.EINVAL),
    (lambda start, end: start, 0, errno.EINVAL),
    (lambda start, end: (1 << 64) - MIB, 2 * MIB, errno.EINVAL),
    (lambda start, end: 1 << 58, MIB, errno.EINVAL),
    (lambda start, end: system_ram()[0], system_ram()[1], errno.ENXIO),
    (lambda start, end: end_of_system_ram() - MIB, 2 * MIB, errno.ENXIO),
    (lambda start, end: 0xFEC00000, 4096, errno.ENODEV),
    (lambda start, end: end - MIB, 2 * MIB, errno.ENODEV),
    (lambda start, end: firmware_reserved(), 4096, errno.EADDRNOTAVAIL),
], ids=["unaligned", "odd length", "empty", "wraps", "beyond the CPU", "System RAM", "partly System RAM", "a device",
        "past the end", "the firmware's"])
def test_claim_refuses(device, reserved, start_of, length, error):
    """@start_of: computes the start from the last range of memmap=, which ends where the RAM ends."""
    start = start_of(reserved[-1][0], sum(reserved[-1]))
    with fails_with(error):
        device.claim(start, length)
    assert not list(device.regions()) and not iomem_of_dmemfs()


def test_regions_do_not_overlap(device, reserved):
    start, _ = reserved[0]
    device.claim(start + 4 * MIB, 4 * MIB)
    for offset, length in ((0, 8), (4, 4), (6, 4), (5, 1)):
        with fails_with(errno.EEXIST):
            device.claim(start + offset * MIB, length * MIB)
    device.claim(start, 4 * MIB)
    device.claim(start + 8 * MIB, 4 * MIB)
    assert len(list(device.regions())) == 3


def test_region_in_use_is_not_released(device, region):
    os.close(device.create(1, region.start, 2 * MIB))
    with fails_with(errno.EBUSY):
        device.call("REGION_RELEASE", start=region.start, length=region.length)
    device.call("OBJECT_DROP", id=1)
    device.call("OBJECT_REAP", id=1)
    with fails_with(errno.ENOENT):
        device.call("REGION_RELEASE", start=region.start, length=region.length - 4096)
    device.call("REGION_RELEASE", start=region.start, length=region.length)
    assert not iomem_of_dmemfs()


def test_state_outlives_the_controlling_descriptor(device, region):
    os.close(device.create(7, region.start + 4 * MIB, 2 * MIB))
    device.close()
    with Device() as again:
        assert [found.id for found in again.objects()] == [7]
        assert again.info(7).allocated == 2 * MIB
        extent = again.call("EXTENT_NEXT", id=7)
        assert (extent.offset, extent.start, extent.length) == (0, region.start + 4 * MIB, 2 * MIB)
        assert next(again.regions()).owned == 2 * MIB


def test_unload_is_refused_while_the_device_is_open(device):
    status, said = unload()
    assert status and "in use" in said


@pytest.mark.parametrize("keep", ["descriptor", "mapping"])
def test_unload_is_refused_while_an_object_is_reached(device, region, keep):
    fd = device.create(1, region.start, 2 * MIB)
    mapping = mmap.mmap(fd, 2 * MIB, flags=mmap.MAP_SHARED) if keep == "mapping" else None
    if mapping:
        mapping[0:5] = b"alive"
        os.close(fd)
    device.close()
    status, said = unload()
    assert status and "in use" in said
    if mapping:
        assert mapping[0:5] == b"alive"
        mapping.close()
    else:
        os.close(fd)


def test_unloading_gives_everything_back(device, reserved):
    for number, (start, size) in enumerate(reserved, 1):
        device.claim(start, size)
        os.close(device.create(number, start, 4 * MIB))
    assert len(iomem_of_dmemfs()) == len(reserved)
    device.close()
    with unloaded():
        assert not iomem_of_dmemfs()
        assert not Path(PATH).exists()
        assert not any(True for start, size in reserved for _ in pat_entries(start, size))


def test_loading_again_and_again(reserved):
    for _ in range(8):
        with unloaded():
            pass
        with Device() as device:
            device.claim(*reserved[0])
            os.close(device.create(1, reserved[0][0], 2 * MIB))
    with unloaded():
        pass


def test_huge_pages_can_be_switched_off():
    with unloaded():
        load("huge_pages=0")
        with Device() as device:
            assert device.hello.huge == CONSTANTS["HUGE_PARAMETER"]
            assert device.hello.page_sizes == 4096
        assert Path("/sys/module/dmemfs/parameters/huge_pages").read_text() == "N\n"
        assert unload()[0] == 0
