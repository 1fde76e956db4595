#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What the first touch of 2 MiB costs: with demand allocation, where it takes a message to the daemon, a transaction and an answer;
with memory that the file had before; and with hugetlbfs, which zeroes in the fault. In a VM whose clock counts instructions for
one thread, and in one that runs its CPUs side by side for many.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VM = HERE.parent / "vm"
sys.path.insert(0, str(VM))
from lab import module  # noqa: E402
from lab.kernel import Kernel  # noqa: E402

SIZE = 512 << 20
ROUNDS = 3
THREADS = (1, 2, 4, 16, 64)
HUGE_PAGES = ("hugepagesz=2M", "hugepages=256")


def measure(build, threads, *options):
    """{peer: {threads: [ns per touch, ...]}}"""
    kernel = Kernel.find()
    environment = {"DMEMFS_MODULE": module.build(kernel, build / f"kmod-{kernel.release}"),
                   "DMEMFSD": build / "fuse-daemon" / "dmemfsd"}
    command = [VM / "boot", *options, "--timeout", "1200", "--node", "4G:1G"]
    command += [f"--append={argument}" for argument in HUGE_PAGES]
    command += [f"--env={name}={value}" for name, value in environment.items()]
    command += ["--", "/usr/bin/python3", HERE / "demand_guest.py", build / "tests" / "bench" / "toucher", SIZE, ROUNDS,
                *threads]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the VM ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def print_table(title, found):
    """Of each peer its best round: the others have the same, and what the kernel did meanwhile."""
    best = {name: {count: min(rounds) for count, rounds in by_threads.items()} for name, by_threads in found.items()}
    reference = best["hugetlbfs 2M"]
    print(f"  {title}, us per touch of 2 MiB (times hugetlbfs), by threads:")
    print(f"  {'':30}" + "".join(f"{count:>20}" for count in reference))
    for name, by_threads in best.items():
        cells = (f"{value / 1e3:.0f} ({value / reference[count]:.2f})" for count, value in by_threads.items())
        print(f"  {name:30}" + "".join(f"{cell:>20}" for cell in cells))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True, help="Meson's build directory")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    build = options.build.resolve()
    found = {"clock counts instructions": measure(build, [1], "--icount"),
             "two CPUs side by side": measure(build, THREADS, "--cpus", "2")}
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for title, figures in found.items():
        print_table(title, figures)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {error}")
