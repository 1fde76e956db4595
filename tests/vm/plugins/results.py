# SPDX-License-Identifier: GPL-2.0-or-later
"""
Reports to the laboratory, on a channel of its own, which test runs and how each ended. The terminal shows the details.
"""

import json
import os

import pytest


class Results:
    """Sends one JSON object a line. lab/session.py and lab/progress.py read them."""

    def __init__(self, path):
        self._channel = os.open(path, os.O_WRONLY)
        self._outcome = {}
        self._seconds = {}
        self._reason = {}

    def _send(self, **message):
        os.write(self._channel, json.dumps(message).encode() + b"\n")

    def pytest_collectreport(self, report):
        if report.failed:
            self._send(end=report.nodeid, outcome="failed", seconds=0)

    def pytest_collection_finish(self, session):
        self._send(collected=len(session.items))

    def pytest_runtest_logstart(self, nodeid):
        self._outcome[nodeid] = "passed"
        self._seconds[nodeid] = 0
        self._send(begin=nodeid)

    def pytest_runtest_logreport(self, report):
        self._seconds[report.nodeid] += report.duration
        if report.outcome != "passed" and self._outcome[report.nodeid] != "failed":
            self._outcome[report.nodeid] = report.outcome
        if report.failed:
            # pytest prints details when all tests have ended, which a VM that crashes does not reach.
            crash = getattr(report.longrepr, "reprcrash", None)
            self._reason[report.nodeid] = (crash.message if crash else str(report.longrepr)).partition("\n")[0][:200]

    def pytest_runtest_logfinish(self, nodeid):
        reason = {"reason": self._reason.pop(nodeid)} if nodeid in self._reason else {}
        self._send(end=nodeid, outcome=self._outcome.pop(nodeid), seconds=round(self._seconds.pop(nodeid), 2), **reason)

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report):
        """Prints no letters: the laboratory shows the progress."""
        if report.skipped:
            return "skipped", "", ""
        if report.failed:
            return "failed" if report.when == "call" else "error", "", ""
        return "passed" if report.when == "call" else "", "", ""


def pytest_configure(config):
    path = os.environ.get("DMEMFS_LAB_RESULT")
    if path:
        config.pluginmanager.register(Results(path))
