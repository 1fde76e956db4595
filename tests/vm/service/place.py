# SPDX-License-Identifier: GPL-2.0-or-later
"""The mount of an installed service, and its users."""

import os
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

from helpers.children import Child
from helpers.clients import Client
from helpers.processes import mounts_under
from helpers.syscalls import Mapping, opened

PFN = os.environ.get("DMEMFS_BACKEND") == "pfn"
ROOT = Path("/mnt/dmemfs")
CONFIG = Path("/etc/dmemfs/dmemfsd.conf")
SETTINGS = "backend=pfn\npage-size=2M\n[region all]\nstart=auto\n" if PFN else "backend=memory\nsize=1G\n"
CLIENTS = 3


class Place:
    """The mount as helpers.clients needs it."""

    unit = 2 << 20

    def __truediv__(self, name):
        return ROOT / name


def use_module():
    """Puts the module where modprobe@dmemfs.service, which the unit wants, finds it."""
    if PFN:
        Path("/etc/modprobe.d").mkdir(exist_ok=True)
        Path("/etc/modprobe.d/dmemfs-test.conf").write_text(f"install dmemfs insmod {os.environ['DMEMFS_MODULE']}\n")
        subprocess.run(["udevadm", "control", "--reload"], check=True)


def write_config():
    CONFIG.write_text(f"[daemon]\nmountpoint={ROOT}\n{SETTINGS}")


def device():
    """The device number of the mount, read without a request to it. None: not mounted."""
    return mounts_under(ROOT).get(str(ROOT))


@contextmanager
def load(record_property=None):
    """Clients work during the block, and half a second before and after. None may see an error."""
    clients = [Client(Place(), number) for number in range(CLIENTS)]
    time.sleep(0.5)
    yield
    time.sleep(0.5)
    results = [client.finish() for client in clients]
    assert sum(result.operations for result in results) > 0
    if record_property:
        longest = max((end - start for result in results for start, end in result.slow), default=0)
        record_property("pause", f"{longest * 1000:.0f} ms")


@contextmanager
def guest(name):
    """A process that maps a file, and at the end still finds what it wrote."""
    path = ROOT / name
    with opened(path, os.O_RDWR | os.O_CREAT) as fd:
        os.ftruncate(fd, Place.unit)

    def run(pipe):
        with opened(path) as fd:
            mapping = Mapping(fd, Place.unit)
        mapping.write(0, b"before")
        pipe.send("mapped")
        pipe.recv()
        assert mapping.read(0, 6) == b"before"
        mapping.write(0, b"after ")

    with Child(run, with_pipe=True) as child:
        child.receive()
        yield path
        child.pipe.send("end")
        child.wait()
