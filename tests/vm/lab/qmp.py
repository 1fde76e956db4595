# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's machine protocol, as much of it as the laboratory uses. The socket belongs to the caller's event loop."""

import json
from contextlib import suppress


class Qmp:
    """Commands go out unanswered: QEMU ends when the VM does, and nobody waits for it in between."""

    def __init__(self, connection):
        self._socket = connection
        self._buffer = b""
        self.shutdown_reason = None
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        message = {"execute": name, **({"arguments": arguments} if arguments else {})}
        with suppress(BrokenPipeError):
            self._socket.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, data):
        """Takes what was read from the socket."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message.get("event") == "SHUTDOWN":
                self.shutdown_reason = message["data"]["reason"]
