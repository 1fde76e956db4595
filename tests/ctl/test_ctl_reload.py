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


def test_a_file_that_the_daemon_does_not_read(fs, ctl):
    """It would be checked, and then not be used. Other names of the daemon's file are fine."""
    other = fs.daemon.work / "other.conf"
    other.write_text(fs.daemon.config.read_text() + "\nzero-rate=1G\n")
    ctl.fails("reload", "--config", other, says=[f"{other}: ", f"was started with {fs.daemon.config} ", f"--config {fs.daemon.config},",
                                                 f"start it with --config {other}"])
    assert "took over the mount" not in fs.daemon.log
    other.unlink()
    other.symlink_to(fs.daemon.config)
    assert "reloaded" in ctl.text("reload", "--config", other)
    assert "reloaded" in ctl.text("reload", "--config", os.path.relpath(fs.daemon.config, ctl.work))


def test_file_of_a_daemon_that_was_started_with_a_relative_path(fs, ctl):
    config = fs.daemon.config
    fs.daemon.stop()
    fs.daemon.config = config.relative_to("/")
    fs.daemon.start()
    fs.daemon.config = config
    assert "reloaded" in ctl.text("reload", "--config", config)


def test_no_daemon(fs, ctl):
    fs.daemon.stop()
    ctl.fails("reload", "--config", fs.daemon.config, status=DAEMON, says=["no daemon runs"])
