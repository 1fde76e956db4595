# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's machine protocol, as much of it as the laboratory uses. The socket belongs to the caller's event loop."""

import json
import time
from contextlib import contextmanager, suppress

USER_MODE_TIMEOUT = 60  # seconds


class Qmp:
    """
    Sends commands and does not wait for their answers, so that the caller can still read the other channels of the
    VM.
    """

    def __init__(self, connection):
        self._socket = connection
        self._buffer = b""
        self._answer = None
        self.shutdown_reason = None
        self.command("qmp_capabilities")

    def _send(self, name, arguments, **more):
        message = {"execute": name, **more, **({"arguments": arguments} if arguments else {})}
        with suppress(BrokenPipeError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def command(self, name, **arguments):
        self._send(name, arguments)

    def receive(self, data):
        """Takes what was read from the socket."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message.get("event") == "SHUTDOWN":
                self.shutdown_reason = message["data"]["reason"]
            elif message.get("id") == "asked":
                self._answer = message

    def _ask(self, name, **arguments):
        """Sends a command and returns its answer."""
        self._answer = None
        self._send(name, arguments, id="asked")
        while self._answer is None:
            data = self._socket.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the VM has ended")
            self.receive(data)
        return self._answer["return"]

    @contextmanager
    def stopped_in_user_mode(self, cpu):
        """Within the block the VM is stopped, with @cpu in user mode."""
        until = time.monotonic() + USER_MODE_TIMEOUT
        self._ask("stop")
        while "CPL=3" not in self._ask("human-monitor-command", **{"command-line": "info registers", "cpu-index": cpu}):
            self._ask("cont")
            if time.monotonic() > until:
                raise TimeoutError(f"CPU {cpu} was in the kernel for {USER_MODE_TIMEOUT} s, whenever it was looked at")
            time.sleep(0.001)
            self._ask("stop")
        yield
        self.command("cont")
