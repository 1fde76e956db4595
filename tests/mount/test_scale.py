# SPDX-License-Identifier: GPL-2.0-or-later
"""
A host of 12 TiB with 2,000 guests. None of it exists: the regions of the memory backend are imaginary, and so is memory
that no guest touches.
"""

import errno
import os

import pytest

from helpers.backends import GIB, PAGE_SIZES
from helpers.children import Child
from helpers.expect import fails_with
from helpers.mount import Mount
from helpers.processes import computed, resident
from helpers.quota import check_usage, limit
from helpers.syscalls import Mapping, opened

pytestmark = [
    pytest.mark.memory_only("the regions are imaginary"),
    pytest.mark.page_sizes("1G"),
]

NODES, NODE_SIZE = 4, 3 << 40
GUESTS, GUEST_SIZE = 2000, 6 * GIB
TENANTS = 40
CLIENTS = 64
MEMORY_PER_GUEST = 32 << 10  # of the daemon: 1 KiB, and what a sanitizer adds


@pytest.fixture
def host(daemon, backend, page_size):
    text = "".join(line for line in daemon.config.read_text().splitlines(True) if not line.startswith("size="))
    for node in range(NODES):
        text += f"\n[region node{node}]\nstart={(4 * node + 1) << 40}\nsize={NODE_SIZE}\nnode={node}\n"
    daemon.config.write_text(text.replace("[daemon]\n", "[daemon]\npopulate=false\n"))
    daemon.start()
    return Mount(daemon, backend, PAGE_SIZES[page_size], NODES * NODE_SIZE)


def guest(host, number):
    return host / f"tenant{number % TENANTS}" / f"guest{number}"


def token(number):
    return f"guest {number}".encode()


def start_guests(host, client):
    """Makes and maps every 64th guest, and writes a word at both of its ends."""
    for number in range(client, GUESTS, CLIENTS):
        with opened(guest(host, number), os.O_CREAT | os.O_EXCL | os.O_RDWR) as fd:
            os.ftruncate(fd, GUEST_SIZE)
            with Mapping(fd, GUEST_SIZE) as memory:
                memory.write(0, token(number))
                memory.write(GUEST_SIZE - 100, token(number))


def check_guests(host, client):
    for number in range(client, GUESTS, CLIENTS):
        with opened(guest(host, number), os.O_RDONLY) as fd:
            for at in (0, GUEST_SIZE - 100):
                found = os.pread(fd, len(token(number)) + 1, at)
                assert found == token(number) + b"\0", number


def stop_guests(host, client):
    for number in range(client, GUESTS, 2 * CLIENTS):
        guest(host, number).unlink()


def all_at_once(function, host):
    children = [Child(function, host, client) for client in range(CLIENTS)]
    try:
        for child in children:
            child.wait(timeout=120)
    finally:
        for child in children:
            child.kill()


@pytest.mark.timeout(300)
def test_twelve_tebibytes_for_2000_guests_of_64_clients(host):
    """Free and used memory add up with all guests, after the daemon has died, and when half of the guests are gone."""
    empty = resident(host.daemon.pid)
    for number in range(TENANTS):
        tenant = host / f"tenant{number}"
        tenant.mkdir()
        limit(tenant, max_bytes=GUESTS // TENANTS * GUEST_SIZE)
        os.setxattr(tenant, "dmemfs.node", str(number % NODES).encode())
    all_at_once(start_guests, host)
    host.check()
    assert host.free() == NODES * NODE_SIZE - GUESTS * GUEST_SIZE
    check_usage(host.root)
    for number in range(0, GUESTS, 97):
        node = number % TENANTS % NODES
        assert os.getxattr(guest(host, number), "dmemfs.node_bytes").split() == [b"%d" % node, b"%d" % GUEST_SIZE]

    host.daemon.kill()
    host.daemon.next()
    host.check()
    check_usage(host.root)
    all_at_once(check_guests, host)
    assert resident(host.daemon.pid) - empty < GUESTS * MEMORY_PER_GUEST

    all_at_once(stop_guests, host)
    host.check()
    check_usage(host.root)


def cpu_time_to_shrink(host, runs):
    """
    Of the daemon, in seconds, for a file in so many runs: its memory alternates between two nodes. Other programs on the machine do not
    add to it.
    """
    path = host.make_file("file")
    os.setxattr(path, "dmemfs.node", b"0,1")
    os.truncate(path, runs * host.unit)
    with fails_with(errno.E2BIG):  # more of them than an attribute can show
        host.extents(path)
    before = computed(host.daemon.pid)
    os.truncate(path, host.unit)
    took = computed(host.daemon.pid) - before
    assert host.allocated(path) == host.unit
    os.unlink(path)
    return took


@pytest.mark.page_sizes("2M")
def test_a_file_in_many_pieces_shrinks_in_linear_time(host):
    """With quadratic time, eight times as many runs would take 64 times as long."""
    few, many = (cpu_time_to_shrink(host, runs) for runs in (20_000, 160_000))
    assert many < 24 * max(few, 0.1), f"{few:.2f} s and {many:.2f} s"
