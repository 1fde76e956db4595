# SPDX-License-Identifier: GPL-2.0-or-later
"""
No device may access reserved memory. Nothing can pin it, so a device would keep access when the memory has another
owner. The device is QEMU's edu, which does DMA through an emulated IOMMU; tests/vm/run adds both to the VM.
"""

import errno
import mmap
import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

import vfio
from device import PAGE, Device
from dmemfs_ioctl import CONSTANTS
from helpers.backends import GIB, MIB
from helpers.children import Child
from helpers.expect import fails_with
from helpers.syscalls import FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, Mapping, fallocate, opened
from holder import pinned, wait_unpinned
from kvm_guest import guest
from test_module import load, unloaded

IOVA = 2 * MIB
SECRET = b"the victim's"
FTRACE = Path("/proc/sys/kernel/ftrace_enabled")
TRACING = Path("/sys/kernel/tracing")
REFUSED = r"dmemfs: .*refused: \S+ (\[vfio_iommu_type1\] )?asked for memory that cannot be pinned"
LIMIT = 5  # seconds: the kernel lets 10 lines of a place pass in that time, linux/ratelimit_types.h


@pytest.fixture(scope="module")
def last_refusal():
    """A list with the latest time at which a test may have had a refusal logged."""
    return [-LIMIT]


@pytest.fixture
def unlimited(last_refusal):
    """Waits until the kernel's rate limit lets a refusal be logged again."""
    time.sleep(max(0, last_refusal[0] + LIMIT + 1 - time.monotonic()))
    yield
    last_refusal[0] = time.monotonic()


def logs_refusal(test):
    """A mark for tests: the kernel must log that it refused the device."""
    return pytest.mark.usefixtures("unlimited")(pytest.mark.kernel_log(REFUSED)(test))


@pytest.fixture
def edu():
    with vfio.Edu() as device:
        yield device


@pytest.fixture
def iommufd_edu():
    if not vfio.has_iommufd():
        pytest.skip("Debian's kernels have no iommufd, that of tests/setup/build-debug-kernel has it")
    with vfio.Edu(vfio.IOMMUFD) as device:
        yield device


def try_map(edu, mapping):
    """0, or the errno with which the device was refused the mapping."""
    try:
        edu.map(mapping, IOVA)
    except OSError as error:
        return error.errno
    return 0


def check_refused(edu, fd):
    with Mapping(fd, 2 * MIB) as mapping:
        mapping.write(0, b"own")
        assert try_map(edu, mapping) == errno.EOPNOTSUPP
        assert mapping.read(0, 3) == b"own"


def attack(pipe, edu, how, path, passed):
    """In a process of its own: lets the device map the file, then gives the memory back."""
    fd = socket.recv_fds(passed, 1, 1)[1][0] if how == "passed" else os.open(path, os.O_RDWR)
    mapping = Mapping(fd, 2 * MIB)
    mapping.write(0, b"own")
    pipe.send(try_map(edu, mapping))
    pipe.recv()
    if how in ("truncate", "passed"):
        os.ftruncate(fd, 0)
    elif how == "punch":
        fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 2 * MIB)
    elif how == "munmap":
        mapping.unmap()
        os.close(fd)
        os.unlink(path)
    elif how == "unlink":
        os.unlink(path)
    pipe.send(None)
    pipe.recv()


def run_attack(fs, edu, how):
    """The attacker's file has all memory, and gives it back. Returns the error with which the device was refused it, or 0."""
    path = fs / "attacker"
    path.touch()
    if how == "punch":
        os.setxattr(path, "dmemfs.alloc", b"demand")
    os.truncate(path, fs.capacity)
    ours, theirs = socket.socketpair()
    with opened(path) as fd:
        socket.send_fds(ours, [b"f"], [fd])
    with Child(attack, edu, how, path, theirs, with_pipe=True) as child:
        error = child.receive()
        if how != "kill":
            child.pipe.send(None)
            child.receive()
    path.unlink(missing_ok=True)
    theirs.close()
    return error


