# SPDX-License-Identifier: GPL-2.0-or-later
"""VMs that have only to be measured: boots one, runs a program of this directory in it, returns what that printed as JSON."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from names import PROGRESS
from results import progress

HERE = Path(__file__).resolve().parent
VM = HERE.parent / "vm"
sys.path.insert(0, str(VM))
from lab import module, nested  # noqa: E402
from lab.kernel import Kernel  # noqa: E402

TIMEOUT = 1500  # seconds, of one VM
HUNG = 124  # what tests/vm/boot ends with when that has passed
VM_MEMORY = 9 << 20  # KiB of this machine that one of them can come to use
END_TIME = 30  # seconds that a VM gets to end when the operator has lost patience


class VmHung(RuntimeError):
    """It was not done in the time that it had."""


class Laboratory:
    """@build: Meson's build directory; the module is built beside it if need be."""

    def __init__(self, build):
        kernel = Kernel.find(os.environ.get("DMEMFS_LAB_KERNEL"))  # as tests/vm/boot has it
        self.programs = build / "tests" / "bench"
        self._build = build
        self._environment = {
            "DMEMFS_MODULE": module.build(kernel, build / f"kmod-{kernel.release}"),
            "DMEMFSD": build / "fuse-daemon" / "dmemfsd",
            "DMEMFS_GUEST_KERNEL": kernel.image,
            "DMEMFS_GUEST_INITRAMFS": nested.build(kernel, build / "guest"),
            "PYTHONPATH": f"{VM}:{VM.parent}"}

    def run(self, program, *arguments, options=(), append=(), timeout=TIMEOUT):
        """@options: for tests/vm/boot; @append: for the kernel's command line; @timeout: VmHung after so many seconds."""
        with tempfile.TemporaryDirectory(prefix="dmemfs-bench.") as logs:
            command = [VM / "boot", "--timeout", timeout, "--logs", logs, "--visible", self._build, *options]
            command += [f"--append={argument}" for argument in append]
            command += [f"--env={name}={value}" for name, value in self._environment.items()]
            command += ["--", "/usr/bin/python3", HERE / program, *arguments]
            status, output, errors = _communicate([str(part) for part in command])
        if status == HUNG:
            raise VmHung(f"{program}: the VM was not done after {timeout} s:\n{output}{errors}")
        if status:
            raise RuntimeError(f"{program}: the VM ended with status {status}:\n{output}{errors}")
        return json.loads(output.splitlines()[-1])


def side_by_side(function, jobs):
    """
    The results of function(job), two at a time if this machine has room for that: for VMs that are not asked how fast they
    are, or whose clock counts instructions.
    """
    available = int(re.search(r"^MemAvailable: +(\d+)", Path("/proc/meminfo").read_text(), re.M)[1])
    with ThreadPoolExecutor(max(1, min(2, os.cpu_count(), available // VM_MEMORY))) as pool:
        return list(pool.map(function, jobs))


def _listen(process):
    """What it prints; its progress as it goes."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith(PROGRESS):
            progress(line.rstrip())
    return "".join(lines)


def _communicate(command):
    """Status, output and errors. Interrupted, it lets the VM clear away first."""
    with (tempfile.TemporaryFile("w+") as said,
          subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process):
        try:
            output = _listen(process)
            process.wait()
            said.seek(0)
            errors = said.read()
        except BaseException:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(END_TIME)
            except subprocess.TimeoutExpired:
                process.kill()
            raise
    return process.returncode, output, errors
