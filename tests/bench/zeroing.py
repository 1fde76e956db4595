#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What zeroing costs whom.

First bench_zeroing: how much of a node's memory bandwidth it reaches. Then, in a VM whose clock counts instructions, the time to
make a file of 1 GiB, map it and touch each 2 MiB of it, as the start of a guest does: with dmemfs when its pool is clean
and when it is dirty, and with hugetlbfs, in one boot. Such a clock knows no caches and no bandwidth, but it repeats.
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

SIZE = 1 << 30
ROUNDS = 3
HUGE_PAGES = ("default_hugepagesz=2M", "hugepagesz=1G", "hugepages=1", "hugepagesz=2M", "hugepages=512")


def measure(build):
    """{peer: [[ns to make, ns to touch], ...]}"""
    kernel = Kernel.find()
    environment = {"DMEMFS_MODULE": module.build(kernel, build / f"kmod-{kernel.release}"),
                   "DMEMFSD": build / "fuse-daemon" / "dmemfsd"}
    command = [VM / "boot", "--icount", "--timeout", "1200", "--node", "8G:2G"]
    command += [f"--append={argument}" for argument in HUGE_PAGES]
    command += [f"--env={name}={value}" for name, value in environment.items()]
    command += ["--", "/usr/bin/python3", HERE / "zeroing_guest.py", build / "tests" / "bench" / "zeroing_client", SIZE, ROUNDS]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the VM ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def print_table(found):
    """Of each peer its best round: the others have the same, and what the kernel did meanwhile."""
    best = {name: min(rounds, key=sum) for name, rounds in found.items()}
    reference = min(sum(times) for name, times in best.items() if name.startswith("hugetlbfs"))
    print(f"  {'1 GiB':22}{'make, ms':>12}{'touch, ms':>12}{'in all, ms':>12}{'times the faster hugetlbfs':>30}")
    for name, (make, touch) in best.items():
        print(f"  {name:22}{make / 1e6:12.3f}{touch / 1e6:12.3f}{(make + touch) / 1e6:12.3f}"
              f"{(make + touch) / reference:30.4f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, required=True, help="Meson's build directory")
    parser.add_argument("--json", action="store_true", help="the VM's figures only")
    options = parser.parse_args()
    if not options.json:
        subprocess.run([options.build / "tests" / "bench" / "bench_zeroing"], check=True)
    found = measure(options.build.resolve())
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print_table(found)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (OSError, ValueError, RuntimeError) as error:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {error}")
