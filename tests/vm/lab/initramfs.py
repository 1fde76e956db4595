# SPDX-License-Identifier: GPL-2.0-or-later
"""
Makes the initramfs: busybox, the modules that reach the host's root, the laboratory's own scripts, the command to run.
It is written directly, a cpio archive in the "newc" format (Linux, Documentation/driver-api/early-userspace).
"""

import lzma
import shutil
import stat
import subprocess
from pathlib import Path

GUEST = Path(__file__).parents[1] / "guest"
MODULES = ("9pnet_virtio", "9p", "overlay")
DISK_MODULES = ("virtio_blk", "crc32c_generic", "ext4")


class Archive:
    """A cpio archive, in memory."""

    def __init__(self):
        self._bytes = bytearray()
        self._inode = 0
        self._directories = {""}

    def _append(self, name, mode, content=b""):
        self._inode += 1
        fields = (self._inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        self._bytes += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        self._pad()
        self._bytes += content
        self._pad()

    def _pad(self):
        self._bytes += bytes(-len(self._bytes) % 4)

    def add_directory(self, name):
        if name not in self._directories:
            self.add_directory(name.rpartition("/")[0])
            self._directories.add(name)
            self._append(name, stat.S_IFDIR | 0o755)

    def add_file(self, name, content, mode=0o644):
        self.add_directory(name.rpartition("/")[0])
        self._append(name, stat.S_IFREG | mode, content)

    def close(self):
        """The archive's bytes."""
        self._append("TRAILER!!!", 0)
        return bytes(self._bytes)


def read_module(path):
    """An uncompressed module: busybox cannot ask the kernel to decompress one."""
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    if path.suffix == ".zst":
        return subprocess.run(["zstd", "-dcq", path], check=True, stdout=subprocess.PIPE).stdout
    return path.read_bytes()


def dependencies(kernel, wanted):
    """Files of the modules @wanted and of what they need, in the order to load them. Built-in ones are left out."""
    needs = {}
    for line in (kernel.modules / "modules.dep").read_text().splitlines():
        module, _, rest = line.partition(":")
        needs[module] = rest.split()
    by_name = {Path(module).name.partition(".")[0].replace("-", "_"): module for module in needs}
    order = []
    for name in wanted:
        if name in by_name:
            # modules.dep lists what is needed in the reverse of the order to load.
            order += [*reversed(needs[by_name[name]]), by_name[name]]
    return [kernel.modules / module for module in dict.fromkeys(order)]


def build(kernel, settings):
    """
    The bytes of an initramfs for @kernel. @settings: text by file name, for /lab in the initramfs, later /run/lab.
    """
    busybox = shutil.which("busybox")
    if not busybox:
        raise FileNotFoundError("busybox is missing: tests/setup/deps vm")
    archive = Archive()
    archive.add_file("bin/busybox", Path(busybox).read_bytes(), 0o755)
    for directory in ("dev", "proc", "sys", "host", "overlay", "root", "whole"):
        archive.add_directory(directory)
    archive.add_file("init", (GUEST / "init").read_bytes(), 0o755)
    wanted = (*MODULES, *DISK_MODULES) if "disk" in settings else MODULES
    for number, module in enumerate(dependencies(kernel, wanted)):
        archive.add_file(f"modules/{number:02}-{module.name.partition('.')[0]}.ko", read_module(module))
    archive.add_file("lab/main", (GUEST / "main").read_bytes(), 0o755)
    for name, text in settings.items():
        archive.add_file(f"lab/{name}", text.encode())
    return archive.close()
