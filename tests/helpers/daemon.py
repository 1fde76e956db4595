# SPDX-License-Identifier: GPL-2.0-or-later
"""One dmemfsd of one test: its configuration, start, log, stop, and the command to repeat it by hand."""

import os
import re
import shlex
import signal
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from helpers.manager import Manager
from helpers.processes import NO_HOLDERS, freeze, holders_of, lazy_unmount, mounts_under, stacks_of, state_of

START_TIMEOUT = 30
# A sanitized daemon searches its memory for leaks when it stops.
STOP_TIMEOUT = 30 * float(os.environ.get("DMEMFS_TEST_SCALE", "1"))
RELEASE_TIMEOUT = 5  # the kernel does it as soon as the process is gone

# Lines that no test lets pass unless it says that it expects them.
COMPLAINT = re.compile(r"error|warning|Sanitizer|critical|assert", re.IGNORECASE)

# A build with sanitizers stops at the first finding, with a status that nothing else gives.
SANITIZERS = {
    "ASAN_OPTIONS": "exitcode=99:detect_leaks=1:strict_string_checks=1:check_initialization_order=1",
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "LSAN_OPTIONS": "exitcode=99",
    "TSAN_OPTIONS": "exitcode=99:second_deadlock_stack=1",
    # Memory that passes from thread to thread does so by malloc(), which sanitizers see.
    "G_SLICE": "always-malloc",
}


def control_program(dmemfsd):
    """The dmemfsctl that was built together with this dmemfsd."""
    return os.environ.get("DMEMFSCTL") or str(Path(dmemfsd).parent / "dmemfsctl" / "dmemfsctl")


class DaemonError(AssertionError):
    """The daemon did what it must never do: it hung, died, logged an unexpected warning, or did not unmount."""


