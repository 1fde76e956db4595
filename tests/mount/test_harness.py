# SPDX-License-Identifier: GPL-2.0-or-later
"""The test harness: its checks fail when they should, and a test that hangs costs only itself."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.accounting import Run, Tree, check_tree, expected_stats
from helpers.children import Child, ChildError, death_of, in_child
from helpers.daemon import Daemon, DaemonError
from helpers.expect import fails_with, first_difference, same_bytes
from helpers.processes import mounts_under, processes_naming, state_of
from helpers.syscalls import Mapping

TESTS = Path(__file__).parents[1]

HANGS = """
import os
import pytest
from helpers.processes import freeze

@pytest.mark.page_sizes("4K")
@pytest.mark.timeout({seconds})
def test_that_hangs(fs):
    freeze(fs.daemon.pid)
    os.stat(fs / "never answered")

@pytest.mark.page_sizes("4K")
def test_after_it(fs):
    fs.make_file("file", b"works")
"""

COMPLAINS = """
import pytest

@pytest.mark.page_sizes("4K")
def test_with_a_complaint(fs):
    with open(fs.daemon.log_file, "a") as log:
        log.write("dmemfsd: {level}: something\\n")
"""

LEAVES = """
import os, subprocess, pytest

@pytest.mark.page_sizes("4K")
def test_that_leaves_a_process(work):
    subprocess.Popen(["sleep", "1000"])

@pytest.mark.page_sizes("4K")
def test_that_leaves_a_mount(work):
    (work / "left").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", work / "left"], check=True)
"""

DIES = """
import os, signal, pytest

@pytest.mark.page_sizes("4K")
def test_whose_daemon_dies(fs):
    os.kill(fs.daemon.pid, signal.SIGKILL)
    fs.daemon.process.wait()

@pytest.mark.page_sizes("4K")
def test_that_kills_pytest(fs):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def pytester(work, dmemfsd):
    """Runs tests of its own under the same conftest.py; returns (exit status, output)."""
    directory = work / "tests"
    directory.mkdir()
    for name in ("conftest.py", "pytest.ini", "helpers"):
        (directory / name).symlink_to(TESTS / name)

    def run(source, *arguments):
        (directory / "test_inner.py").write_text(source)
        environment = {**os.environ, "DMEMFSD": str(dmemfsd), "TMPDIR": str(work), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "test_inner.py", *arguments], cwd=directory,
                              env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        return done.returncode, done.stdout

    return run


def test_hang_fails_one_test_with_stacks_and_the_next_one_runs(pytester, work):
    status, output = pytester(HANGS.format(seconds=2))
    assert status == 1
    assert "1 failed, 1 passed" in output
    assert "hung; the stacks are in hang.txt" in output
    hang = next(work.glob("dmemfs-tests.*/test_that_hangs*/hang.txt")).read_text()
    assert "fuse-0" in hang
    assert "request_wait_answer" in hang
    script = next(work.glob("dmemfs-tests.*/test_that_hangs*/reproduce.sh")).read_text()
    assert "test_that_hangs" in script
    assert mounts_under(work) == {}


@pytest.mark.parametrize("level", ("error", "warning"))
def test_complaint_in_the_log_fails_the_test(pytester, level):
    status, output = pytester(COMPLAINS.format(level=level))
    assert status == 1
    assert f"in the log: dmemfsd: {level}: something" in output


def test_expected_complaint_does_not_but_its_absence_does(pytester):
    marker = '@pytest.mark.expect_log("something")\n@pytest.mark.page_sizes'
    assert pytester(COMPLAINS.format(level="error").replace("@pytest.mark.page_sizes", marker))[0] == 0
    status, output = pytester(COMPLAINS.format(level="error").replace("@pytest.mark.page_sizes", marker).replace(
        "something\\n", "other\\n"))
    assert status == 1
    assert "not in the log: something" in output


def test_what_a_test_leaves_fails_it_and_is_cleared_away(pytester, work):
    status, output = pytester(LEAVES)
    assert status == 1
    assert "the test left behind: process" in output
    assert "the test left behind: mount" in output
    assert mounts_under(work) == {}


def test_daemon_that_dies_fails_the_test(pytester):
    status, output = pytester(DIES, "-k", "daemon_dies")
    assert status == 1
    assert "ended before it was told to" in output


