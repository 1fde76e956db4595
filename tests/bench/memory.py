#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What guest memory costs the rest of the host, all in, with dmemfs and with its peers.

Each figure is one life of a VM that has SIZE more RAM than the reference and a process that has mapped and touched SIZE
bytes of guest memory. What MemAvailable then misses against the reference is the cost: struct page, page tables, module,
daemon. Two sizes tell what grows with the memory from what does not.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
VM = HERE.parent / "vm"
sys.path.insert(0, str(VM))
from lab import module  # noqa: E402
from lab.kernel import Kernel  # noqa: E402

HOST_GIB = 4
SIZES = (2, 4)  # GiB of guest memory
OWN = "dmemfs pfn, 1G pages"
OPTIMISED = "hugetlb_free_vmemmap=on"
END_TIME = 30  # seconds that a VM gets to end when the operator has lost patience


def hugetlb(page, optimised=False):
    """Arguments for the kernel, as a function of the guest's GiB."""
    per_gib = {"2M": 512, "1G": 1}[page]
    return lambda gib: [f"default_hugepagesz={page}", f"hugepagesz={page}", f"hugepages={gib * per_gib}",
                        *([OPTIMISED] if optimised else [])]


# Name: what memory_guest.py does, arguments for the kernel.
PEERS = {
    "tmpfs, 4K": ("tmpfs", lambda gib: []),
    "hugetlbfs 2M": ("hugetlbfs-2M", hugetlb("2M")),
    "hugetlbfs 2M, vmemmap optimised": ("hugetlbfs-2M", hugetlb("2M", True)),
    "hugetlbfs 1G": ("hugetlbfs-1G", hugetlb("1G")),
    "hugetlbfs 1G, vmemmap optimised": ("hugetlbfs-1G", hugetlb("1G", True)),
    OWN: ("dmemfs", lambda gib: []),
}


class Laboratory:
    """Boots VMs that have only to be measured."""

    def __init__(self, build):
        self.kernel = Kernel.find()
        self._environment = {"DMEMFS_MODULE": module.build(self.kernel, build / f"kmod-{self.kernel.release}"),
                             "DMEMFSD": build / "fuse-daemon" / "dmemfsd"}

    def measure(self, what, node, gib, arguments=()):
        """What memory_guest.py says of @gib GiB of guest memory in a VM with one @node."""
        with tempfile.TemporaryDirectory(prefix="dmemfs-bench.") as logs:
            command = [VM / "boot", "--timeout", "900", "--cpus", "1", "--node", node, "--logs", logs]
            command += [f"--append={argument}" for argument in arguments]
            command += [f"--env={name}={value}" for name, value in self._environment.items()]
            command += ["--", "/usr/bin/python3", HERE / "memory_guest.py", what, str(gib << 30)]
            status, output, errors = run(command)
        if status:
            raise RuntimeError(f"{what}: the VM ended with status {status}:\n{output}{errors}")
        return json.loads(output.splitlines()[-1])


def run(command):
    """Status, output and errors. Interrupted, it lets the VM clear away first."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            output, errors = process.communicate()
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(END_TIME)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return process.returncode, output, errors


def measure_all(laboratory, names, progress):
    """MiB by peer and size, and what dmemfs says of its parts."""
    progress("a host without that memory")
    reference = laboratory.measure("nothing", f"{HOST_GIB}G", 0)
    costs, parts = {}, {}
    for name in names:
        what, arguments = PEERS[name]
        for gib in SIZES:
            progress(f"{name}, {gib} GiB")
            reserved = f":{gib}G" if what == "dmemfs" else ""
            found = laboratory.measure(what, f"{HOST_GIB + gib}G{reserved}", gib, arguments(gib))
            costs.setdefault(name, {})[gib] = (reference["available"] - found["available"]) / 1024
            if what == "dmemfs":
                parts[gib] = found
    progress("done")
    return costs, parts


def split(cost):
    """(MiB per GiB, MiB whatever the size) of a cost by size."""
    small, large = SIZES
    slope = (cost[large] - cost[small]) / (large - small)
    return slope, cost[large] - large * slope


def print_table(costs, parts):
    large = SIZES[-1]
    own = next((cost[large] for name, cost in costs.items() if name == OWN), None)
    print(f"{'MiB':34}{f'for {large} GiB':>12}{'in all, per GiB':>18}{'grows per GiB':>16}{'constant':>12}"
          f"{'times dmemfs':>15}")
    for name, cost in costs.items():
        slope, constant = split(cost)
        ratio = f"{cost[large] / own:15.1f}" if own else ""
        print(f"{name:34}{cost[large]:12.2f}{cost[large] / large:18.2f}{slope:16.3f}{constant:12.2f}{ratio}")
    for gib, found in parts.items():
        print(f"dmemfs with {gib} GiB, KiB: module {found['module']}, daemon's RSS {found['daemon']}, page tables of the "
              f"process {found['page_tables']}; faults: {found['faults']}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True, help="Meson's build directory")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("peer", nargs="*", help="part of a name: only these", default=[""])
    options = parser.parse_args()
    names = [name for name in PEERS if any(part in name for part in options.peer)]
    start = time.monotonic()

    def progress(text):
        print(f"  [{time.monotonic() - start:5.0f} s] {text}", file=sys.stderr, flush=True)

    costs, parts = measure_all(Laboratory(options.build.resolve()), names, progress)
    if options.json:
        print(json.dumps({"cost_mib": costs, "dmemfs": parts}, indent=2))
    else:
        print_table(costs, parts)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {error}")
