# SPDX-License-Identifier: GPL-2.0-or-later
"""The VM as a host of libvirt: its daemon, virsh, and the files that are the memory of its guests."""

import os
import re
import subprocess
from contextlib import contextmanager
from pathlib import Path

from helpers.counting import TIMEOUT
from helpers.mount import wait_until

ALIGNED = Path(__file__).parents[2] / "configs" / "qemu-aligned"
SOCKET = Path("/run/libvirt/libvirt-sock")
URI = f"qemu:///system?socket={SOCKET}"
# As Debian's, but for what a VM without services has not got.
SETTINGS = """security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
"""


def add_user():
    """Adds the user that runs guests, which Debian's package makes, unless it exists. It exists in the VM only."""
    with open("/etc/passwd", "r+", encoding="ascii") as users, open("/etc/group", "r+", encoding="ascii") as groups:
        if "\nlibvirt-qemu:" not in users.read():
            users.write("libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin\n")
        if "\nlibvirt-qemu:" not in groups.read():
            groups.write("libvirt-qemu:x:64055:\n")


@contextmanager
def started(work, settings):
    """libvirt's daemon as a process, with @settings in qemu.conf. It need not succeed."""
    add_user()
    Path("/etc/libvirt").mkdir(exist_ok=True)
    Path("/etc/libvirt/qemu.conf").write_text(f"{settings}\n{SETTINGS}")
    with open(work / "libvirtd.log", "wb") as output:
        daemon = subprocess.Popen(["libvirtd"], stdout=output, stderr=output,
                                  env={**os.environ, "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"})
    try:
        yield daemon
    finally:
        daemon.terminate()
        daemon.wait(TIMEOUT * 3)


@contextmanager
def running(work, settings):
    """The same, when it answers."""
    with started(work, settings):
        wait_until(SOCKET.exists, "libvirtd listens", TIMEOUT * 3)
        yield


def attempt(*arguments):
    """Runs virsh. It need not succeed."""
    return subprocess.run(["virsh", "-q", "-c", URI, *map(str, arguments)], capture_output=True, text=True,
                          timeout=TIMEOUT * 3, check=False)


def virsh(*arguments):
    done = attempt(*arguments)
    assert done.returncode == 0, f"virsh {arguments}: {done.stderr}"
    return done.stdout


def refused(*arguments):
    """What virsh says. It must fail."""
    done = attempt(*arguments)
    assert done.returncode != 0, f"virsh {arguments}: {done.stdout}"
    return done.stderr


def files_of(directory):
    """The memory of all guests."""
    return [Path(where) / name for where, _, names in os.walk(directory) for name in names]


def memory_of(directory):
    """The memory of the only guest."""
    (found,) = files_of(directory)
    return found


def faults(path, size):
    """How often memory of the file was mapped with a page of this size: "4K", "2M" or "1G"."""
    return int(re.search(rf"^{size} (\d+)$", os.getxattr(path, "dmemfs.faults").decode(), re.MULTILINE)[1])
