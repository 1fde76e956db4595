# SPDX-License-Identifier: GPL-2.0-or-later
"""A KVM guest inside the VM whose RAM is a file on the mount: the token test of ../../quickstart, and more."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from kvm_guest import BOOT_TIMEOUT, GIB, MIB, guest

pytestmark = pytest.mark.usefixtures("kvm")
WITNESS = Path(__file__).parents[1] / "quickstart" / "witness.py"
KVM = Path("/sys/kernel/debug/kvm")


@pytest.fixture
def capacity(page_size):
    """What the daemon owns, in bytes: 1 GiB for the guest, or two pages of 1 GiB."""
    return 2 * GIB if page_size == "1G" else GIB


def witness(*arguments):
    command = [sys.executable, WITNESS, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.strip()


def huge_pages():
    """The pages that KVM maps for its guests, by size."""
    return {size: int((KVM / f"pages_{size}").read_text()) for size in ("4k", "2m", "1g")}


def exchange_tokens(running, path):
    """Shows in both directions that the guest's RAM and the file are the same bytes."""
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
    """QEMU makes a file in the directory, removes its name, and then sizes it."""
    with guest(work, f"mem-path={fs.root},align=2M", 512 * MIB) as running:
        running.wait("pattern-mib")
        assert not os.listdir(fs.root)
        pages = check_guest(running, running.memory_descriptor(fs.root), 512 * MIB)
    assert pages["2m"] > 200
    assert fs.wait_free(GIB) == GIB


@pytest.mark.timeout(90)
@pytest.mark.page_sizes("1G")
def test_guest_on_gigabyte_pages(fs, work):
    """The first GiB has holes for devices. The second one is a single page in the host's and in KVM's page tables."""
    path = fs / "vm1"
    with guest(work, f"mem-path={path},align=1G", 2 * GIB) as running:
        pages = check_guest(running, path, 2 * GIB)
    print(f"KVM's pages: {pages}")
    assert pages["1g"] == 1
