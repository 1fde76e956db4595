# SPDX-License-Identifier: GPL-2.0-or-later
"""A KVM guest that counts, and can be saved without its RAM: that stays in a file on the mount."""

import json
import os
import re
import socket
import subprocess
import time

TIMEOUT = 240
LINE = re.compile(r"^at (\d+) ([0-9a-f-]+) ([0-9a-f]{64})\r?$", re.MULTILINE)


class Guest:
    """@memory: the file. @state: where save() puts all but the RAM."""

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
        command = ["qemu-system-x86_64", "-accel", "kvm", "-cpu", "qemu64", "-machine", "q35,memory-backend=ram",
                   "-m", f"{self._size >> 20}M", "-object",
                   f"memory-backend-file,id=ram,size={self._size},share=on,mem-path={self._memory},align=2M",
                   "-nodefaults", "-display", "none", "-no-reboot", "-serial", f"file:{self._console}",
                   "-qmp", f"unix:{self._monitor},server=on,wait=off", "-kernel", os.environ["DMEMFS_GUEST_KERNEL"],
                   "-initrd", os.environ["DMEMFS_GUEST_INITRAMFS"],
                   "-append", "console=ttyS0 panic=-1 mitigations=off quiet counter"]
        if incoming:
            command += ["-incoming", "defer"]
        self._process = subprocess.Popen(command)
        self._connect()
        if incoming:
            self._share_memory()
            self._execute("migrate-incoming", uri=f"exec:cat {self._state}")
            self._wait("query-status", "paused")  # as it was when it was saved
            self._execute("cont")

    def _connect(self):
        deadline = time.monotonic() + TIMEOUT
        connection = socket.socket(socket.AF_UNIX)
        while True:
            try:
                connection.connect(str(self._monitor))
                break
            except OSError:
                assert self._process.poll() is None, "QEMU ended"
                assert time.monotonic() < deadline, "QEMU does not open its monitor"
                time.sleep(0.05)
        self._qmp = connection.makefile("rw")
        self._qmp.readline()  # the greeting
        self._execute("qmp_capabilities")

    def _execute(self, name, **arguments):
        self._qmp.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self._qmp.flush()
        while True:
            answer = json.loads(self._qmp.readline())
            assert "error" not in answer, f"{name}: {answer}"
            if "return" in answer:
                return answer["return"]

    def _share_memory(self):
        """RAM that is shared with a file is not in the stream. Newer versions want to be told what for."""
        self._execute("migrate-set-capabilities", capabilities=[{"capability": "x-ignore-shared", "state": True}])
        if "mode" in self._execute("query-migrate-parameters"):
            self._execute("migrate-set-parameters", mode="cpr-reboot")

    def _wait(self, query, status):
        deadline = time.monotonic() + TIMEOUT
        while self._execute(query).get("status") != status:
            assert time.monotonic() < deadline, f"QEMU: {query} is not {status}"
            time.sleep(0.05)

    def _lines(self):
        text = self._console.read_text(errors="replace") if self._console.exists() else ""
        return [{"count": int(count), "boot": boot, "sum": checksum} for count, boot, checksum in LINE.findall(text)]

    def wait_for_counts(self, number):
        """The last of @number lines of the guest."""
        deadline = time.monotonic() + TIMEOUT
        while len(self._lines()) < number:
            assert self._process.poll() is None, "QEMU ended"
            assert time.monotonic() < deadline, f"the guest has not counted to {number}"
            time.sleep(0.1)
        self.first = self._lines()[0]
        return self._lines()[-1]

    def save(self):
        """Stops the guest; bytes of its state."""
        self._execute("stop")
        self._share_memory()
        self._execute("migrate", uri=f"exec:cat >{self._state}")
        self._wait("query-migrate", "completed")
        self.end()
        return self._state.stat().st_size

    def end(self):
        self._process.kill()
        self._process.wait()
