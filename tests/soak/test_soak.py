# SPDX-License-Identifier: GPL-2.0-or-later
"""
A host for DMEMFS_SOAK_MINUTES: tenants with limits, page sizes and nodes of their own, with guests and other clients,
while the daemon is killed, stopped and reloaded, and limits and policies change. At the end of each round all clients
pause, and every invariant is checked (contents, accounting, usage, nodes), once more after another kill. Prints a line
a minute.
"""

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from guest import Guest
from helpers.backends import MIB, PAGE_SIZES
from helpers.clients import Client, pauses
from helpers.mount import Mount
from helpers.processes import resident
from helpers.quota import MAX_BYTES, check_usage, limit
from helpers.snapshot import snapshot

MINUTES = float(os.environ.get("DMEMFS_SOAK_MINUTES", "1"))
SEED = int(os.environ.get("DMEMFS_SOAK_SEED", time.time_ns() % 10**6))
NODE_SIZE = 512 * MIB
TENANT_SIZE = 160 * MIB
TENANTS = (("4K", "0"), ("2M", "1"), ("4K", "0,1"), ("2M", "prefer:1"))
GUESTS, CLIENTS = 10, 3
ROUND = 12  # seconds
TIMES_ON_RECORD = 2.5  # seconds after a write
# Of the daemon, whatever has happened; a sanitizer, which the scale of time stands for, keeps what was freed for a while.
MEMORY_LIMIT = 64 * MIB * float(os.environ.get("DMEMFS_TEST_SCALE", "1"))

pytestmark = [
    pytest.mark.memory_only("its regions are imaginary, so that there are two nodes"),
    pytest.mark.page_sizes("4K"),
]


@pytest.fixture
def host(daemon, backend, page_size):
    daemon.set_regions("".join(f"[region node{node}]\nstart={(node + 1) << 40}\nsize={NODE_SIZE}\nnode={node}\n"
                               for node in range(2)))
    daemon.manager.keeps = True
    daemon.start()
    return Mount(daemon, backend, PAGE_SIZES[page_size], 2 * NODE_SIZE)


class Soak:
    def __init__(self, host):
        self._host = host
        self._daemon = host.daemon
        self._rng = random.Random(SEED)
        self._tenants = []
        self._guests = []
        self._started = 0
        self._deaths = []
        self.counts = Counter()
        self.worst_pause = 0.0
        for number, (page_size, node) in enumerate(TENANTS):
            tenant = host / f"tenant{number}"
            tenant.mkdir()
            os.setxattr(tenant, "dmemfs.page_size", page_size.encode())
            os.setxattr(tenant, "dmemfs.node", node.encode())
            limit(tenant, max_bytes=TENANT_SIZE, max_files=1000)
            self._tenants.append(tenant)

    def _start_guest(self):
        self._started += 1
        guest = Guest(self._rng.choice(self._tenants) / f"guest{self._started}", self._rng.random())
        if guest.has_memory:
            self._guests.append(guest)
        self.counts["guests" if guest.has_memory else "guests without room"] += 1

    def _kill(self):
        self._deaths.append(time.monotonic())
        os.kill(self._daemon.pid, signal.SIGKILL)
        self._daemon.process.wait()
        self._daemon.ended_by_test = True
        self._daemon.take_over()

    def _stop(self):
        os.kill(self._daemon.pid, signal.SIGTERM)
        assert self._daemon.wait() == 0
        self._daemon.take_over()

    def _reload(self):
        self._daemon.manager.messages.clear()
        os.kill(self._daemon.pid, signal.SIGHUP)
        assert self._daemon.manager.wait_for("READY=1", 30)

    def _change_limit(self):
        """The new limit may be less than the usage."""
        size = self._rng.randrange(1, TENANT_SIZE // MIB) * MIB
        os.setxattr(self._rng.choice(self._tenants), MAX_BYTES, str(size).encode())

    def _change_tenant(self):
        """New files get another page size and another policy."""
        tenant, (page_size, node) = self._rng.choice(self._tenants), self._rng.choice(TENANTS)
        os.setxattr(tenant, "dmemfs.page_size", page_size.encode())
        os.setxattr(tenant, "dmemfs.node", node.encode())

    def round(self):
        for _ in range(GUESTS - len(self._guests)):
            self._start_guest()
        clients = [Client(self._host, f"-{self.counts['rounds']}-{number}") for number in range(CLIENTS)]
        until = time.monotonic() + ROUND
        actions = {self._kill: 5, self._stop: 1, self._reload: 3, self._change_limit: 3, self._change_tenant: 2}
        while time.monotonic() < until:
            time.sleep(self._rng.uniform(0.01, 1))
            action = self._rng.choices(list(actions), list(actions.values()))[0]
            action()
            self.counts[action.__name__.strip("_")] += 1
        results = [client.finish() for client in clients]
        self.counts["calls"] += sum(result.operations for result in results)
        self.worst_pause = max([self.worst_pause, *pauses(results, self._deaths)])
        self._deaths.clear()
        self._check_all()
        self.counts["rounds"] += 1

    def _check_all(self):
        for guest in self._guests:
            guest.ask_to_pause()
        for guest in self._guests:
            self.counts.update(guest.paused())
        self._check_books()
        time.sleep(TIMES_ON_RECORD)
        before = snapshot(self._host.root)
        self._kill()
        self._deaths.clear()
        after = snapshot(self._host.root)
        differences = [f"{path} {key}: {value} before, {after.get(path, {}).get(key)} after"
                       for path, seen in before.items() for key, value in seen.items()
                       if after.get(path, {}).get(key) != value]
        assert not differences and after.keys() == before.keys(), "\n".join(differences)
        self._check_books()
        leaving = [guest for guest in self._guests if self._rng.random() < 0.3]
        for guest in leaving:
            self._guests.remove(guest)
            guest.leave()
        for guest in self._guests:
            guest.go_on()

    def _check_books(self):
        self._host.check()
        check_usage(self._host.root)
        assert resident(self._daemon.pid) < MEMORY_LIMIT

    def line(self):
        fds = len(os.listdir(f"/proc/{self._daemon.pid}/fd"))
        seen = ", ".join(f"{number:,} {what}" for what, number in sorted(self.counts.items()))
        return (f"{seen}; worst pause {1000 * self.worst_pause:.0f} ms; daemon {resident(self._daemon.pid) / MIB:.1f} MiB, "
                f"{fds} descriptors, record {self._record() / MIB:.1f} MiB")

    def _record(self):
        return sum(path.stat().st_size for path in Path(self._daemon.state_dir).iterdir())

    def end(self):
        """All clients end, and nothing of theirs is left."""
        for guest in self._guests:
            guest.ask_to_pause()
        for guest in self._guests:
            self.counts.update(guest.paused())
            guest.leave()
        self._guests.clear()
        self._check_books()
        assert self._host.wait_free(self._host.capacity) == self._host.capacity

    def kill_guests(self):
        for guest in self._guests:
            guest.kill()


@pytest.mark.timeout(MINUTES * 60 + 300)
def test_soak(host):
    print(f"seed {SEED}", flush=True)
    soak = Soak(host)
    began = time.monotonic()
    minute = 1
    try:
        while time.monotonic() < began + 60 * MINUTES:
            soak.round()
            if time.monotonic() >= began + 60 * minute:
                print(f"minute {(time.monotonic() - began) // 60:.0f}: {soak.line()}", flush=True)
                minute = (time.monotonic() - began) // 60 + 1
        soak.end()
    finally:
        soak.kill_guests()
    print(f"end: {soak.line()}", flush=True)
