# SPDX-License-Identifier: GPL-2.0-or-later
"""
Devices for users of VFIO, and QEMU's edu device (its docs/specs/edu), which copies between memory and a buffer of its own, as a
VFIO type 1 user has it.
"""

import fcntl
import os
import struct
import subprocess
import time
from pathlib import Path

from helpers.syscalls import MAP_ANONYMOUS, MAP_SHARED, Mapping

# linux/vfio.h
_BASE = 0x3B64  # _IO(';', 100)
SET_IOMMU, GROUP_SET_CONTAINER, GROUP_GET_DEVICE_FD = _BASE + 2, _BASE + 4, _BASE + 6
DEVICE_GET_REGION_INFO, IOMMU_MAP_DMA, IOMMU_UNMAP_DMA = _BASE + 8, _BASE + 13, _BASE + 14
TYPE1_IOMMU = 1
READ_WRITE = 3
BAR0, CONFIG = 0, 7

PCI_COMMAND, MEMORY_AND_MASTER = 4, 6
# edu's registers, and where its buffer lies. It reaches addresses of 28 bits.
SOURCE, TARGET, COUNT, COMMAND = 0x80, 0x88, 0x90, 0x98
START, TO_MEMORY = 1, 2
BUFFER = 0x40000
PAGE, PIECE = 4096, 1024  # QEMU before 8.1 refuses a whole buffer
OWN = 0x1000  # the device's address of our page that it copies to

# What gives the device an address space: VFIO itself (type 1), or iommufd, which answers the same requests.
TYPE1, IOMMUFD = Path("/dev/vfio/vfio"), Path("/dev/iommu")


def has_iommufd():
    subprocess.run(["modprobe", "--quiet", "iommufd"], check=False)
    return IOMMUFD.exists()


def load():
    for module in ("vfio_iommu_type1", "vfio-pci"):
        subprocess.run(["modprobe", module], check=True)
    # The emulated IOMMU does not remap interrupts.
    for module in ("vfio_iommu_type1", "iommufd") if has_iommufd() else ("vfio_iommu_type1",):
        Path(f"/sys/module/{module}/parameters/allow_unsafe_interrupts").write_text("Y")


def unload():
    if Path("/sys/module/vfio_iommu_type1/initstate").exists():  # not built in
        subprocess.run(["modprobe", "-r", "vfio-pci", "vfio_iommu_type1"], check=True)


def assign(what, **attributes):
    """The PCI address of the device with these attributes in sysfs, which is VFIO's from now on."""
    load()
    found = [device for device in Path("/sys/bus/pci/devices").iterdir()
             if all((device / name).read_text().strip() == value for name, value in attributes.items())]
    assert found, f"this machine has no {what}: tests/vm/run gives it one"
    driver = found[0] / "driver"
    if driver.exists() and driver.resolve().name != "vfio-pci":
        (driver / "unbind").write_text(found[0].name)
    if not driver.exists():
        (found[0] / "driver_override").write_text("vfio-pci")
        Path("/sys/bus/pci/drivers_probe").write_text(found[0].name)
    return found[0].name


class Edu:
    """The device, in an address space of its own, which @container gives it."""

    def __init__(self, container=TYPE1):
        self.address = assign("edu device", vendor="0x1234", device="0x11e8")
        group = Path(f"/sys/bus/pci/devices/{self.address}/iommu_group").resolve().name
        self._files = []
        self._group = self._keep(os.open(f"/dev/vfio/{group}", os.O_RDWR))
        self.container = self._keep(os.open(container, os.O_RDWR))
        fcntl.ioctl(self._group, GROUP_SET_CONTAINER, struct.pack("i", self.container))
        fcntl.ioctl(self.container, SET_IOMMU, TYPE1_IOMMU)
        name = bytearray(self.address + "\0", "ascii")
        self._device = self._keep(fcntl.ioctl(self._group, GROUP_GET_DEVICE_FD, name))
        self._bar = self._offset(BAR0)
        os.pwrite(self._device, struct.pack("H", MEMORY_AND_MASTER), self._offset(CONFIG) + PCI_COMMAND)
        self._page = Mapping(-1, PAGE, flags=MAP_SHARED | MAP_ANONYMOUS)
        self.map(self._page, OWN)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def close(self):
        while self._files:
            os.close(self._files.pop())

    def _keep(self, fd):
        self._files.append(fd)
        return fd

    def _offset(self, region):
        """Where a region of the device begins in its file."""
        info = bytearray(struct.pack("4I2Q", 32, 0, region, 0, 0, 0))
        fcntl.ioctl(self._device, DEVICE_GET_REGION_INFO, info)
        return struct.unpack("4I2Q", info)[-1]

    def map(self, mapping, iova):
        """VFIO_IOMMU_MAP_DMA: the device gets the whole mapping, at its address @iova."""
        request = struct.pack("2I3Q", 32, READ_WRITE, mapping.address, iova, mapping.length)
        fcntl.ioctl(self.container, IOMMU_MAP_DMA, request)

    def unmap(self, iova, length):
        """VFIO_IOMMU_UNMAP_DMA"""
        fcntl.ioctl(self.container, IOMMU_UNMAP_DMA, struct.pack("2I2Q", 24, 0, iova, length))

    def _copy(self, source, target, direction):
        for register, value in ((SOURCE, source), (TARGET, target), (COUNT, PIECE), (COMMAND, START | direction)):
            os.pwrite(self._device, struct.pack("Q", value), self._bar + register)
        while os.pread(self._device, 8, self._bar + COMMAND)[0] & START:
            time.sleep(0.001)

    def read(self, iova):
        """What the device sees at its address @iova: the first PIECE bytes."""
        self._copy(iova, BUFFER, 0)
        self._copy(BUFFER, OWN, TO_MEMORY)
        return self._page.read(0, PIECE)
