# SPDX-License-Identifier: GPL-2.0-or-later
"""Starts with a large record."""

import os
import stat
import subprocess

import pytest

NAMES = [f"{number:0250}" for number in range(10_000)]  # more than SQLite sorts in its cache, which has 2 MB


@pytest.mark.memory_only("the record is the same on every backend, and an emulated CPU takes minutes to make the names")
@pytest.mark.timeout(180)
@pytest.mark.page_sizes("4K")
def test_start_after_a_kill_needs_no_room_for_temporary_files(fs):
    for name in NAMES:
        os.mknod(fs / name, stat.S_IFREG | 0o600)
    fs.daemon.kill()
    full = fs.daemon.work / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "none", full], check=True)
    try:
        (full / "filler").write_bytes(bytes(4096))
        fs.daemon.next(SQLITE_TMPDIR=str(full), TMPDIR=str(full))
        assert sorted(os.listdir(fs.root)) == NAMES
        fs.daemon.stop()
    finally:
        subprocess.run(["umount", "--lazy", full], check=True)
