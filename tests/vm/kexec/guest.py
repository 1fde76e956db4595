# SPDX-License-Identifier: GPL-2.0-or-later
"""A KVM guest that counts, and whose state can be saved without its RAM, which stays in a file on the mount."""

import os
import re
import subprocess
import time

from helpers.qmp import Qmp
from kvm_guest import CPU

TIMEOUT = 240
LINE = re.compile(r"^at (\d+) ([0-9a-f-]+) ([0-9a-f]{64})\r?$", re.MULTILINE)


class Guest:
    """@memory: the file. @state: where save() writes everything but the RAM."""

    def __init__(self, work, memory, size, state):
        self._console = work / "guest-console.log"
        self._monitor = work / "guest-monitor"
        self._memory = memory
        self._size = size
        self._state = state
        self._process = None
        self._qmp = None
        self.first = None

    def start(self, incoming=False):
        command = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", CPU, "-machine", "q35,memory-backend=ram",
                   "-m", f"{self._size >> 20}M", "-object",
                   f"memory-backend-file,id=ram,size={self._size},share=on,mem-path={self._memory},align=2M",
                   "-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{self._console}",
                   "-qmp", f"unix:{self._monitor},server=on,wait=off", "-kernel", os.environ["DMEMFS_GUEST_KERNEL"],
                   "-initrd", os.environ["DMEMFS_GUEST_INITRAMFS"],
                   "-append", "console=ttyS0 panic=-1 mitigations=off quiet counter"]
        if incoming:
            command += ["-incoming", "defer"]
        self._process = subprocess.Popen(command)
        self._qmp = Qmp(self._monitor, self._process, TIMEOUT)
        if incoming:
            self._share_memory()
            self._qmp.execute("migrate-incoming", uri=f"exec:cat {self._state}")
            self._qmp.wait("query-status", "paused")  # as it was when it was saved
            self._qmp.execute("cont")

    def _share_memory(self):
        """RAM that is shared with a file is not in the stream. Newer versions of QEMU need a reason."""
        self._qmp.execute("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
        if "mode" in self._qmp.execute("query-migrate-parameters"):
            self._qmp.execute("migrate-set-parameters", mode="cpr-reboot")

    def _lines(self):
        text = self._console.read_text(errors="replace") if self._console.exists() else ""
        return [{"count": int(count), "boot": boot, "sum": checksum} for count, boot, checksum in LINE.findall(text)]

    def wait_for_counts(self, number):
        """The last of @number lines that the guest prints."""
        deadline = time.monotonic() + TIMEOUT
        while len(self._lines()) < number:
            assert self._process.poll() is None, "QEMU ended"
            assert time.monotonic() < deadline, f"the guest has not counted to {number}"
            time.sleep(0.1)
        self.first = self._lines()[0]
        return self._lines()[-1]

    def save(self):
        """Stops the guest. Returns the size of its state in bytes."""
        self._qmp.execute("stop")
        self._share_memory()
        self._qmp.execute("migrate", uri=f"exec:cat >{self._state}")
        self._qmp.wait("query-migrate", "completed")
        self.end()
        return self._state.stat().st_size

    def end(self):
        self._process.kill()
        self._process.wait()
