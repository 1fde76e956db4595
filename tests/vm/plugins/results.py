# SPDX-License-Identifier: GPL-2.0-or-later
"""Tells the laboratory, on its own channel, which test runs and how each ended. The terminal keeps the details."""

import json
import os

import pytest


class Results:
    """One JSON object a line; see session.py and boot for who reads them."""

    def __init__(self, path):
        self._channel = os.open(path, os.O_WRONLY)
        self._outcome = {}
        self._seconds = {}

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

    def pytest_runtest_logfinish(self, nodeid):
        self._send(end=nodeid, outcome=self._outcome.pop(nodeid), seconds=round(self._seconds.pop(nodeid), 2))

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(self, report):
        """No letters: whoever watches has the channel's lines."""
        if report.skipped:
            return "skipped", "", ""
        if report.failed:
            return "failed" if report.when == "call" else "error", "", ""
        return "passed" if report.when == "call" else "", "", ""


def pytest_configure(config):
    path = os.environ.get("DMEMFS_LAB_RESULT")
    if path:
        config.pluginmanager.register(Results(path))