def test_killed_pytest_leaves_neither_mount_nor_daemon(pytester, work):
    status, _ = pytester(DIES, "-k", "kills_pytest")
    assert status == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while mounts_under(work) or processes_naming(str(work)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_daemon_that_never_says_ready_is_killed_and_shown(work):
    daemon = Daemon("/bin/sleep", work, {}, ready_timeout=0.5)
    daemon.command = lambda *options: ["/bin/sleep", "1000"]
    with pytest.raises(DaemonError, match="has not said READY"):
        daemon.start()
    assert state_of(daemon.pid) is None


def test_sigterm_clears_everything_away(pytester, work):
    status, output = pytester(DIES.replace("SIGKILL", "SIGTERM"), "-k", "kills_pytest")
    assert status == 128 + signal.SIGTERM
    assert "SIGTERM" in output
    assert mounts_under(work) == {}
    assert processes_naming(str(work)) == []
    assert list(work.glob("dmemfs-tests.*")) == []


UNIT = 4096


class Status:
    """Those members of os.stat_result that the accounting checks read."""

    st_mode = 0o100644
    st_nlink = 1

    def __init__(self, size, blocks):
        self.st_size, self.st_blocks = size, blocks


def tree(size, *runs, blocks=None, others=(), demand=()):
    held, held_by_other = (sum(run.length for run in each) for each in (runs, others))
    return Tree({1: Status(size, held // 512 if blocks is None else blocks), 2: Status(0, held_by_other // 512)},
                {1: "one", 2: "two"}, {1: 1, 2: 1}, {1: list(runs), 2: list(others)},
                {1: UNIT, 2: UNIT}, set(demand))


def test_books_that_balance_pass():
    good = tree(6000, Run(0, 0x10000, 4096), Run(4096, 0x30000, 4096), others=[Run(8192, 0x20000, 4096)])
    check_tree(good)
    assert expected_stats(good, 1 << 20)["free_bytes"] == (1 << 20) - 3 * 4096
    holes = tree(6000, Run(4096, 0x30000, 4096), demand=[1])
    check_tree(holes)
    assert expected_stats(holes, 1 << 20)["promised_bytes"] == 4096


@pytest.mark.parametrize("books, complaint", (
    (tree(4097, Run(0, 0, 4096)), "SIGBUS"),
    (tree(8192, Run(4096, 0, 4096)), "SIGBUS"),
    (tree(4096, Run(0, 0, 4096), blocks=16), "st_blocks"),
    (tree(4096, Run(0, 512, 4096)), "multiple"),
    (tree(8192, Run(0, 512, 4096), demand=[1]), "multiple"),
    (tree(8192, Run(0, 0, 8192), Run(4096, 65536, 4096)), "overlaps"),
    (tree(8192, Run(0, 0, 8192), others=[Run(0, 4096, 4096)]), "share memory"),
))
def test_books_that_do_not_balance_fail(books, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_tree(books)


def test_first_difference_is_found():
    assert first_difference(b"same", b"same") is None
    assert first_difference(b"abcX" * 1000, b"abcX" * 999 + b"abcY") == 3999
    assert first_difference(b"abc", b"abcd") == 3
    with pytest.raises(AssertionError, match="offset 0x2"):
        same_bytes(b"abX", b"abc")


def test_missing_failure_is_a_failure():
    with pytest.raises(AssertionError, match="no error: wanted ENOENT"):
        with fails_with(2):
            pass
    with pytest.raises(AssertionError, match="wanted EEXIST"):
        with fails_with(17):
            os.stat("/does not exist")
    with pytest.raises(AssertionError, match="no error: wanted 133"):
        with fails_with(133):  # EHWPOISON, which has no name in Python
            pass


def test_children_report_results_errors_and_deaths(work):
    assert in_child(lambda: 42) == 42
    assert in_child(os.getuid, uid=65534) == 65534
    with fails_with(2):
        in_child(os.stat, work / "none")

    def wrong():
        assert "this" == "that"

    with pytest.raises(ChildError, match="this"):
        in_child(wrong)
    (work / "empty").touch()

    def fault():
        with open(work / "empty", "r+b") as file, Mapping(file.fileno(), 4096) as mapping:
            mapping.read(0, 1)

    assert death_of(fault) == signal.SIGBUS
    with Child(time.sleep, 100) as child:
        with pytest.raises(ChildError, match="does not end"):
            child.wait_status(timeout=0.1)
