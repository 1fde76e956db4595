# SPDX-License-Identifier: GPL-2.0-or-later
"""doctor checks the configuration, and the machine for it when no daemon runs. It reads it once."""

import json

import pytest

pytestmark = pytest.mark.page_sizes("2M")


def test_obsolete_key_is_warned_of_once(in_namespace, fs):
    """Also when no daemon runs, and the machine is checked."""
    fs.daemon.config.write_text(fs.daemon.config.read_text().replace("[daemon]", "[daemon]\nbusy-poll=1", 1))
    for mounts in ("true", 'umount -l "$ROOT"'):
        done = in_namespace(mounts).run("doctor", "--config", fs.daemon.config)
        assert done.stderr.count("busy-poll: is obsolete") == 1 and "is in order" in done.stdout, done


def test_machine_is_checked_when_no_daemon_runs(in_namespace, fs):
    text = fs.daemon.config.read_text().replace(f"mountpoint={fs.root}", f"mountpoint={in_namespace.place}/none")
    fs.daemon.config.write_text(text)
    for mounts, expected in (("true", "is in order"), ('umount -l "$ROOT"', f"{in_namespace.place}/none does not exist")):
        done = in_namespace(mounts).run("doctor", "--json", "--config", fs.daemon.config)
        (says,) = [finding["text"] for finding in json.loads(done.stdout)["findings"] if finding["check"] == "config"]
        assert expected in says
