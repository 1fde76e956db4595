# SPDX-License-Identifier: GPL-2.0-or-later
"""
Runs functions of a test in processes of their own: as another user, to be killed by a signal, or to outlive the daemon.
A child that hangs is killed with its test, see watchdog.py.
"""

import multiprocessing
import os
import signal
import sys
import time
import traceback

CHILD_TIMEOUT = max(30, 5 * float(os.environ.get("DMEMFS_TEST_SCALE", "1")))


class ChildError(AssertionError):
    """The child's assertion or exception, with the child's traceback."""


class Child:
    """
    Runs function(*arguments) in a forked process. A function that takes `pipe` as its first argument (with_pipe) talks
    to the test through it; the test's end is `child.pipe`.
    """

    def __init__(self, function, *arguments, uid=None, gid=None, groups=(), with_pipe=False):
        self._result, result = multiprocessing.Pipe(duplex=False)
        self.pipe, pipe = multiprocessing.Pipe()
        self.status = None
        self.pid = os.fork()
        if self.pid == 0:
            self._result.close()
            self.pipe.close()
            self._run(function, ((pipe,) if with_pipe else ()) + arguments, (uid, gid, groups), result)
        result.close()
        pipe.close()

    @staticmethod
    def _run(function, arguments, identity, result):
        uid, gid, groups = identity
        code = 1
        try:
            # Faults are part of some tests: the kernel's default answers them, with no core and no Python traceback.
            for number in (signal.SIGBUS, signal.SIGSEGV, signal.SIGINT, signal.SIGALRM, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            if uid is not None:
                os.setgroups(list(groups))
                os.setgid(uid if gid is None else gid)
                os.setuid(uid)
            result.send((True, function(*arguments)))
            code = 0
        except OSError as error:
            result.send((False, error))
        except BaseException:  # the parent shows it
            result.send((False, ChildError("in the child:\n" + traceback.format_exc())))
        finally:
            sys.stdout.flush()
            os._exit(code)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.kill()

    def kill(self):
        if self.status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._reap(CHILD_TIMEOUT)
        self.pipe.close()
        self._result.close()

    def receive(self, timeout=CHILD_TIMEOUT):
        """What the child sent through its pipe. If it died instead, its error is raised."""
        if self.pipe.poll(timeout):
            try:
                return self.pipe.recv()
            except EOFError:
                self.wait()
                raise ChildError("the child ended before it answered") from None
        raise ChildError(f"the child has not answered in {timeout} s")

    def _reap(self, timeout):
        deadline = time.monotonic() + timeout
        while self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise ChildError(f"process {self.pid} does not end in {timeout} s")
            else:
                time.sleep(0.001)

    def wait_status(self, timeout=CHILD_TIMEOUT):
        """The exit status; -N when signal N ended it."""
        self._reap(timeout)
        return self.status

    def wait(self, timeout=CHILD_TIMEOUT):
        """The function's result. If it raised an exception, that is raised here."""
        answer = None
        try:
            if self._result.poll(timeout):
                answer = self._result.recv()
        except EOFError:
            pass  # died of a signal
        self._reap(timeout)
        self.pipe.close()
        self._result.close()
        if answer is None:
            raise ChildError(f"the child ended with status {self.status} and no result")
        good, value = answer
        if not good:
            raise value
        return value


def in_child(function, *arguments, timeout=CHILD_TIMEOUT, **identity):
    """The result of function(*arguments) in a process of its own."""
    with_child = Child(function, *arguments, **identity)
    try:
        return with_child.wait(timeout)
    finally:
        with_child.kill()


def death_of(function, *arguments):
    """The signal that kills a process which runs function(*arguments), or None when no signal does."""
    with Child(function, *arguments) as child:
        status = child.wait_status()
    return signal.Signals(-status) if status < 0 else None
