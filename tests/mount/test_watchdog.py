# SPDX-License-Identifier: GPL-2.0-or-later
"""The service manager's watchdog: the daemon reports while it serves, and stops to report when it hangs."""

import os
import signal
import time

import pytest

from helpers.children import Child
from helpers.mount import wait_until
from helpers.syscalls import Mapping, opened

PATIENCE = 2  # seconds
ALIVE, HUNG = "WATCHDOG=1", "WATCHDOG=trigger"
STOOD_STILL = "requests made no progress for 2 s: asking the service manager to restart the daemon"


@pytest.fixture
def watched(fs):
    """restart(VARIABLES) restarts the daemon with a watchdog, and with a manager that keeps its connection."""
    def restart(**environment):
        fs.daemon.stop()
        fs.daemon.manager.keeps = True
        fs.daemon.start(WATCHDOG_USEC=str(int(PATIENCE * 1e6)), **environment)
        return fs.daemon

    return restart


def hear(daemon, message, timeout=10):
    daemon.manager.messages.clear()
    return daemon.manager.wait_for(message, timeout)


def wait_for_restart(daemon):
    """
    Waits until systemd would restart the daemon: it asks for that, or its main loop hangs and it reports nothing
    for too long.
    """
    while hear(daemon, ALIVE, PATIENCE) and HUNG not in daemon.manager.messages:
        pass
    if STOOD_STILL in daemon.log:
        daemon.expected.append(STOOD_STILL)
    os.kill(daemon.pid, signal.SIGABRT)
    daemon.process.wait()
    daemon.ended_by_test = True


def test_idle_daemon_is_alive(watched):
    daemon = watched()
    end = time.monotonic() + 2 * PATIENCE
    while time.monotonic() < end:
        assert hear(daemon, ALIVE, PATIENCE)
    assert HUNG not in daemon.manager.messages


@pytest.mark.page_sizes("4K")
def test_no_watchdog_was_asked_for(watched, fs):
    daemon = watched(WATCHDOG_PID="1")  # that of another process
    assert not hear(daemon, ALIVE, PATIENCE)
    fs.daemon.manager.keeps = False


@pytest.mark.page_sizes("4K")
@pytest.mark.parametrize("point", ["before-commit", "after-commit"])
def test_request_that_hangs_is_done_by_the_next_daemon(watched, fs, point):
    """The request hangs with a lock held. The client sees a pause."""
    daemon = watched(DMEMFS_HANG_AT=point)
    with Child(os.mkdir, fs / "new") as client, Child(os.mkdir, fs / "other") as other:
        wait_for_restart(daemon)
        daemon.take_over(WATCHDOG_USEC=str(int(PATIENCE * 1e6)))
        client.wait()
        other.wait()
    assert sorted(os.listdir(fs.root)) == ["new", "other"]
    assert hear(daemon, ALIVE)


@pytest.mark.page_sizes("4K")
def test_thread_that_hangs_is_found_while_others_serve(watched, fs):
    """The thread holds no lock that the other threads need."""
    fs.make_file("file", b"x")
    daemon = watched(DMEMFS_HANG_AT="registered")
    daemon.expected.append(STOOD_STILL)

    def client():
        with opened(fs / "file") as fd:
            Mapping(fd, 1)

    with Child(client) as hung:
        daemon.manager.messages.clear()
        end = time.monotonic() + 10
        while HUNG not in daemon.manager.messages and time.monotonic() < end:
            os.statvfs(fs.root)
            daemon.manager.wait_for(HUNG, 0.01)
        assert HUNG in daemon.manager.messages
        daemon.kill()
        daemon.take_over()
        hung.wait()


@pytest.mark.page_sizes("4K")
def test_stopped_process_says_nothing(watched):
    daemon = watched()
    assert hear(daemon, ALIVE)
    with daemon.frozen():
        assert not hear(daemon, ALIVE, 2 * PATIENCE)
    assert hear(daemon, ALIVE)
    assert HUNG not in daemon.manager.messages


# --- signals that come together ---

@pytest.mark.page_sizes("4K")
@pytest.mark.parametrize("first, second", [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)],
                         ids=["INT-TERM", "TERM-INT"])
def test_stop_for_good_is_for_good(watched, first, second):
    """
    A service manager sends SIGTERM after its stop command. SIGTERM alone would leave the mount to the next daemon.
    """
    daemon = watched()
    with daemon.frozen():
        os.kill(daemon.pid, first)
        os.kill(daemon.pid, second)
    assert daemon.wait() == 0
    assert not daemon.mounted
    assert daemon.manager.wait_for("FDSTOREREMOVE=1", 5)


@pytest.mark.page_sizes("4K")
def test_stop_says_that_files_are_in_use(watched, fs):
    """Processes keep the memory that they map. The next daemon shows the files again."""
    daemon = watched()
    path = fs.make_file("vm1", b"kept")

    def client(pipe):
        with opened(path) as fd:
            mapping = Mapping(fd, 4)
        pipe.send("mapped")
        pipe.recv()
        assert mapping.read(0, 4) == b"kept"
        mapping.write(0, b"KEPT")

    with Child(client, with_pipe=True) as guest:
        guest.receive()
        os.kill(daemon.pid, signal.SIGINT)
        assert daemon.wait() == 0
        assert not daemon.mounted
        assert "files are in use: processes that map them keep that memory" in daemon.log
        daemon.next()
        guest.pipe.send("go on")
        guest.wait()
    assert path.read_bytes() == b"KEPT"


def test_status_is_told(watched, fs):
    daemon = watched()
    wait_until(lambda: any(line.startswith(f"STATUS=Serving {fs.root}: ") for line in daemon.manager.messages), "a status")
