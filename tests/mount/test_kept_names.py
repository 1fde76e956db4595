# SPDX-License-Identifier: GPL-2.0-or-later
"""The keys, attributes and statistics of earlier versions still work: configurations and scripts use them."""

import errno
import os
import re
import subprocess

import pytest

from helpers.expect import refused

KEYS = {
    "daemon": {"mountpoint", "state-dir", "backend", "page-size", "size", "alloc", "memory-dir", "populate", "threads",
               "lost-contents", "zero-in-advance", "zero-rate", "overcommit", "demand-extent", "max-metadata", "metrics-file",
               "metrics-interval"},
    "region": {"start", "size", "node"},
    "quota": {"path", "max-bytes", "max-files"},
}
OF_FILES = ("alloc", "discard", "extents", "node_bytes", "page_size", "poison")
OF_FILES_OF_THE_MODULE = ("faults",)
OF_DIRECTORIES = ("alloc", "discard", "page_size", "quota.max_bytes", "quota.max_files", "quota.used_bytes",
                  "quota.used_files")
OF_THE_ROOT = ("daemon", "regions", "stats")
STATS = {"capacity_bytes", "free_bytes", "free_2m_bytes", "free_1g_bytes", "pending_bytes", "allocated_bytes", "promised_bytes",
         "inodes", "files", "directories", "clean_bytes", "dirty_bytes", "zeroing_bytes", "zeroed_bytes", "zeroing_rate",
         "zeroing_workers", "poisoned_bytes", "poisoned_used_bytes"}

pytestmark = pytest.mark.page_sizes("4K")


@pytest.mark.parametrize("group", KEYS)
def test_keys(daemon, group):
    """The error about an unknown key lists those that the group has."""
    config = daemon.work / "keys.conf"
    config.write_text(f"[{group}]\nno-such-key=1\n" if group == "daemon" else f"[daemon]\n[{group} name]\nno-such-key=1\n")
    said = subprocess.run([daemon.program, "--config", config, "--check-config"], capture_output=True, text=True, check=False)
    assert KEYS[group] <= set(re.search(r"this group has (.*)", said.stderr)[1].split(", "))


def test_attributes(fs):
    path = fs.make_file("file", size=fs.unit)
    directory = fs / "directory"
    directory.mkdir()
    for name, value in (("max_bytes", b"1M"), ("max_files", b"9")):
        os.setxattr(directory, f"trusted.dmemfs.quota.{name}", value)
    for target in (path, directory):
        refused(errno.EINVAL, os.setxattr, target, "dmemfs.node", b"no policy")
    of_files = OF_FILES if fs.backend.looks_inside else OF_FILES + OF_FILES_OF_THE_MODULE
    for target, names in ((path, of_files), (directory, OF_DIRECTORIES), (fs.root, OF_THE_ROOT)):
        for name in names:
            os.getxattr(target, f"dmemfs.{name}")  # ENODATA if it is not served
    assert STATS <= fs.stats().keys()
