#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What happens in the VM of ../lab/test_kexec.py, one phase for each boot. A disk outlives the boots: it has the daemon's
state directory, QEMU's state and what the next phase must know. Prints one JSON object for each phase.
"""

import hashlib
import json
import os
import random
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from helpers.accounting import read_extents, read_stats
from helpers.daemon import Daemon
from helpers.mount import wait_until
from kexec.guest import Guest
from kvm_patches import kvm_patched
from memory_errors import inject

DISK = Path("/run/disk")
WORK = Path("/run/kexec-test")
FILES = 100
GUEST_SIZE = 512 << 20
SECRET_SIZE = 64 << 20


class Machine:
    """This boot: the module, the daemon, and the way to the next kernel."""

    def __init__(self):
        WORK.mkdir()
        DISK.mkdir()
        for module in ("virtio_blk", "ext4"):
            subprocess.run(["modprobe", module], check=True)
        subprocess.run(["mount", "/dev/vda", DISK], check=True)
        # The file that holds the state of a test's daemon lies in its work directory: here on the disk.
        (DISK / "state").mkdir(exist_ok=True)
        (WORK / "state").symlink_to(DISK / "state")
        self.daemon = None
        self.outage = None

    def start(self, *expected, zero_in_advance="false"):
        """Loads the module and starts the daemon. outage gets the time of each, which dmemfs adds to an outage."""
        os.chmod(DISK / "state", 0o700)
        self.daemon = Daemon(os.environ["DMEMFSD"], WORK, {"backend": "pfn", "page-size": "2M",
                                                            "state-dir": DISK / "state",
                                                            "zero-in-advance": zero_in_advance},
                             "\n[region all]\nstart=auto\nsize=auto\npages=none\n", ready_timeout=120)
        self.daemon.expected += expected
        started = time.monotonic()
        subprocess.run(["insmod", os.environ["DMEMFS_MODULE"]], check=True)
        loaded = time.monotonic()
        self.daemon.start()
        ready = time.monotonic()
        self.outage = {"module_ms": round((loaded - started) * 1000), "daemon_ms": round((ready - loaded) * 1000)}

    @property
    def root(self):
        return self.daemon.mountpoint

    def prepare(self):
        """The argument for the next kernel."""
        return control("prepare-kexec", DISK / "state").strip()

    def clean(self):
        """Bytes."""
        return read_stats(self.root)["clean_bytes"]

    def poisoned(self):
        return read_stats(self.root)["poisoned_bytes"]

    def kexec(self, *arguments, without=()):
        """Starts another kernel with this one's command line, without the arguments that begin with one of @without."""
        line = [word for word in Path("/proc/cmdline").read_text().split() if not word.startswith(tuple(without))]
        subprocess.run(["kexec", "-s", "-l", os.environ["DMEMFS_GUEST_KERNEL"],
                        f"--initrd={os.environ['DMEMFS_LAB_INITRAMFS']}", f"--command-line={' '.join((*line, *arguments))}"],
                       check=True)
        self.close()
        subprocess.run(["kexec", "-e"], check=True)

    def close(self):
        os.sync()
        subprocess.run(["umount", DISK], check=True)