every_way = pytest.mark.parametrize("how", ["truncate", "munmap", "punch", "unlink", "kill", "passed"])


@logs_refusal
@pytest.mark.page_sizes("2M")
@every_way
def test_memory_of_the_next_owner(fs, edu, how):
    """A victim's file gets the memory. If the device could still read it, it would find the victim's bytes."""
    error = run_attack(fs, edu, how)
    assert fs.wait_free(fs.capacity) == fs.capacity
    fs.make_file("victim", SECRET * (fs.capacity // len(SECRET)), size=fs.capacity)
    assert error or SECRET not in edu.read(IOVA), "the device reads the victim's memory"
    assert error == errno.EOPNOTSUPP


@logs_refusal
@pytest.mark.parametrize("align", ["4K", "2M", "1G"])
def test_pages_of_every_size(device, region, edu, align):
    fd = device.create(1, region.start, GIB)
    offset = {"4K": 4096, "2M": 2 * MIB, "1G": 0}[align]
    length = GIB if align == "1G" else 4 * MIB
    with Mapping(fd, length, 0, skew=offset) as mapping:
        mapping.write(0, b"own")
        assert getattr(device.info(1), f"faults_{align.lower()}") > 0
        assert try_map(edu, mapping) == errno.EOPNOTSUPP
    os.close(fd)


def test_iommufd_finds_no_page(device, region, iommufd_edu):
    fd = device.create(1, region.start, GIB)
    with Mapping(fd, 2 * MIB) as mapping:
        mapping.write(0, b"own")
        assert try_map(iommufd_edu, mapping) == errno.EFAULT
    os.close(fd)


def test_discarding_mappings(device, region, edu):
    """VFIO fails before it reaches the guard: it does not handle VMAs of this kind."""
    fd = device.create(1, region.start, GIB)
    device.call("OBJECT_MODE", id=1, mode=CONSTANTS["MODE_DISCARD"], unit=4096)
    with Mapping(fd, 2 * MIB) as mapping:
        mapping.write(0, b"own")
        assert try_map(edu, mapping) == errno.EFAULT
    os.close(fd)


@pytest.mark.parametrize("kind", ["ordinary", "hugetlbfs"])
def test_other_memory_is_mapped_as_ever(edu, kind):
    pool = Path("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages")
    pool.write_text("1" if kind == "hugetlbfs" else "0")
    fd = os.memfd_create("memory", os.MFD_HUGETLB if kind == "hugetlbfs" else 0)
    os.truncate(fd, 2 * MIB)
    with Mapping(fd, 2 * MIB) as mapping:
        mapping.write(mmap.PAGESIZE, b"seen by the device")
        assert try_map(edu, mapping) == 0
        assert edu.read(IOVA + mmap.PAGESIZE).startswith(b"seen by the device")
    os.close(fd)
    pool.write_text("0")


@pytest.mark.parametrize("end", ["unmap", "close"])
@pytest.mark.parametrize("order", [9, 18], ids=["pages=2M", "pages=1G"])
@pytest.mark.parametrize("container", ["edu", "iommufd_edu"], ids=["type1", "iommufd"])
def test_memory_with_struct_pages(request, device, region, container, order, end):
    """The device gets it, and as long as it has it nobody else does, whatever becomes of the file."""
    edu = request.getfixturevalue(container)
    fd = device.create(1, region.start, GIB, order)
    with Mapping(fd, 2 * MIB, skew=0) as mapping:
        mapping.write(mmap.PAGESIZE, b"seen by the device")
        assert try_map(edu, mapping) == 0
        assert edu.read(IOVA + mmap.PAGESIZE).startswith(b"seen by the device")
    os.close(fd)
    device.call("OBJECT_DROP", id=1)
    device.call("OBJECT_REAP", id=1)
    assert pinned(device) == [(region.start, PAGE << order)]
    with fails_with(errno.EBUSY):
        device.call("OBJECT_ZERO", offset=region.start, length=PAGE << order)
    assert edu.read(IOVA + mmap.PAGESIZE).startswith(b"seen by the device")
    if end == "unmap":
        edu.unmap(IOVA, 2 * MIB)
    else:
        edu.close()
    wait_unpinned(device)


def ftrace_off():
    """Tries kernel.ftrace_enabled=0. Returns whether the kernel accepted it; Linux 7.3 and later never do."""
    try:
        FTRACE.write_text("0")
    except OSError as error:
        assert error.errno in (errno.EBUSY, errno.EOPNOTSUPP)
        return False
    return True


@pytest.fixture(params=["nop", "function", "function_graph"])
def traced(request):
    """The guarded function is traced at the same time."""
    (TRACING / "set_ftrace_filter").write_text("follow_pfnmap_start")
    (TRACING / "current_tracer").write_text(request.param)
    yield
    (TRACING / "current_tracer").write_text("nop")
    (TRACING / "set_ftrace_filter").write_text("")


@logs_refusal
@pytest.mark.usefixtures("traced")
def test_guard_cannot_be_switched_off(device, region, edu):
    fd = device.create(1, region.start, GIB)
    assert not ftrace_off()
    check_refused(edu, fd)
    os.close(fd)


@logs_refusal
@pytest.mark.parametrize("first", ["vfio", "dmemfs"])
def test_order_of_loading(reserved, first):
    with unloaded():
        vfio.unload()
        for module in (vfio, None) if first == "vfio" else (None, vfio):
            module.load() if module else load()
    with Device() as device, vfio.Edu() as edu:
        device.claim(reserved[0][0], GIB)
        fd = device.create(1, reserved[0][0], GIB)
        check_refused(edu, fd)
        os.close(fd)
        device.clear()


def test_raw_memory_is_not_claimed_without_ftrace(reserved, kernel_log):
    with unloaded():
        pass  # the guards that were set go with the module
    if ftrace_off():
        kernel_log.read()
        try:
            with Device() as device, fails_with(errno.EUNATCH):
                device.claim(reserved[0][0], GIB)
            said = [text for _, text in kernel_log.read()]
        finally:
            FTRACE.write_text("1")
        assert any("cannot guard follow_pfnmap_start: -16: kernel.ftrace_enabled is 0" in text for text in said)
    with Device() as device:
        device.claim(reserved[0][0], GIB)
        device.clear()


@pytest.mark.kernel_log("cannot guard follow_pfnmap_start: -16")
@pytest.mark.usefixtures("region")
def test_raw_memory_is_not_claimed_where_the_function_is_taken(work, reserved):
    """Another ftrace user has the function, as a live patch would. Here it is the same module under another name."""
    module = work / "second.ko"
    module.write_bytes(Path(os.environ["DMEMFS_MODULE"]).read_bytes().replace(b"dmemfs\0", b"second\0"))
    subprocess.run(["insmod", module], check=True)
    try:
        with Device(path="/dev/second") as second, fails_with(errno.EUNATCH):
            second.claim(reserved[0][0] + GIB, GIB)
    finally:
        subprocess.run(["rmmod", "second"], check=True)


@logs_refusal
@pytest.mark.parametrize("capacity", [GIB])
@pytest.mark.page_sizes("2M")
def test_guest_with_the_device(fs, work, kvm):
    """QEMU reports the refusal and ends. With RAM of another kind its guest gets the device."""
    with vfio.Edu() as edu:
        options = ["-device", f"vfio-pci,host={edu.address}"]
    with guest(work, f"mem-path={fs / 'vm1'},align=2M", 512 * MIB, "", options) as running:
        assert running.process.wait() == 1
        assert re.search("vfio.*Operation not supported", running.errors())
    with guest(work, "mem-path=/dev/shm/ram", 256 * MIB, "", options) as running:
        assert running.wait("guest-token")
