# SPDX-License-Identifier: GPL-2.0-or-later
"""Fixtures for what runs only in the laboratory's VM, with dmemfs.ko loaded; tests/vm/run starts it."""

import fcntl
import os
import re
import subprocess
import tempfile
from pathlib import Path

import pytest

from device import PATH, Device
from helpers.backends import GIB

KVM_CREATE_VM = 0xAE01
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": GIB}


def pytest_collection_modifyitems(items):
    """Elsewhere these tests are skipped: they take the device and the reserved memory for their own."""
    here = Path(__file__).parent
    for item in items:
        if item.path.parent == here and not Path(PATH).exists():
            item.add_marker(pytest.mark.skip(reason="needs dmemfs.ko: tests/vm/run"))


def compile_program(tmp_path_factory, name):
    """Of demand/NAME.c."""
    program = tmp_path_factory.mktemp("demand") / name
    source = Path(__file__).parent / "demand" / f"{name}.c"
    subprocess.run(["cc", "-std=gnu17", "-O1", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-pthread", "-o", program,
                    source], check=True)
    return program


@pytest.fixture(scope="session")
def toucher(tmp_path_factory):
    """The program demand/toucher.c."""
    return compile_program(tmp_path_factory, "toucher")


@pytest.fixture(scope="session")
def vcpu(tmp_path_factory):
    """The program demand/vcpu.c."""
    return compile_program(tmp_path_factory, "vcpu")


@pytest.fixture
def public():
    """A directory of root's that anybody may read."""
    with tempfile.TemporaryDirectory(dir="/run") as directory:
        path = Path(directory)
        path.chmod(0o755)
        yield path


@pytest.fixture(scope="session")
def kvm():
    """
    -cpu max has SVM with nested paging, emulated or not. Holds an empty guest of its own: the first guest to come and the
    last to go have the kernel patch its scheduler, and QEMU before 8.1 may run what it translated half-way through that.
    """
    subprocess.run(["modprobe", "kvm-amd"], check=True)
    if not Path("/dev/kvm").exists():
        pytest.skip("this CPU has no SVM")
    with open("/dev/kvm", "rb", buffering=0) as device:
        held = fcntl.ioctl(device, KVM_CREATE_VM, 0)
        yield
        os.close(held)


@pytest.fixture(scope="session")
def reserved():
    """(start, size) of what the kernel's command line reserved, a range per node."""
    found = re.findall(r"memmap=(\d+)([KMG]?)\$(0x[0-9a-f]+|\d+)", Path("/proc/cmdline").read_text())
    return [(int(start, 0), int(size) * _UNITS[unit]) for size, unit, start in found]


@pytest.fixture
def device():
    """The control device, to begin with without regions and objects. The test must let go of its objects."""
    opened = Device()
    opened.clear()
    yield opened
    opened.close()
    with Device() as again:
        again.clear()


@pytest.fixture
def region(device, reserved):
    """A claimed gigabyte that starts at a multiple of 1 GiB."""
    return device.claim(reserved[0][0], GIB)
