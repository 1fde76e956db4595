# SPDX-License-Identifier: GPL-2.0-or-later
"""A KVM guest inside the VM, with its RAM in a file on the mount: the token test of ../../quickstart, and more."""

import fcntl
import os
import re
import secrets
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

MIB, GIB = 1 << 20, 1 << 30
SCALE = float(os.environ.get("DMEMFS_TEST_SCALE", "1"))
BOOT_TIMEOUT = 40 * SCALE
WITNESS = Path(__file__).parents[1] / "quickstart" / "witness.py"
KVM = Path("/sys/kernel/debug/kvm")
KVM_CREATE_VM = 0xAE01


@pytest.fixture(scope="session", autouse=True)
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


@pytest.fixture
def capacity(page_size):
    """What the daemon owns, in bytes: the gigabyte that a guest wants here, or two of one page each."""
    return 2 * GIB if page_size == "1G" else GIB


class Guest:
    """A QEMU with @memory as its RAM; what the guest prints is "NAME VALUE" lines."""

    def __init__(self, work, memory, size):
        self._console = work / "console.log"
        self._errors = work / "qemu.log"
        with open(self._errors, "wb") as errors:
            self.process = subprocess.Popen(
                ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "qemu64", "-machine", "q35,memory-backend=ram",
                 "-m", f"{size // MIB}M", "-object", f"memory-backend-file,id=ram,size={size},share=on,{memory}",
                 "-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{self._console}",
                 "-kernel", os.environ["DMEMFS_GUEST_KERNEL"], "-initrd", os.environ["DMEMFS_GUEST_INITRAMFS"],
                 "-append", "console=ttyS0 panic=-1 mitigations=off quiet"], stdout=errors, stderr=errors)

    def said(self, name):
        """The value that the guest printed after @name, or None as long as the line is not complete."""
        text = self._console.read_text(errors="replace") if self._console.exists() else ""
        match = re.search(rf"^{name} (\S+)\r?\n", text, re.MULTILINE)
        return match and match[1]

    def wait(self, name):
        deadline = time.monotonic() + BOOT_TIMEOUT
        while self.said(name) is None:
            assert self.process.poll() is None, f"QEMU ended: {self._errors.read_text()}"
            assert time.monotonic() < deadline, f"the guest does not print its {name}"
            time.sleep(0.1)
        return self.said(name)

    def memory_descriptor(self, root):
        """QEMU's own descriptor of its RAM, for a file that has no name any more."""
        descriptors = Path(f"/proc/{self.process.pid}/fd")
        return next(fd for fd in descriptors.iterdir() if os.readlink(fd).startswith(str(root)))


@contextmanager
def guest(*arguments):
    running = Guest(*arguments)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def witness(*arguments):
    command = [sys.executable, WITNESS, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def huge_pages():
    """What KVM maps for its guests, by size of page."""
    return {size: int((KVM / f"pages_{size}").read_text()) for size in ("4k", "2m", "1g")}


def exchange_tokens(running, path):
    """Proof that the guest's RAM and the file are the same bytes, in both directions."""
    offset = witness("find", path, running.wait("guest-token"))
    token = secrets.token_hex(16)
    witness("write", path, offset, token)
    assert running.wait("host-token") == token


def check_guest(running, path, size):
    assert int(running.wait("pattern-mib")) * MIB > size / 2
    pages = huge_pages()
    exchange_tokens(running, path)
    assert running.process.wait(BOOT_TIMEOUT) == 0
    return pages


@pytest.mark.page_sizes("2M")
def test_guest_in_a_named_file(fs, work):
    path = fs / "vm1"
    with guest(work, f"mem-path={path},align=2M", 512 * MIB) as running:
        pages = check_guest(running, path, 512 * MIB)
    print(f"KVM's pages: {pages}")
    # What is smaller belongs to the first 2 MiB, with its holes for devices.
    assert pages["2m"] > 200 and pages["4k"] < 512


@pytest.mark.page_sizes("2M")
def test_guest_in_a_directory(fs, work):
    """QEMU makes a file there, removes its name and sizes it only then."""
    with guest(work, f"mem-path={fs.root},align=2M", 512 * MIB) as running:
        running.wait("pattern-mib")
        assert not os.listdir(fs.root)
        pages = check_guest(running, running.memory_descriptor(fs.root), 512 * MIB)
    assert pages["2m"] > 200
    assert fs.wait_free(GIB) == GIB


@pytest.mark.timeout(90)
@pytest.mark.page_sizes("1G")
def test_guest_on_gigabyte_pages(fs, work):
    """The first gigabyte has holes for devices; the second one is a single page, for the host's and KVM's tables."""
    path = fs / "vm1"
    with guest(work, f"mem-path={path},align=1G", 2 * GIB) as running:
        pages = check_guest(running, path, 2 * GIB)
    print(f"KVM's pages: {pages}")
    assert pages["1g"] == 1
