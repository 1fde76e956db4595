# SPDX-License-Identifier: GPL-2.0-or-later
"""What a VM needs to run the project's tests: the daemon, the module, a kernel for a guest inside, the environment."""

import os
from pathlib import Path

from . import module, nested
from .kernel import Kernel
from .launch import TOP, add_options, machine_for


def add_suite_options(parser):
    """The options of launch.py, and of what runs in the VM."""
    add_options(parser)
    parser.add_argument("--module", metavar="FILE", type=Path, help="this dmemfs.ko, instead of building one")
    parser.add_argument("--guest-kernel", metavar="DIRECTORY",
                        help="what guests inside the VM run, as fetch-kernel prints it; default: the VM's own kernel")


def _build_directory():
    directory = Path(os.environ.get("DMEMFS_BUILD", TOP / "build")).resolve()
    if not (directory / "fuse-daemon" / "dmemfsd").exists():
        raise ValueError(f"{directory} holds no daemon: build it first, or name the build directory in DMEMFS_BUILD")
    return directory


def _region(machine):
    """START,SIZE of the first reserved range, the tests' own."""
    for start, size in machine.layout.reserved():
        return f"{start:#x},{size:#x}"
    raise ValueError("no node reserves memory: the tests need --node SIZE:RESERVED")


def prepare(options):
    """Builds what is missing. Adds to @options what the VM must show and know, and returns its Machine."""
    build = _build_directory()
    machine = machine_for(options)
    ko = options.module or module.build(machine.kernel, build / f"kmod-{machine.kernel.release}")
    tables = module.build(machine.kernel, build / f"tables-{machine.kernel.release}", "tables", ("tests/vm/tables",))
    guest = Kernel.find(options.guest_kernel) if options.guest_kernel else machine.kernel
    environment = {  # for tests and their helpers, see tests/conftest.py
        "DMEMFSD": build / "fuse-daemon" / "dmemfsd",
        "DMEMFS_BACKEND": "pfn",
        "DMEMFS_MODULE": ko.resolve(),
        "DMEMFS_TABLES": tables,
        "DMEMFS_REGION": _region(machine),
        "DMEMFS_GUEST_KERNEL": guest.image,
        "DMEMFS_GUEST_INITRAMFS": nested.build(guest, build / "guest"),
        "DMEMFS_TEST_SCALE": os.environ.get("DMEMFS_TEST_SCALE", "6"),
        "DMEMFS_TEST_PROFILE": os.environ.get("DMEMFS_TEST_PROFILE", "vm"),
        "PYTHONPATH": TOP / "tests" / "vm",
    }
    if "DMEMFS_TEST_KEEP" in os.environ:
        environment["DMEMFS_TEST_KEEP"] = os.environ["DMEMFS_TEST_KEEP"]
    options.env += [f"{name}={value}" for name, value in environment.items()]
    options.visible += [build, guest.directory, ko.resolve().parent]
    return machine
