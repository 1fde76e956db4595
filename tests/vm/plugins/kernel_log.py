# SPDX-License-Identifier: GPL-2.0-or-later
"""
Fails a test during which the kernel logs a warning, or worse, that the test does not expect.
@pytest.mark.kernel_log("regular expression") on a test says what the kernel must log.
"""

import os
import re
from contextlib import suppress

import pytest

WARNING, DEBUG = 4, 7  # <linux/kern_levels.h>; less is worse
# Whatever level these come at. Some parts of a report have no level of their own.
COMPLAINT = re.compile(r"BUG:|WARNING:|Oops|general protection fault|possible circular locking|"
                       r"suspicious RCU usage|Bad page|bad pmd|Call Trace:|refcount_t:|list_(add|del) corruption")
# An emulated machine is slow, and its clock not steady, and it says so; a guest's kernel tries registers that KVM does not have; the
# laboratory's IOMMU does not remap interrupts, and VFIO is told to take it.
HARMLESS = re.compile(r"hrtimer: interrupt took|perf: interrupt took too long|"
                      r"NMI handler .* took too long|clocksource: |workqueue: .* hogged CPU|sched: DL replenish lagged too much|"
                      r"kvm.* Unhandled (RD|WR)MSR|kvm: user requested TSC rate below hardware speed|"
                      r"MSI interrupts are not secure, they cannot be isolated by the platform|ftrace_enabled file is deprecated|"
                      r"loading out-of-tree module taints kernel|module verification failed")


def parse(record):
    """
    (level, text) of a record of /dev/kmsg, see dev-kmsg in the kernel's Documentation/ABI/testing. The flag "c" marks a piece that
    continues a line: the level of the line is in its first piece, that of the others says nothing.
    """
    head, _, text = record.partition(";")
    prefix, _, _, flags = head.split(",")[:4]
    return DEBUG if flags == "c" else int(prefix) & 7, text.split("\n")[0]


class KernelLog:
    """Reads /dev/kmsg from where the last read ended."""

    def __init__(self):
        self._fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(self._fd, 0, os.SEEK_END)

    def _records(self):
        while True:
            try:
                record = os.read(self._fd, 8192)
            except BlockingIOError:
                return
            except BrokenPipeError:  # records were overwritten before they were read
                yield WARNING, "the kernel's log overflowed: lines are lost"
                continue
            yield parse(record.decode(errors="replace"))

    def read(self):
        """(level, text) of each record since the last read."""
        return list(self._records())


def is_complaint(level, text):
    """Whether a record reports a problem."""
    return bool(COMPLAINT.search(text) or (level <= WARNING and not HARMLESS.search(text)))


@pytest.fixture(scope="session")
def kernel_log():
    return KernelLog()


@pytest.fixture(autouse=True)
def kernel_log_guard(request, kernel_log):
    """Runs around each test."""
    with suppress(OSError), open("/dev/kmsg", "w", encoding="utf-8") as kmsg:
        kmsg.write(f"<6>test: {request.node.nodeid}\n")
    kernel_log.read()
    yield
    expected = [marker.args[0] for marker in request.node.iter_markers("kernel_log")]
    records = kernel_log.read()
    complaints = [text for level, text in records
                  if is_complaint(level, text) and not any(re.search(pattern, text) for pattern in expected)]
    if complaints:
        pytest.fail("the kernel complained: " + "\n  ".join(complaints), pytrace=False)
    for pattern in expected:
        if not any(re.search(pattern, text) for _, text in records):
            pytest.fail(f"the kernel did not log what this test expects: {pattern}", pytrace=False)


def pytest_configure(config):
    config.addinivalue_line("markers", "kernel_log(pattern): what the kernel must log; other warnings fail the test")
