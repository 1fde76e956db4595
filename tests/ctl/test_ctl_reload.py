# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsctl reload."""

import os

import pytest

from helpers.control import DAEMON

pytestmark = pytest.mark.page_sizes("4K")


def test_reload(fs, ctl):
    fs.make_file("file", b"kept")
    fd = os.open(fs / "file", os.O_RDONLY)
    assert ctl.text("reload", "--config", fs.daemon.config) == f"{fs.daemon.state_dir}: reloaded (pid {fs.daemon.pid})\n"
    assert os.pread(fd, 4, 0) == b"kept"
    os.close(fd)
    assert ctl.json("reload", "--config", fs.daemon.config) == {"pid": fs.daemon.pid}
    assert fs.daemon.log.count("took over the mount") == 2


def test_bad_configuration_never_reaches_the_daemon(fs, ctl):
    fs.daemon.config.write_text(fs.daemon.config.read_text() + "\nbananas=yes\n")
    ctl.fails("reload", "--config", fs.daemon.config, says=["bananas"])
    assert "not reloaded" not in fs.daemon.log


def test_no_daemon(fs, ctl):
    fs.daemon.stop()
    ctl.fails("reload", "--config", fs.daemon.config, status=DAEMON, says=["no daemon runs"])
