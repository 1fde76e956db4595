# SPDX-License-Identifier: GPL-2.0-or-later
"""A service manager: it receives sd_notify(3), and keeps file descriptors if told so."""

import os
import socket
import subprocess
import time
from contextlib import suppress

FDNAME = "dmemfs-fuse"
# LISTEN_PID is the pid of the program that is executed, and the descriptor must be 3: a shell arranges both.
PASS = 'export LISTEN_PID=$$; n=$1; shift; [ "$n" = 3 ] || eval "exec 3<&$n $n<&-"; exec "$@"'


class Manager:
    """Starts processes, one at a time, and receives their messages. @keeps: it has a store for descriptors."""

    def __init__(self):
        self.keeps = False
        self.stored = None
        self.messages = []  # lines, in order
        self._socket = None

    def spawn(self, command, *, env, **arguments):
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            # A path in a work directory may be longer than the 107 bytes of sun_path: an abstract name never is.
            self._socket.bind(f"\0dmemfs-tests-{os.getpid()}-{time.monotonic_ns()}")
        self.messages.clear()
        env = {**env, "NOTIFY_SOCKET": "@" + self._socket.getsockname()[1:].decode()}
        if self.keeps:
            env["FDSTORE"] = "1"
        if self.stored is None:
            return subprocess.Popen(command, env=env, **arguments)
        env.update(LISTEN_FDS="1", LISTEN_FDNAMES=FDNAME)
        return subprocess.Popen(["bash", "-c", PASS, "bash", str(self.stored), *command], env=env,
                                pass_fds=[self.stored], **arguments)

    def _receive(self, timeout):
        self._socket.settimeout(timeout)
        data, fds, _, _ = socket.recv_fds(self._socket, 4096, 1)
        lines = data.decode().split("\n")
        if f"FDNAME={FDNAME}" in lines:
            if "FDSTORE=1" in lines and fds and self.keeps:
                self._store(fds.pop())
            elif "FDSTOREREMOVE=1" in lines:
                self._store(None)
        for fd in fds:
            os.close(fd)
        self.messages += lines

    def _store(self, fd):
        if self.stored is not None:
            os.close(self.stored)
        self.stored = fd

    def wait_for(self, message, timeout):
        """Waits until a process has sent the message. False when none does in time."""
        deadline = time.monotonic() + timeout
        while message not in self.messages:
            with suppress(TimeoutError):
                self._receive(max(deadline - time.monotonic(), 0.001))
            if time.monotonic() > deadline:
                break
        return message in self.messages

    def drop(self):
        """Closes all stored descriptors."""
        self._store(None)
        if self._socket is not None:
            self._socket.close()
        self._socket = None
