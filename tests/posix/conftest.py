# SPDX-License-Identifier: GPL-2.0-or-later
"""Each test runs on dmemfs and on tmpfs."""

import subprocess

import pytest


@pytest.fixture
def page_size():
    """The page size makes no difference to these tests."""
    return "4K"


@pytest.fixture
def peer(work):
    """The root of an empty tmpfs, mounted with noatime as dmemfs is."""
    root = work / "tmpfs"
    root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "noatime,nosuid,nodev,mode=755", "peer", root], check=True)
    yield root
    subprocess.run(["umount", root], check=True)


@pytest.fixture(params=("dmemfs", "tmpfs"))
def place(request):
    """The root of dmemfs, then that of tmpfs, which shows that the tests themselves are right."""
    return request.getfixturevalue("fs").root if request.param == "dmemfs" else request.getfixturevalue("peer")
