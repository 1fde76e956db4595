# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's machine protocol, for tests that wait for each answer."""

import json
import os
import socket
import time


class Qmp:
    """Connects to the monitor socket at @path of the QEMU @process, as soon as the socket exists."""

    def __init__(self, path, process, timeout):
        self._timeout = timeout
        deadline = time.monotonic() + timeout
        connection = socket.socket(socket.AF_UNIX)
        directory = os.open(path.parent, os.O_PATH)  # a path may be longer than the 107 bytes of sun_path
        while True:
            try:
                connection.connect(f"/proc/self/fd/{directory}/{path.name}")
                break
            except OSError:
                assert process.poll() is None, "QEMU ended"
                assert time.monotonic() < deadline, "QEMU does not open its monitor"
                time.sleep(0.05)
        os.close(directory)
        self._stream = connection.makefile("rw")
        self._stream.readline()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, name, **arguments):
        self._stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
        self._stream.flush()
        while True:
            answer = json.loads(self._stream.readline())
            assert "error" not in answer, f"{name}: {answer}"
            if "return" in answer:
                return answer["return"]

    def wait(self, query, status):
        """Waits until the "status" in the answer of @query is @status."""
        deadline = time.monotonic() + self._timeout
        while True:
            answer = self.execute(query)
            if answer.get("status") == status:
                return
            assert answer.get("status") != "failed", f"QEMU: {query}: {answer}"
            assert time.monotonic() < deadline, f"QEMU: {query} is not {status}: {answer}"
            time.sleep(0.05)
