# SPDX-License-Identifier: GPL-2.0-or-later
"""
A process beside pytest that ends what hangs. It is a process of its own, because a thread of pytest can hang in a page
fault with Python's lock held, and because a process that waits for a FUSE reply cannot be killed before the connection
is aborted.

Run as a program it reads one JSON object a line from stdin: {"arm": {"test", "seconds", "work"}} or {"disarm": true}.
At the time limit it sends SIGALRM to pytest, which fails the test and goes on. It writes all stacks to WORK/hang.txt,
aborts the FUSE connections below WORK and kills the test's processes. A pytest that does not go on is killed. When
stdin ends, it removes what pytest has left, so no mount stays even after kill -9 of pytest.
"""

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from helpers.processes import abort_connection, children_of, lazy_unmount, mounts_under, processes_naming, stacks_of

# Seconds that pytest gets to fail a test whose mounts and processes are gone.
GRACE = 30 * float(os.environ.get("DMEMFS_TEST_SCALE", "1"))


class TestTimeout(BaseException):
    """Raised by SIGALRM in the test. It is no Exception, so that no code of a test catches it."""

    __test__ = False


class Watchdog:
    """pytest's side of it."""

    def __init__(self, directory):
        signal.signal(signal.SIGALRM, self._expired)
        self._test = None
        self._has_expired = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "helpers.watchdog", str(os.getpid()), str(directory)],
            stdin=subprocess.PIPE, text=True, start_new_session=True, cwd=Path(__file__).parents[1])
        self.pid = self._process.pid

    def _expired(self, *_):
        if self._test:
            self._has_expired = True
            self.check()

    def check(self):
        """Raises TestTimeout if the test has hung. The signal raises it as well, but may hit a frame that loses it."""
        if self._has_expired:
            raise TestTimeout(f"{self._test} hung; the stacks are in hang.txt in its work directory")

    def _send(self, message):
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def arm(self, test, seconds, work):
        self._test = test
        self._has_expired = False
        self._send({"arm": {"test": test, "seconds": seconds, "work": str(work)}})

    def disarm(self):
        self._test = None
        self._send({"disarm": True})

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def _descendants(pid):
    found = []
    for child in children_of(pid):
        found += [child, *_descendants(child)]
    return found


def _end_hung_test(pytest, armed):
    clients = set(_descendants(pytest)) - {os.getpid(), *_descendants(os.getpid())}
    daemons = set(processes_naming(armed["work"])) - {os.getpid(), pytest}
    victims = clients | daemons
    # First of all: a system call that ends by what follows must find it pending, or the test would go on, and the next
    # one would get the signal.
    with suppress(ProcessLookupError):
        os.kill(pytest, signal.SIGALRM)
    print(f"\nwatchdog: {armed['test']}: hung for {armed['seconds']} s; processes {sorted(victims)}", file=sys.stderr,
          flush=True)
    with open(Path(armed["work"]) / "hang.txt", "a", encoding="utf-8") as report:
        for pid in sorted(victims | {pytest}):
            report.write(stacks_of(pid, user=pid in daemons))
            report.flush()
    for minor in mounts_under(armed["work"]).values():
        abort_connection(minor)
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _clear_away(directory):
    for pid in processes_naming(directory):
        if pid != os.getpid():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    lazy_unmount(directory)


def main(pytest, directory):
    armed = None
    deadline = None
    warned = False
    buffered = b""
    while True:
        timeout = None if deadline is None else max(0, deadline - time.monotonic())
        readable, _, _ = select.select([sys.stdin], [], [], timeout)
        if readable:
            data = os.read(sys.stdin.fileno(), 65536)
            if not data:
                break
            *lines, buffered = (buffered + data).split(b"\n")
            for line in lines:
                armed = json.loads(line).get("arm")
                deadline = None if armed is None else time.monotonic() + armed["seconds"]
                warned = False
        elif not warned:
            _end_hung_test(pytest, armed)
            warned = True
            deadline = time.monotonic() + GRACE
        else:
            with suppress(ProcessLookupError):
                os.kill(pytest, signal.SIGKILL)
            break
    _clear_away(directory)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
