# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsd.service as an operator handles it."""

import ctypes
import os
import re
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path

from helpers.mount import wait_until

UNIT = "dmemfsd.service"
DROP_IN = Path("/run/systemd/system", UNIT + ".d", "test.conf")
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207  # <sys/ptrace.h>
WALL = 0x40000000  # waitpid(2): __WALL
SCALE = float(os.environ.get("DMEMFS_TEST_SCALE", "1"))
COMPLAINT = re.compile(r"error|warning|fail|refus|denied|ignor|timeout", re.IGNORECASE)


def _wait_for_end(pid):
    status = 0x7F  # stopped
    while os.WIFSTOPPED(status):
        _, status = os.waitpid(pid, WALL)


class Unit:
    """Commands must succeed unless the method says otherwise."""

    def __init__(self):
        self._expected = ["Failed with result 'signal'"]
        self._cursor = self._read_log()[1]

    @staticmethod
    def configure(**settings):
        """Writes a drop-in with these keys of [Service]."""
        DROP_IN.parent.mkdir(parents=True, exist_ok=True)
        DROP_IN.write_text("[Service]\n" + "".join(f"{key}={value}\n" for key, value in settings.items()))
        subprocess.run(["systemctl", "daemon-reload"], check=True)

    @staticmethod
    def _run(verb, *arguments):
        return subprocess.run(["systemctl", verb, *arguments, UNIT], capture_output=True, text=True, check=False)

    def systemctl(self, verb, *arguments):
        done = self._run(verb, *arguments)
        assert done.returncode == 0, f"systemctl {verb}: {done.stderr}\n{self.log()}"

    def fails(self, verb):
        """The command must fail. Returns what the log of the unit says about it."""
        assert self._run(verb).returncode != 0
        return self.log()

    def start(self):
        self.systemctl("start")

    def signal(self, name):
        """Sends a signal to the daemon only."""
        self.systemctl("kill", "--kill-who=main", f"--signal={name}")

    @staticmethod
    def show(name):
        return subprocess.run(["systemctl", "show", "--value", "-p", name, UNIT], capture_output=True, text=True,
                              check=True).stdout.strip()

    def is_active(self):
        return self.show("ActiveState") == "active"

    @property
    def pid(self):
        return int(self.show("MainPID"))

    @contextmanager
    def replaced(self):
        """The block must make systemd start another daemon. Returns when that one serves."""
        known = self.show("NRestarts")
        yield
        wait_until(lambda: self.show("NRestarts") != known and self.is_active(), "there is another daemon", 60 * SCALE)

    @contextmanager
    def halted_main_loop(self):
        """Stops the main thread of the daemon by ptrace(2), but not the others. The daemon must end in the block."""
        libc = ctypes.CDLL(None, use_errno=True)
        pid = self.pid
        for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
            if libc.ptrace(request, pid, None, None) < 0:
                raise OSError(ctypes.get_errno(), "ptrace")
        # systemd hears of its end only after its tracer has.
        waiter = threading.Thread(target=_wait_for_end, args=[pid], daemon=True)  # a failure in the block must not wait for it
        waiter.start()
        yield
        waiter.join()

    def _read_log(self, cursor=None):
        subprocess.run(["journalctl", "--sync"], check=True)
        since = [f"--after-cursor={cursor}"] if cursor else []
        done = subprocess.run(["journalctl", "--unit", UNIT, "--output=cat", "--show-cursor", *since],
                              capture_output=True, text=True, check=False)  # 1: it has said nothing
        text, _, found = done.stdout.rpartition("-- cursor: ")
        return text, found.strip() or cursor

    def log(self):
        """The journal since the last check_log()."""
        return self._read_log(self._cursor)[0]

    def expect(self, pattern):
        self._expected.append(pattern)

    def check_log(self):
        """Fails if the log has a complaint that the test does not expect. Forgets the expectations."""
        text, self._cursor = self._read_log(self._cursor)
        found = [line for line in text.splitlines() if COMPLAINT.search(line)
                 and not any(re.search(pattern, line) for pattern in self._expected)]
        del self._expected[1:]
        assert found == [], text
