# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsctl quota: limits of directory trees, as an operator sets and reads them."""

import os

import pytest

from helpers.control import DAEMON, USAGE

pytestmark = pytest.mark.page_sizes("2M")


@pytest.fixture
def tenant(fs):
    directory = fs / "tenant"
    directory.mkdir()
    return directory


def test_no_limit(ctl, tenant):
    assert ctl.text("quota", tenant) == f"{tenant}: no limit\n"
    assert ctl.json("quota", tenant) == {"directory": str(tenant), "used_bytes": None, "max_bytes": None,
                                         "used_files": None, "max_files": None}


def test_set_and_show(ctl, tenant, fs):
    with open(tenant / "vm1", "wb") as file:
        file.truncate(4 * fs.unit)
    text = ctl.text("quota", tenant, "--max-bytes", "16M", "-f", "4")
    assert text == (f"{tenant}\n"
                    "          USED   LIMIT  USED/LIMIT\n"
                    "  bytes  8 MiB  16 MiB      50.0 %\n"
                    "  files      1       4      25.0 %\n")
    assert ctl.text("quota", tenant) == text
    assert ctl.json("quota", tenant) == {"directory": str(tenant), "used_bytes": 4 * fs.unit, "max_bytes": 16 << 20,
                                         "used_files": 1, "max_files": 4}
    with open(tenant / "vm2", "wb") as file, pytest.raises(OSError, match="Disk quota exceeded"):
        file.truncate(5 * fs.unit)


def test_one_limit_leaves_the_other(ctl, tenant):
    ctl.text("quota", tenant, "--max-bytes=16M", "--max-files=4")
    result = ctl.json("quota", tenant, "--max-bytes", "none")
    assert (result["max_bytes"], result["max_files"], result["used_bytes"]) == (None, 4, 0)
    assert "none" in ctl.text("quota", tenant)
    assert ctl.json("quota", tenant, "--max-bytes=1P")["max_files"] == 4
    ctl.text("quota", tenant, "--max-bytes=none", "--max-files=none")
    assert ctl.text("quota", tenant, "--max-bytes=none") == f"{tenant}: no limit\n"


def test_root_counts_without_a_limit(ctl, fs, tenant):
    result = ctl.json("quota", fs.root)
    assert (result["used_files"], result["max_files"]) == (1, None)


def test_symlink_and_relative_path(ctl, tenant, fs, work):
    (work / "link").symlink_to(tenant)
    assert ctl.json("quota", "link", "--max-files=7")["directory"] == str(tenant)
    assert os.getxattr(tenant, "dmemfs.quota.max_files") == b"7"


@pytest.mark.parametrize(("arguments", "says"), [
    (["--max-bytes=x"], ["--max-bytes x", "64G, or none"]),
    (["--max-bytes=0"], ["--max-bytes 0"]),
    (["--max-bytes=-1"], ["--max-bytes -1"]),
    (["--max-bytes="], ["--max-bytes"]),
    (["--max-files=1K"], ["--max-files 1K", "a number from 1 on, or none"]),
    (["--max-files=0"], ["--max-files 0"]),
    (["--max-bytes=1G", "--max-files=x"], ["--max-files x"]),
    (["surplus"], ["surplus"]),
])
def test_bad_input_changes_nothing(ctl, tenant, arguments, says):
    ctl.fails("quota", tenant, *arguments, status=USAGE, says=says)
    assert ctl.text("quota", tenant) == f"{tenant}: no limit\n"


def test_no_directory(ctl, fs, tenant, work):
    (fs / "file").write_bytes(b"")
    ctl.fails("quota", fs / "file", "--max-files=1", says=["file: is not a directory"])
    ctl.fails("quota", fs / "missing", says=["missing"])
    ctl.fails("quota", work, status=DAEMON, says=[str(work)])
    ctl.fails("quota", status=USAGE, says=["DIR is missing"])


def test_link_that_leads_out(ctl, fs, tenant):
    (tenant / "one").write_bytes(b"")
    os.link(tenant / "one", fs / "two")
    ctl.fails("quota", tenant, "--max-files=9", says=["--max-files", "hard link"])


def test_who_is_not_root(ctl, tenant):
    """Another user may read limits. The command says that only root may set them."""
    ctl.text("quota", tenant, "--max-files=9")
    assert ctl.json("quota", tenant, user=65534)["max_files"] == 9
    ctl.fails("quota", tenant, "--max-files=none", user=65534, says=["--max-files", "only root sets limits"])


def test_who_is_not_root_sees_how_much_and_not_where(ctl, fs, tenant):
    (tenant / "file").touch()
    assert ctl.json("status", fs.root, user=65534)["mounts"][0]["files"] == 1
    for command in (["extents", tenant / "file"], ["map", fs.root]):
        ctl.fails(*command, user=65534, says=["only root may see where memory lies"])