class Daemon:
    """
    @work: directory of the test; holds mnt/, state/, dmemfsd.conf and dmemfsd.log. @settings: keys of [daemon];
    @groups: further groups, as text.
    """

    def __init__(self, program, work, settings, groups="", ready_timeout=START_TIMEOUT):
        self.program = str(program)
        self.work = Path(work)
        self.mountpoint = self.work / "mnt"
        self.state_dir = self.work / "state"
        self.config = self.work / "dmemfsd.conf"
        self.log_file = self.work / "dmemfsd.log"
        self.groups = groups
        self.expected = []  # patterns of complaints that the test expects
        self.options = []  # more of the command line
        self.process = None
        self.ended_by_test = False  # told to stop, or killed, by the test itself
        self.manager = Manager()
        self._ready_timeout = ready_timeout
        self.mountpoint.mkdir(exist_ok=True)
        self.state_dir.mkdir(exist_ok=True)
        keys = {"mountpoint": self.mountpoint, "state-dir": self.state_dir, **settings}
        self.config.write_text("[daemon]\n" + "".join(f"{key}={value}\n" for key, value in keys.items()) + groups)

    def command(self, *options):
        return [self.program, "--config", str(self.config), *options]

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def environment(self, **more):
        return {**SANITIZERS, **os.environ, **more}

    def set_regions(self, groups):
        """For the next start: @groups, of the configuration, say how much memory there is, and not size=."""
        keys = "".join(line for line in self.config.read_text().splitlines(True) if not line.startswith("size="))
        self.config.write_text(f"{keys}\n{groups}")

    def restart_with(self, groups):
        """The running daemon is followed by one with these regions."""
        self.stop()
        self.set_regions(groups)
        self.start()

    def start(self, **environment):
        """
        Returns when the daemon has sent READY, and the mount answers. @environment: more variables for the
        daemon.
        """
        assert self.process is None
        self.ended_by_test = False
        with open(self.log_file, "ab") as log:
            self.process = self.manager.spawn(
                self.command("--foreground", *self.options), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, cwd="/", env=self.environment(**environment))
        self.wait_ready()
        return self

    def wait_ready(self):
        deadline = time.monotonic() + self._ready_timeout
        while time.monotonic() < deadline:
            if self.manager.wait_for("READY=1", 0.1):
                return
            if self.process.poll() is not None:
                raise DaemonError(f"dmemfsd ended with status {self.process.returncode} before READY:\n{self.log}")
        stacks = stacks_of(self.pid)
        self.kill()
        raise DaemonError(f"dmemfsd has not said READY in {self._ready_timeout} s:\n{self.log}\n{stacks}")

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    @property
    def mounted(self):
        return str(self.mountpoint) in mounts_under(self.mountpoint)

    def unmount(self):
        """Runs fusermount3 -u. Returns its output when it fails, else None."""
        done = subprocess.run(["fusermount3", "-u", str(self.mountpoint)], capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else done.stderr.strip()

    def unmount_soon(self):
        """The same, but tries again for a while: the kernel may not have closed the files of killed processes yet."""
        deadline = time.monotonic() + RELEASE_TIMEOUT
        while refusal := self.unmount():
            holders = holders_of(str(self.mountpoint))
            if holders != NO_HOLDERS or time.monotonic() > deadline:
                return f"{refusal}; the mount is held by:\n{holders}"
            time.sleep(0.05)
        return None

    def wait(self, timeout=STOP_TIMEOUT):
        """The exit status of the daemon, after the test has told it to stop."""
        self.ended_by_test = True
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            stacks = stacks_of(self.pid)
            self.kill()
            raise DaemonError(f"dmemfsd is still there {timeout} s after it was told to stop:\n{stacks}") from None

    def stop(self):
        """Unmounts. The daemon must then end with status 0 and an expected log."""
        problems = []
        if self.running:
            if self.mounted and (refusal := self.unmount_soon()):
                problems.append(f"fusermount3 -u: {refusal}")
                self.kill()
            else:
                self.wait()
            if self.process.returncode != 0:
                problems.append(f"dmemfsd ended with status {self.process.returncode}")
        elif not self.ended_by_test:
            problems.append(f"dmemfsd ended before it was told to, with status {self.process.returncode}")
        problems += self.complaints()
        self.process = None
        self.manager.drop()
        if problems:
            raise DaemonError("\n".join(problems))

    def complaints(self):
        """The lines of the log that the test does not expect."""
        lines = [line for line in self.log.splitlines() if COMPLAINT.search(line)]
        found = [f"in the log: {line}" for line in lines
                 if not any(re.search(pattern, line) for pattern in self.expected)]
        found += [f"not in the log: {pattern}" for pattern in self.expected if not re.search(pattern, self.log)]
        return found

    def check_record(self):
        """Runs dmemfsctl fsck after the daemon has ended: its record must be consistent."""
        if not (self.state_dir / "metadata.db").exists():
            return
        program = os.environ.get("DMEMFS_FSCK") or control_program(self.program)
        done = subprocess.run([program, "fsck", str(self.state_dir)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, env=self.environment(), timeout=STOP_TIMEOUT, check=False)
        if done.returncode != 0:
            raise DaemonError(f"dmemfsctl fsck: exit status {done.returncode}:\n{done.stdout}{done.stderr}")

    def kill(self):
        """Kills the whole process group. The mount stays, and is stale."""
        self.ended_by_test = True
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
            self.process.wait()

    def next(self, **environment):
        """Starts the next daemon after this one has died or stopped. A dead mount is removed first."""
        if self.process is not None:
            self.process.wait(STOP_TIMEOUT)
        self.manager.drop()
        lazy_unmount(self.mountpoint)
        self.process = None
        return self.start(**environment)

    def take_over(self, **environment):
        """Starts the next daemon after this one has died or stopped, with the connection that the manager kept."""
        self.process.wait(STOP_TIMEOUT)
        self.process = None
        return self.start(**environment)

    @contextmanager
    def frozen(self):
        """Within the block the daemon is stopped (SIGSTOP): what works there works without it."""
        freeze(self.pid)
        try:
            yield
            assert state_of(self.pid) == "T"
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def write_reproduction(self, test_id):
        """Writes a script that repeats the test, with a line that starts its daemon alone, for a debugger."""
        script = self.work / "reproduce.sh"
        kept = {name: value for name, value in os.environ.items() if name.startswith("DMEMFS")}
        kept.update({name: self.environment()[name] for name in SANITIZERS})
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(kept.items()))
        tests = Path(__file__).parents[1]
        alone = shlex.join(["mkdir", "-p", str(self.mountpoint), str(self.state_dir)])
        script.write_text(
            f"#!/bin/sh\n# Runs again: {test_id}\n"
            f"# Its daemon alone: {alone} && {shlex.join(self.command('--foreground'))}\n"
            f"{exports}cd {shlex.quote(str(tests))} && exec /usr/bin/python3 -m pytest {shlex.quote(test_id)}\n")
        script.chmod(0o755)
        return script
