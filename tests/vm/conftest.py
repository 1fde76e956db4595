# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures for the tests that run only in the laboratory's VM, with dmemfs.ko loaded. tests/vm/run starts them."""

import os
import re
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from device import PAGE, PATH, Device
from helpers.backends import GIB
from helpers.control import Control
from helpers.daemon import control_program
from holder import DISK, Holder, build_holder, prepare_disk
from kvm_patches import kvm_patched
from programs import compile_program
from test_module import unloaded

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": GIB}


def pytest_collection_modifyitems(items):
    """Skips these tests outside the VM: they use the device and all reserved memory."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and not Path(PATH).exists():
            item.add_marker(pytest.mark.skip(reason="needs dmemfs.ko: tests/vm/run"))


def build_demand(tmp_path_factory, name):
    """Compiles demand/NAME.c."""
    return compile_program(tmp_path_factory.mktemp("demand"), Path(__file__).parent / "demand" / f"{name}.c", "-pthread")


@pytest.fixture
def ctl(dmemfsd, work):
    return Control(control_program(dmemfsd), work)


@pytest.fixture(scope="session")
def toucher(tmp_path_factory):
    """The program demand/toucher.c."""
    return build_demand(tmp_path_factory, "toucher")


@pytest.fixture(scope="session")
def vcpu(tmp_path_factory):
    """The program demand/vcpu.c."""
    return build_demand(tmp_path_factory, "vcpu")


@pytest.fixture(scope="session")
def disk():
    """A descriptor, with O_DIRECT, of a small disk whose transfers are to and from the caller's own pages."""
    prepare_disk()
    fd = os.open(DISK, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
    yield fd
    os.close(fd)


@pytest.fixture(scope="session")
def holder_program(tmp_path_factory):
    return build_holder(tmp_path_factory.mktemp("pages"))


@pytest.fixture
def hold(holder_program):
    """hold(fd, length, offset, size): a process that holds memory of the object as a device does."""
    holders = []

    def start(*arguments):
        holders.append(Holder(holder_program, *arguments))
        return holders[-1]

    yield start
    for holder in holders:
        holder.kill()


@pytest.fixture
def public():
    """A directory that belongs to root and that all users may read."""
    with tempfile.TemporaryDirectory(dir="/run") as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="session")
def kvm():
    """/dev/kvm, with the kernel patched for it once."""
    with ExitStack() as stack:
        try:
            stack.enter_context(kvm_patched())
        except FileNotFoundError:
            pytest.skip("this CPU has no SVM")
        yield


@pytest.fixture(scope="session")
def reserved():
    """(start, size) of each range that the kernel command line reserves; one for each node."""
    found = re.findall(r"memmap=(\d+)([KMG]?)\$(0x[0-9a-f]+|\d+)", Path("/proc/cmdline").read_text())
    return [(int(start, 0), int(size) * _UNITS[unit]) for size, unit, start in found]


@pytest.fixture
def spoiled(reserved):
    """
    A device with a region whose pages may be poisoned. The module is reloaded afterwards, because it remembers
    them.
    """
    with Device() as device:
        device.clear()
        device.claim(reserved[0][0], GIB)
        yield device
        device.clear()
    with unloaded():
        pass


@pytest.fixture
def device():
    """The control device without regions and objects. The test must close its descriptors of objects."""
    opened = Device()
    opened.clear()
    yield opened
    opened.close()
    with Device() as again:
        again.clear()


@pytest.fixture
def order():
    """The order of the region: raw memory, unless the test says otherwise."""
    return 0


@pytest.fixture
def folio(order):
    return PAGE << order


@pytest.fixture
def region(device, reserved, order):
    """A claimed region of 1 GiB, aligned to 1 GiB."""
    return device.claim(reserved[0][0], GIB, order)
