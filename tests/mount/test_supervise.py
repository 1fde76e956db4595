# SPDX-License-Identifier: GPL-2.0-or-later
"""
dmemfsd --supervise: it starts another daemon when one dies, takes messages from nobody else, and leaves no dead mount.
"""

import errno
import os
import re
import signal
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.backends import MIB
from helpers.children import Child
from helpers.clients import Client
from helpers.expect import fails_with
from helpers.mount import wait_until
from helpers.processes import descriptors_of, processes_naming, state_of
from helpers.syscalls import opened, take_descriptor
from mount.test_takeover import reload


@contextmanager
def supervised(fs):
    fs.daemon.stop()
    fs.daemon.options.append("--supervise")
    fs.daemon.start()
    yield fs.daemon
    if fs.daemon.running and fs.daemon.mounted:
        fs.check()


def child_of(daemon):
    (child,) = map(int, open(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read().split())
    return child


@pytest.mark.dmemfs(size=512 * MIB)
def test_supervisor_starts_another_daemon(fs):
    with supervised(fs) as daemon:
        daemon.expected.append("the daemon was ended by signal 9: starting another")
        clients = [Client(fs, number) for number in range(2)]
        for _ in range(3):
            child = child_of(daemon)
            before = daemon.log.count("took over")
            os.kill(child, signal.SIGKILL)
            wait_until(lambda seen=before: daemon.log.count("took over") > seen, "another daemon has taken over")
        for client in clients:
            client.finish()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT])
def test_supervisor_ends_for_good(fs, number):
    with supervised(fs) as daemon:
        os.kill(daemon.pid, number)
        assert daemon.wait() == 0
        assert not daemon.mounted


def test_supervisor_ends_with_the_mount(fs):
    with supervised(fs) as daemon:
        assert daemon.unmount() is None
        assert daemon.wait() == 0


def test_supervisor_passes_the_reload_on(fs):
    with supervised(fs) as daemon:
        fs.make_file("file", b"kept")
        child = child_of(daemon)
        reload(daemon)
        assert child_of(daemon) == child
        assert (fs / "file").read_bytes() == b"kept"


def test_supervisor_in_the_background(fs):
    """It changes its directory, but a relative path of the configuration still starts where it was started."""
    fs.daemon.stop()
    path = str(fs.daemon.config)[1:]
    command = [fs.daemon.program, "--supervise", "--config", path.split("/", 1)[1]]
    done = subprocess.run(command, capture_output=True, text=True, env=fs.daemon.environment(), timeout=30, check=False,
                          cwd="/" + path.split("/", 1)[0])
    assert done.returncode == 0, done.stderr
    (fs / "file").write_bytes(b"x")
    supervisor = next(pid for pid in processes_naming(command[-1]) if Path(f"/proc/{pid}/cmdline").read_text().count("--supervise"))
    (child,) = map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split())
    os.kill(child, signal.SIGKILL)
    assert (fs / "file").read_bytes() == b"x"
    fs.daemon.process = None
    assert fs.daemon.unmount() is None
    wait_until(lambda: not processes_naming(command[-1]), "the supervisor and the daemon have ended", 30)


@pytest.mark.page_sizes("4K")
def test_supervisor_does_not_repeat_what_cannot_work(fs):
    fs.daemon.stop()
    os.chmod(fs.daemon.state_dir, 0o777)
    done = subprocess.run(fs.daemon.command("--supervise", "--foreground"), capture_output=True, text=True,
                          env=fs.daemon.environment(), timeout=30, check=False)
    os.chmod(fs.daemon.state_dir, 0o700)
    assert done.returncode == 1
    assert done.stderr.count("can be written by others") == 1
    fs.daemon.process = None


@pytest.mark.page_sizes("4K")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT])
def test_supervisor_leaves_no_dead_mount(fs, number):
    """It is told to end while its daemon is dead and the next one cannot start."""
    with supervised(fs) as daemon:
        good = daemon.config.read_text()
        daemon.config.write_text("bananas")

        def use_it(pipe):
            with opened(fs.root, os.O_RDONLY) as fd:
                pipe.send("open")
                pipe.recv()
                with fails_with(errno.ENOTCONN, errno.ECONNABORTED):
                    os.fstatvfs(fd)

        client = Child(use_it, with_pipe=True)
        assert client.receive() == "open"
        os.kill(child_of(daemon), signal.SIGKILL)
        client.pipe.send("ask")
        wait_until(lambda: "starting another after a pause" in daemon.log, "the next daemon fails")
        daemon.expected += ["the daemon was ended by signal 9", "bananas", "the daemon ended with status 1"]

        os.kill(daemon.pid, number)
        assert daemon.wait() == 0
        assert not daemon.mounted
        client.wait()
        daemon.config.write_text(good)


def sockets_of(pid):
    return {re.search(r"\d+", link).group() for link in descriptors_of(pid).values() if link.startswith("socket:")}


@pytest.mark.page_sizes("4K")
def test_nobody_else_can_talk_to_the_supervisor(fs):
    """None of its sockets has an address. It closes descriptors that its daemon sends without a request."""
    with supervised(fs) as daemon:
        sockets = sockets_of(daemon.pid) | sockets_of(child_of(daemon))
        named = [line.split() for line in open("/proc/net/unix") if len(line.split()) > 7]
        assert sockets and not [line for line in named if line[6] in sockets]

        environment = open(f"/proc/{child_of(daemon)}/environ").read().split("\0")
        number = next(int(entry[len("NOTIFY_SOCKET=fd:"):]) for entry in environment if entry.startswith("NOTIFY_SOCKET=fd:"))
        descriptors = len(os.listdir(f"/proc/{daemon.pid}/fd"))
        with socket.socket(fileno=take_descriptor(child_of(daemon), number)) as childs_end:
            for _ in range(20):
                socket.send_fds(childs_end, [b"STATUS=x"], [0, 1, 2])
            socket.send_fds(childs_end, [b"STATUS=last"], [0])
        assert daemon.manager.wait_for("STATUS=last", 5)
        # The supervisor passes a message on first, and then closes what came with it.
        wait_until(lambda: len(os.listdir(f"/proc/{daemon.pid}/fd")) <= descriptors, "the supervisor has closed what came")


@pytest.mark.page_sizes("4K")
def test_daemon_whose_supervisor_was_killed_unmounts(fs):
    """Nothing keeps the connection for a next daemon."""
    with supervised(fs) as daemon:
        child = child_of(daemon)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.process.wait()
        daemon.ended_by_test = True
        daemon.expected.append("NOTIFY_SOCKET")
        (fs / "file").write_bytes(b"x")
        os.kill(child, signal.SIGTERM)
        wait_until(lambda: state_of(child) in (None, "Z"), "the daemon has ended")
        assert not daemon.mounted


@pytest.mark.page_sizes("4K")
def test_daemon_outlives_its_supervisor(fs):
    with supervised(fs) as daemon:
        child = child_of(daemon)
        os.kill(daemon.pid, signal.SIGKILL)
        daemon.process.wait()
        daemon.ended_by_test = True
        (fs / "file").write_bytes(b"x")
        assert daemon.unmount() is None
        wait_until(lambda: not os.path.exists(f"/proc/{child}"), "the daemon has ended")
        daemon.expected.append("NOTIFY_SOCKET")
