# SPDX-License-Identifier: GPL-2.0-or-later
"""A KVM guest inside the VM."""

import os
import re
import subprocess
import time
from contextlib import contextmanager

from helpers.processes import descriptors_of

MIB, GIB = 1 << 20, 1 << 30
SCALE = float(os.environ.get("DMEMFS_TEST_SCALE", "1"))
BOOT_TIMEOUT = 40 * SCALE
CPU = "qemu64,cx16=off"  # as the VM's, see lab/machine.py: QEMU would warn that the host lacks it
UNPLUG_TRIES = 8


def command(memory, size, serial, task="", options=()):
    """
    The command line of QEMU. @memory: properties of the file that is its RAM; @serial: where the guest's console
    goes.
    """
    return ["qemu-system-x86_64", "-accel", "kvm", "-cpu", CPU, "-machine", "q35,memory-backend=ram",
            "-m", f"{size // MIB}M", "-object", f"memory-backend-file,id=ram,size={size},share=on,{memory}",
            "-nodefaults", "-display", "none", "-no-reboot", "-serial", serial,
            "-kernel", os.environ["DMEMFS_GUEST_KERNEL"], "-initrd", os.environ["DMEMFS_GUEST_INITRAMFS"],
            "-append", f"console=ttyS0 panic=-1 mitigations=off quiet {task}", *options]


def value_in(text, name):
    """What a guest printed after @name on its console, or None while there is no complete line with it."""
    match = re.search(rf"^{name} (\S+)\r?\n", text, re.MULTILINE)
    return match and match[1]


class Guest:
    """QEMU with @memory as its RAM. The guest prints lines "NAME VALUE". @task: what it does, see nested/init."""

    def __init__(self, work, memory, size, task="", options=()):
        self._console = work / "console.log"
        self._errors = work / "qemu.log"
        with open(self._errors, "wb") as errors:
            self.process = subprocess.Popen(command(memory, size, f"file:{self._console}", task, options),
                                            stdout=errors, stderr=errors)

    def errors(self):
        """What QEMU wrote to standard error."""
        return self._errors.read_text(errors="replace")

    def said(self, name):
        """The value that the guest printed after @name, or None while there is no complete line with it."""
        return value_in(self._console.read_text(errors="replace") if self._console.exists() else "", name)

    def wait(self, name):
        deadline = time.monotonic() + BOOT_TIMEOUT
        while self.said(name) is None:
            assert self.process.poll() is None, f"QEMU ended: {self.errors()}"
            assert time.monotonic() < deadline, f"the guest does not print its {name}"
            time.sleep(0.1)
        return self.said(name)

    def memory_descriptor(self, root):
        """QEMU's descriptor of its RAM, for a file without a name."""
        return next(fd for fd, path in descriptors_of(self.process.pid).items() if path.startswith(str(root)))


@contextmanager
def guest(*arguments):
    running = Guest(*arguments)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def unplug(request, unit, is_unplugged):
    """
    Takes all memory of a virtio-mem device from a guest that runs Linux. request(SIZE) asks the guest to leave so much plugged; @unit: the
    size of the device's blocks. Linux gives up soon when a page is in use for a moment, as pages are while programs start and end, and
    tries again by itself only after 50 s, then 100 s (drivers/virtio/virtio_mem.c). A changed request makes it try at once.
    """
    for _ in range(UNPLUG_TRIES):
        request(0)
        deadline = time.monotonic() + 3 * SCALE
        while time.monotonic() < deadline:
            if is_unplugged():
                return
            time.sleep(0.05)
        request(unit)
    raise AssertionError("the guest does not unplug all memory")
