# SPDX-License-Identifier: GPL-2.0-or-later
"""One life of a VM: starts QEMU, listens to its channels, ends it when it hangs, and judges how it went."""

import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

from .machine import CHANNELS
from .qmp import Qmp

BOOT_TIMEOUT = 30 * float(os.environ.get("DMEMFS_TEST_SCALE", "6"))
DUMP_TIME = 15  # seconds that a VM that hangs gets to write its tasks to the console
# First line of what the kernel says before it ends by "panic_on_warn" or "oops=panic".
COMPLAINT = re.compile(r"(WARNING: |BUG: |Oops|general protection fault|kernel BUG at |"
                       r"Kernel panic - not syncing|rcu: INFO|watchdog: BUG)")


@dataclass
class Verdict:
    """How the session ended. It was a success only with @status 0 and no @failure."""

    status: int | None = None  # of the command, when it told
    failure: str | None = None  # why its word does not count, or that there was none
    kind: str = "exit"  # exit, panic, hang, lost


class Session:
    """@observer is called with each message of the result channel, @output with what the command wrote."""

    def __init__(self, logs, output, observer, timeout, silence):
        self._logs = Path(logs)
        self._output = output
        self._observer = observer
        self._start = time.monotonic()
        self._deadline = None if timeout is None else self._start + timeout
        self._silence = silence
        self._quiet_since = self._start
        self._ready = False
        self._messages = b""
        self._running_test = None
        self._selector = selectors.DefaultSelector()
        self._verdict = Verdict()
        self._qmp = None
        self._console = None
        self._files = {}

    def run(self, machine, initramfs, interactive=False):
        """Boots @machine and returns its Verdict."""
        with ExitStack() as stack:
            sockets = Path(tempfile.mkdtemp(prefix="dmemfs-vm."))
            stack.callback(shutil.rmtree, sockets)
            listeners = {name: stack.enter_context(_listen(sockets / name)) for name in CHANNELS
                         if not (interactive and name == "console")}
            image = self._logs / "initramfs"
            image.write_bytes(initramfs)
            command = machine.qemu(image, sockets, interactive)
            (self._logs / "qemu-command").write_text("\n".join(command) + "\n")
            errors = stack.enter_context(open(self._logs / "qemu.log", "w+b"))
            # QEMU must not outlive this process, however that ends.
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stderr=errors,
                                       stdin=None if interactive else subprocess.DEVNULL)
            stack.callback(_end, process)
            if self._accept(listeners, process, stack):
                self._listen()
            process.wait()
            self._judge(process, errors)
            return self._verdict

    def _accept(self, listeners, process, stack):
        """Waits until QEMU has connected all channels. False when it ended instead."""
        for name, listener in listeners.items():
            listener.settimeout(0.2)
            connection = None
            while connection is None:
                with suppress(TimeoutError):
                    connection = stack.enter_context(listener.accept()[0])
                if connection is None and process.poll() is not None:
                    return False
            self._register(name, connection, stack)
        return True

    def _register(self, name, connection, stack):
        if name == "qmp":
            self._qmp = Qmp(connection)
        else:
            self._files[name] = stack.enter_context(open(self._logs / f"{name}.log", "wb", buffering=0))
        if name == "console":
            self._console = connection
        self._selector.register(connection, selectors.EVENT_READ, name)

    def _listen(self):
        while self._selector.get_map():
            self._receive(self._time_left())
            if self._verdict.kind == "exit" and self._hangs():
                self._end_hung()

    def _receive(self, timeout):
        for key, _ in self._selector.select(timeout):
            data = b""
            with suppress(ConnectionResetError):
                data = key.fileobj.recv(1 << 16)
            if not data:
                self._selector.unregister(key.fileobj)
                continue
            self._handle(key.data, data)

    def _handle(self, name, data):
        if name == "qmp":
            self._qmp.receive(data)
            return
        self._files[name].write(data)
        if name == "output":
            self._output(data)
        elif name == "result":
            self._quiet_since = time.monotonic()
            *lines, self._messages = (self._messages + data).split(b"\n")
            for line in lines:
                self._message(json.loads(line))

    def _message(self, message):
        self._ready |= "ready" in message
        if "monitor" in message:  # a command of QEMU's for people, while that CPU is in user mode
            with suppress(ConnectionError), self._qmp.stopped_in_user_mode(message["cpu"]):
                self._qmp.command("human-monitor-command", **{"command-line": message["monitor"]})
        if "exit" in message:
            self._verdict.status = message["exit"]
        if "begin" in message:
            self._running_test = message["begin"]
        elif "end" in message:
            self._running_test = None
        self._observer(message)

    def _limits(self):
        """(time, what it means when it passes) of each limit that applies now."""
        if not self._ready:
            yield self._start + BOOT_TIMEOUT, f"the VM did not boot within {BOOT_TIMEOUT:.0f} s"
        elif self._silence is not None:
            yield self._quiet_since + self._silence, f"no progress for {self._silence:.0f} s"
        if self._deadline is not None:
            yield self._deadline, f"not done after {self._deadline - self._start:.0f} s"

    def _time_left(self):
        ends = [end for end, _ in self._limits()]
        return max(0, min(ends) - time.monotonic()) if ends and self._verdict.kind == "exit" else None

    def _hangs(self):
        return any(time.monotonic() >= end for end, _ in self._limits())

    def _end_hung(self):
        """Has the kernel print to the console what it is doing, then ends the VM."""
        reason = next(text for end, text in self._limits() if time.monotonic() >= end)
        where = f", in {self._running_test}" if self._running_test else ""
        self._verdict.kind = "hang"
        self._verdict.failure = f"{reason}{where}"
        if self._console is not None:
            for key in "lw":  # what the CPUs do, which tasks are blocked
                self._qmp.command("chardev-send-break", id="console")
                self._pump(0.5)
                self._console.sendall(key.encode())
                self._pump(DUMP_TIME / 3)
            # A CPU that hangs with interrupts off answers this one only. The kernel panics and says where.
            self._qmp.command("inject-nmi")
            self._pump(DUMP_TIME / 3)
        self._qmp.command("quit")

    def _pump(self, seconds):
        end = time.monotonic() + seconds
        while self._selector.get_map() and time.monotonic() < end:
            self._receive(max(0, end - time.monotonic()))

    def complaint(self):
        """The first line of the console in which the kernel complains."""
        text = (self._logs / "console.log").read_text(errors="replace") if "console" in self._files else ""
        return next((line.strip() for line in text.splitlines() if COMPLAINT.search(line)), None)

    def _judge(self, process, errors):
        verdict = self._verdict
        if verdict.kind == "hang":
            return
        reason = self._qmp.shutdown_reason if self._qmp else None
        if reason == "guest-reset":  # -no-reboot and panic=-1: only a panic comes here
            verdict.kind = "panic"
            verdict.failure = f"the VM's kernel crashed: {self.complaint() or 'it said nothing'}"
            if self._running_test:
                verdict.failure += f", in {self._running_test}"
        elif reason != "guest-shutdown" or verdict.status is None:
            verdict.kind = "lost"
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()
            verdict.failure = "the VM ended without a result" + (f": {said}" if said else "")
            if process.returncode:
                verdict.failure += f" (QEMU: exit status {process.returncode})"


def _listen(path):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    return listener


def _end(process):
    if process.poll() is None:
        process.kill()
        process.wait()
