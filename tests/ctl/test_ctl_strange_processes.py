# SPDX-License-Identifier: GPL-2.0-or-later
"""doctor and ls, as root, with processes and files that someone without privilege made to trouble or mislead them."""

import resource
import subprocess
import sys
from contextlib import contextmanager

import pytest

from helpers.backends import GIB

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.memory_only("processes: the backend makes no difference")]

PREPARE = """
import ctypes, mmap, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
def place(address, length, flags, fd=-1):
    at = libc.mmap(ctypes.c_void_p(address), ctypes.c_size_t(length), 3, flags, fd, ctypes.c_long(0))
    assert at != ctypes.c_void_p(-1).value
    return at
SHARED, PRIVATE, FIXED, ANONYMOUS, NORESERVE = 0x1, 0x2, 0x10, 0x20, 0x4000
fd = os.open(sys.argv[1], os.O_RDWR)
"""
# The same page of the file again and again, so that the kernel cannot merge the mappings, all bound to node 0.
MANY = PREPARE + """
COUNT = 60000
at = place(0, COUNT * 4096, PRIVATE | ANONYMOUS | NORESERVE)
for i in range(COUNT):
    place(at + i * 4096, 4096, SHARED | FIXED, fd)
nodes = ctypes.c_ulong(1)
assert libc.syscall(237, ctypes.c_void_p(at), ctypes.c_ulong(COUNT * 4096), 2, ctypes.byref(nodes), 64, 0) == 0
"""


@contextmanager
def process(code, *arguments):
    with subprocess.Popen([sys.executable, "-c", code + "\nprint(flush=True)\nsys.stdin.read()", *map(str, arguments)],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        try:
            assert child.stdout.readline() == b"\n"
            yield child.pid
        finally:
            child.kill()


@pytest.fixture
def far(daemon, fs):
    """The mount, whose memory is on a node that the machine does not have, so that policies are read."""
    daemon.stop()
    text = "".join(line for line in daemon.config.read_text().splitlines(True) if not line.startswith("size="))
    daemon.config.write_text(f"{text}\n[region far]\nstart={4 * GIB}\nsize={fs.capacity}\nnode=9\n")
    daemon.start()
    return fs


def limits(seconds, memory):
    def apply():
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    return apply


def test_process_with_very_many_mappings(ctl, far):
    path = far.make_file("vm1", size=far.unit)
    with process(MANY, path) as pid:
        (file,) = ctl.json("ls", far.root, preexec_fn=limits(10, GIB))["files"]
    (user,) = file["mapped_by"]
    assert (user["pid"], user["mapped_bytes"], user["unmet_nodes"]) == (pid, 60000 * 4096, "9")