def control(*arguments):
    """The output of dmemfsctl."""
    program = Path(os.environ["DMEMFSD"]).parent / "dmemfsctl" / "dmemfsctl"
    return subprocess.run([program, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout


def leave_a_secret(root):
    """Writes bytes to memory that is free afterwards, and most likely dirty."""
    (root / "secret").write_bytes(b"\xc3" * SECRET_SIZE)
    (root / "secret").unlink()


def find_secrets(root):
    """The number of MiB, of all memory that a file can get, that are not zero."""
    path = root / "scanner"
    path.touch()
    os.truncate(path, os.statvfs(root).f_bavail * os.statvfs(root).f_frsize)
    with open(path, "rb", buffering=0) as file:
        found = sum(1 for part in iter(lambda: file.read(1 << 20), b"") if part.count(0) != len(part))
    path.unlink()
    return found


def spoil_last_page(machine):
    start, length = map(int, os.getxattr(machine.root, "dmemfs.regions").splitlines()[-1].split()[:2])
    inject(start + length - 4096)
    wait_until(lambda: machine.poisoned() == 4096, "the daemon knows of the error")


def write_files(root, seed):
    """Makes FILES files. Returns their checksums by name."""
    rng = random.Random(seed)
    sums = {}
    for number in range(FILES):
        contents = rng.randbytes(rng.randrange(1, 200_000))
        (root / f"file{number}").write_bytes(contents)
        sums[f"file{number}"] = hashlib.sha256(contents).hexdigest()
    return sums


def read_files(root, names):
    return {name: hashlib.sha256((root / name).read_bytes()).hexdigest() for name in names}


def zeroed(root, names):
    return all(not (root / name).read_bytes().strip(b"\0") for name in names)


def first(machine):
    """Boot by the firmware: makes files and a guest, and saves the guest without its RAM."""
    machine.start("memory error at 0x[0-9a-f]+: 4 KiB that no file has", zero_in_advance="true")
    spoil_last_page(machine)
    sums = write_files(machine.root, 1)
    guest = Guest(WORK, machine.root / "vm1", GUEST_SIZE, DISK / "guest")
    with kvm_patched():
        guest.start()
        last = guest.wait_for_counts(5)
        saved = guest.save()
    control("wait-clean", "--timeout", "300", machine.root)
    clean = machine.clean()
    leave_a_secret(machine.root)
    machine.daemon.stop()
    (DISK / "known.json").write_text(json.dumps({"sums": sums, "guest": last}))
    argument = machine.prepare()
    report("first", files=FILES, guest_counts=last["count"], guest_state_bytes=saved, clean=clean)
    machine.kexec(argument)


def second(machine):
    """After the prepared kexec: all files are there, and the guest goes on."""
    known = json.loads((DISK / "known.json").read_text())
    machine.start()
    kept = "the contents were kept through a kexec" in machine.daemon.log
    clean, poisoned = machine.clean(), machine.poisoned()
    same = read_files(machine.root, known["sums"]) == known["sums"]
    guest = Guest(WORK, machine.root / "vm1", GUEST_SIZE, DISK / "guest")
    with kvm_patched():
        guest.start(incoming=True)
        now = guest.wait_for_counts(5)
        guest.end()
    secrets = find_secrets(machine.root)
    machine.daemon.stop()
    report("second", kept=kept, clean=clean, poisoned=poisoned, secrets=secrets, files_same=same, outage=machine.outage,
           before=known["guest"], guest_first=guest.first, guest_last=now)
    machine.kexec(without=["dmemfs_kexec="])  # not prepared


def third(machine):
    """After a kexec without preparation; then a kexec with half of the reserved memory, in which the files do not lie."""
    known = json.loads((DISK / "known.json").read_text())
    machine.start("the contents are lost: no dmemfsctl prepare-kexec")
    clean = machine.clean()
    lost = zeroed(machine.root, known["sums"])
    write_files(machine.root, 3)
    poisoned = machine.poisoned()
    used = read_extents(machine.root / "file0")[0].start
    machine.daemon.stop()
    argument = machine.prepare()
    report("third", lost=lost, clean=clean, poisoned=poisoned)
    size, start = re.search(r"memmap=(\d+)\$(0x[0-9a-f]+)", Path("/proc/cmdline").read_text()).groups()
    start, half = int(start, 0), int(size) // 2
    other = start if used >= start + half else start + half
    machine.kexec(argument, f"memmap={half}${other:#x}", without=["memmap=", "dmemfs_kexec="])


def fourth(machine):
    """Prepared, but another range is reserved."""
    known = json.loads((DISK / "known.json").read_text())
    machine.start("the contents are lost: prepared for a kexec, but a region has changed", "is empty now|keep their names")
    clean = machine.clean()
    lost = zeroed(machine.root, known["sums"])
    write_files(machine.root, 4)
    machine.daemon.stop()
    argument = machine.prepare()
    report("fourth", lost=lost, clean=clean, argument=argument)
    machine.close()


def fifth(machine):
    """Prepared, and with the right argument, but the machine was switched off: test_kexec.py boots it anew."""
    known = json.loads((DISK / "known.json").read_text())
    machine.start("the contents are lost: prepared for a kexec, but this kernel was started by the firmware")
    report("fifth", lost=zeroed(machine.root, known["sums"]), clean=machine.clean())
    machine.daemon.stop()
    machine.close()


PHASES = (first, second, third, fourth, fifth)


def report(phase, **facts):
    print(json.dumps({"phase": phase, **facts}), flush=True)


def main():
    machine = Machine()
    count = DISK / "phase"
    number = int(count.read_text()) if count.exists() else 0
    count.write_text(str(number + 1))
    os.sync()
    PHASES[number](machine)


main()
