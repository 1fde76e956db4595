# SPDX-License-Identifier: GPL-2.0-or-later
"""What every command of the laboratory shares: options for the machine, one session, logs, the exit status."""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from . import initramfs
from .kernel import Kernel
from .layout import Layout, Node
from .machine import DEFAULT_NODES, IOMMUS, Machine
from .session import Session

TOP = Path(__file__).resolve().parents[3]
SERVICE = """[Unit]
After={target}
Requires={target}
[Service]
ExecStart=/run/lab/main
Delegate=yes
TimeoutStopSec=infinity
"""
STATUS = {"panic": 120, "hang": 124, "lost": 125}


def add_options(parser):
    """Options that describe the machine and the session."""
    parser.add_argument("--kernel", metavar="DIRECTORY", default=os.environ.get("DMEMFS_LAB_KERNEL"),
                        help="as fetch-kernel prints it; default: DMEMFS_LAB_KERNEL in the environment, else Debian's 6.12")
    parser.add_argument("--node", metavar="SIZE[:RESERVED]", type=_node, action="append",
                        help="a NUMA node and how much of its end is reserved; default: --node 4G:2G --node 4G:2G")
    parser.add_argument("--cpus", metavar="N", type=int, default=2)
    parser.add_argument("--cpu", metavar="PROPERTY", action="append", default=[], help="of QEMU's -cpu: vendor=GenuineIntel")
    parser.add_argument("--icount", action="store_true",
                        help="one CPU, and a clock that counts instructions: figures repeat to the digit")
    parser.add_argument("--disk", metavar="IMAGE", action="append", default=[], help="raw image, becomes /dev/vda, ...")
    parser.add_argument("--nvme", metavar="IMAGE", action="append", default=[], help="raw image, becomes an NVMe disk; what is written is lost")
    parser.add_argument("--iommu", choices=IOMMUS, help="emulate the IOMMU of this vendor")
    parser.add_argument("--device", metavar="DEVICE", action="append", default=[], help="QEMU's -device: edu")
    parser.add_argument("--append", metavar="ARGUMENT", action="append", default=[],
                        help="for the kernel's command line")
    parser.add_argument("--visible", metavar="DIRECTORY", action="append", default=[],
                        help="keep it visible in the VM, even below /tmp, /var/tmp or /run")
    parser.add_argument("--env", metavar="NAME=VALUE", action="append", default=[], help="for the command")
    parser.add_argument("--systemd", nargs="?", metavar="TARGET", const="basic.target",
                        help="boot with systemd, the command is a service of it; default: --systemd basic.target")
    parser.add_argument("--root-disk", metavar="DEVICE",
                        help="what the VM changes stays on this partition of a --disk: /dev/vda1")
    parser.add_argument("--from-disk", action="store_true",
                        help="start what the boot loader on the first --disk starts, with its command line")
    parser.add_argument("--timeout", metavar="SECONDS", type=float, help="for everything")
    parser.add_argument("--silence", metavar="SECONDS", type=float, help="longest time without a word from the tests")
    parser.add_argument("--logs", metavar="DIRECTORY", help="keep the logs there, also those of a success")


def _node(text):
    try:
        return Node.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(error) from error


def machine_for(options):
    """The Machine that @options describe."""
    kernel = Kernel.find(options.kernel)
    return Machine(kernel, Layout(options.node or DEFAULT_NODES), 1 if options.icount else options.cpus,
                   options.icount, tuple(options.disk), tuple(options.append), tuple(options.cpu), options.from_disk,
                   options.iommu, tuple(options.device), tuple(options.nvme))


def _settings(machine, options, command, interactive):
    """The files of /run/lab in the VM."""
    visible = [TOP, machine.kernel.directory, Path.cwd(), *map(Path, options.visible)]
    variables = (variable.partition("=") for variable in options.env)
    settings = {
        "command": f"exec {shlex.join(command)}\n",
        "directory": f"{Path.cwd()}\n",
        "environment": "".join(f"export {name}={shlex.quote(value)}\n" for name, _, value in variables),
        "modules": f"{machine.kernel.modules}\n",
        "visible": "".join(f"{directory.resolve()}\n" for directory in visible)}
    if interactive:
        settings["interactive"] = ""
    if options.systemd:
        settings["systemd"] = SERVICE.format(target=options.systemd)
    if options.root_disk:
        settings["disk"] = f"{options.root_disk}\n"
    return settings


def print_output(data):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def run_session(machine, options, command, observer, interactive=False, output=print_output):
    """Runs @command in a VM. Returns what boot's exit status is to be. @observer and @output: as in Session."""
    logs = Path(options.logs or tempfile.mkdtemp(prefix="dmemfs-vm-logs."))
    logs.mkdir(parents=True, exist_ok=True)
    status = STATUS["lost"]
    try:
        image = initramfs.build(machine.kernel, _settings(machine, options, command, interactive))
        session = Session(logs, output, observer, options.timeout, options.silence)
        verdict = session.run(machine, image, interactive)
        status = STATUS.get(verdict.kind, verdict.status)
        if verdict.failure:
            print(f"vm: {verdict.failure}", file=sys.stderr)
    finally:
        if status == 0 and not options.logs:
            shutil.rmtree(logs)
        else:
            print(f"vm: logs: {logs}", file=sys.stderr)
    return status


def guarded(main):
    """Ends the program with main()'s status; an error that the operator can mend is one line."""
    try:
        status = main()
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"{os.path.basename(sys.argv[0])}: {error}", file=sys.stderr)
        status = STATUS["lost"]
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)
