# SPDX-License-Identifier: GPL-2.0-or-later
"""Counts the tests of a session and shows where it is."""

import sys
import threading
import time

INTERVAL = 20  # seconds between two lines of progress, where they cannot overwrite each other


class Progress:
    """Takes the messages of plugins/results.py, from several VMs at once if need be."""

    def __init__(self):
        self.count = {"passed": 0, "failed": 0, "skipped": 0}
        self._seconds = []  # (seconds, test)
        self._running = set()
        self._start = self._shown = time.monotonic()
        self._total = 0
        self._terminal = sys.stdout.isatty()
        self._lock = threading.Lock()

    def message(self, message):
        with self._lock:
            self._take(message)

    def _take(self, message):
        if "collected" in message:
            self._total += message["collected"]
        elif "begin" in message:
            self._running.add(message["begin"])
            self._show(message["begin"])
        elif "end" in message:
            self._running.discard(message["end"])
            self.count[message["outcome"]] += 1
            self._seconds.append((message["seconds"], message["end"]))
            if message["outcome"] == "failed":
                self._line(f"FAILED {message['end']} ({message['seconds']:.1f} s) {message.get('reason', '')}".rstrip())

    def _line(self, text, end="\n"):
        clear = "\r\033[K" if self._terminal else ""
        print(f"{clear}[{time.monotonic() - self._start:6.1f}] {text}", end=end, flush=True)

    def _show(self, test):
        now = time.monotonic()
        done = sum(self.count.values())
        if self._terminal:
            self._line(f"{done}/{self._total} {test}"[:100], end="")
        elif now - self._shown >= INTERVAL:
            self._shown = now
            self._line(f"{done}/{self._total} {test}")

    def slowest(self, number):
        """A line for each of the tests that took longest, as tests/setup/results.py --slowest prints them."""
        return [f"{seconds:.1f} s  {test}" for seconds, test in sorted(self._seconds, reverse=True)[:number]]

    def finish(self):
        """To be called when all VMs have ended. A test that has not ended was interrupted by the end of its VM: it failed."""
        for test in sorted(self._running):
            self._line(f"FAILED {test}: its VM ended")
        self.count["failed"] += len(self._running)
        self._running.clear()

    def summary(self):
        """Tests that were collected and never began are "not run"."""
        left = max(self._total - sum(self.count.values()), 0)
        rest = ((self.count["skipped"], "skipped"), (left, "not run"))
        return ", ".join([f"{self.count['passed']} passed, {self.count['failed']} failed",
                          *(f"{number} {what}" for number, what in rest if number)])
