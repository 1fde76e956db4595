# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsctl doctor finds each problem, names its remedy, and reports nothing else."""

import ctypes
import json
import mmap
import os
import re
import shutil

import pytest

from helpers.backends import MIB
from helpers.children import Child
from helpers.control import DONE, FOUND
from helpers.machine import GIB, two_nodes
from helpers.processes import lazy_unmount

THP = "sys/kernel/mm/transparent_hugepage/enabled"


@pytest.fixture
def healthy(ctl, work):
    """A machine that has everything that the pfn backend needs."""
    machine = two_nodes(work / "root")
    version = ctl.text("--version").split()[1]
    machine.write("proc/sys/kernel/osrelease", "6.12.5-amd64\n")
    machine.write("proc/cmdline", "quiet memmap=16G$0x440000000\n")
    machine.iomem((0x100000, 3 * GIB, "System RAM"), (4 * GIB, 17 * GIB, "System RAM"), (17 * GIB, 33 * GIB, "Reserved"),
                  (33 * GIB, 65 * GIB, "System RAM"))
    machine.write("boot/config-6.12.5-amd64", "CONFIG_FUSE_FS=m\nCONFIG_FUSE_PASSTHROUGH=y\n")
    machine.write("lib/modules/6.12.5-amd64/modules.dep", "updates/dkms/dmemfs.ko.xz:\n")
    machine.write("sys/module/dmemfs/version", f"{version}\n")
    machine.write(THP, "always [madvise] never\n")
    machine.write("sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
    for device in ("dmemfs", "fuse", "kvm"):
        machine.write(f"dev/{device}", "")
    machine.write("etc/libvirt/qemu.conf", '#memory_backing_dir = "/var"\nuser = "root"\n'
                                           ' memory_backing_dir = "/mnt/dmemfs/node0"\n')
    machine.write("sys/module/apparmor/parameters/enabled", "N\n")
    return machine


def findings(ctl, machine, status):
    result = ctl.json("doctor", "--root", machine.root, status=status)
    assert result["problems"] == sum(finding["level"] == "problem" for finding in result["findings"])
    assert result["notes"] == sum(finding["level"] == "note" for finding in result["findings"])
    return result["findings"]


def not_ok(found):
    return [finding for finding in found if finding["level"] != "ok"]


def test_healthy_machine(ctl, healthy):
    found = findings(ctl, healthy, DONE)
    assert not_ok(found) == []
    assert [finding["check"] for finding in found] == ["kernel", "fuse", "reserved", "module", "huge-pages", "kvm", "libvirt",
                                                       "apparmor"]
    text = ctl.text("doctor", "--root", healthy.root)
    assert text.endswith("0 problems, 0 notes\n")
    assert "16 GiB at 0x440000000 are reserved, and the kernel does not manage them" in text


def test_one_of_each_is_not_many(ctl, healthy):
    (healthy.root / "dev/kvm").unlink()
    assert ctl.text("doctor", "--root", healthy.root, status=FOUND).endswith("\n1 problem, 0 notes\n")


LEND = {"etc/dmemfs/dmemfsd.conf": "[daemon]\nbackend=pfn\nlend=on\n[region all]\nstart=auto\n"}
BACKING = 'memory_backing_dir = "/mnt/dmemfs"\n'


def linux(version):
    release = f"{version}.0-amd64"
    return {"proc/sys/kernel/osrelease": f"{release}\n", f"boot/config-{release}": "\nCONFIG_FUSE_PASSTHROUGH=y\n",
            f"lib/modules/{release}/modules.dep": "updates/dkms/dmemfs.ko.xz:\n"}



ILLS = {
    "old-kernel": ("kernel", "problem", "6.8.12 has no FUSE passthrough", "boot Linux 6.12",
                   {"proc/sys/kernel/osrelease": "6.8.12\n"}),
    "no-passthrough": ("fuse", "problem", "not built in", "CONFIG_FUSE_PASSTHROUGH=y",
                       {"boot/config-6.12.5-amd64": "CONFIG_FUSE_FS=m\n# CONFIG_FUSE_PASSTHROUGH is not set\n"}),
    "no-fuse": ("fuse", "problem", "/dev/fuse does not exist", "modprobe fuse", {"dev/fuse": None}),
    "locked-down": ("lockdown", "problem", "reserved memory cannot be used", "Secure Boot",
                    {"sys/kernel/security/lockdown": "none [integrity] confidentiality\n"}),
    "not-taken": ("reserved", "problem", "uses some of it as System RAM", "quotes the $",
                  {"proc/iomem": "100000000-103fffffff : System RAM\n"}),
    "struct-pages": ("reserved", "problem", "has struct pages", "reboot",
                     {f"sys/devices/system/memory/memory{20 * GIB >> 27}/state": "online\n"}),
    "odd-end": ("reserved", "note", "the next range for pages=2M is start=0x440000000 size=128M", "dmemfsctl plan",
                {"proc/cmdline": "memmap=64M$0x440000000\n"}),
    "not-1g": ("reserved", "note", "the next range for pages=1G is start=0x480000000 size=2048M", "dmemfsctl plan",
               {"proc/cmdline": "memmap=3G$0x448000000\n"}),
    "who-is-not-root": ("reserved", "note", "cannot be read", "run as root", {"proc/iomem": "0-0 : System RAM\n"}),
    "plan-for-grub": ("reserved", "note", "no memory is reserved", "run update-grub, then reboot",
                      {"proc/cmdline": "quiet\n", "etc/default/grub.d/dmemfs.cfg": "#\n"}),
    "plan-for-systemd-boot": ("reserved", "note", "no memory is reserved", "run kernel-install add",
                              {"proc/cmdline": "quiet\n", "etc/kernel/cmdline": "quiet memmap=16G$0x440000000\n"}),
    "not-loaded": ("module", "problem", "is not loaded", "modprobe dmemfs", {"sys/module/dmemfs": None}),
    "not-installed": ("module", "problem", "is not installed for this kernel", "dmemfs-dkms",
                      {"sys/module/dmemfs": None, "lib/modules/6.12.5-amd64/modules.dep": "a.ko:\n"}),
    "other-module": ("module", "problem", "module dmemfs is 0.0.1", "same release", {"sys/module/dmemfs/version": "0.0.1\n"}),
    "no-device": ("module", "problem", "/dev/dmemfs does not exist", "udev", {"dev/dmemfs": None}),
    "small-pages": ("module", "note", "pages of 4 KiB only", "dmesg", {"sys/module/dmemfs/parameters/huge_pages": "N\n"}),
    "large-blocks": ("lending", "problem", "in units of 32 GiB", "set lend=off",
                     {**LEND, "sys/devices/system/memory/block_size_bytes": f"{32 * GIB:x}\n"}),
    "no-blocks": ("lending", "problem", "no memory blocks", "CONFIG_MEMORY_HOTPLUG",
                  {**LEND, "sys/devices/system/memory/block_size_bytes": None}),
    "hugetlb": ("lending", "note", "a pool of 512 huge pages", "hugepages=",
                {**LEND, "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "512\n"}),
    "crash-kernel": ("lending", "note", "a crash kernel is loaded", "loaded again", {**LEND, "sys/kernel/kexec_crash_loaded": "1\n"}),
    "no-huge-pages": ("huge-pages", "problem", '"never"', "echo madvise", {THP: "always madvise [never]\n"}),
    "no-huge-pages-at-all": ("huge-pages", "problem", "no transparent huge pages", "CONFIG_TRANSPARENT_HUGEPAGE",
                             {THP: None}),
    "no-kvm": ("kvm", "problem", "/dev/kvm does not exist", "modprobe kvm_intel", {"dev/kvm": None}),
    "nested-guests": ("kvm", "note", "kvm_intel has nested=1", "options kvm_intel nested=0",
                      {"sys/module/kvm_intel/parameters/nested": "Y\n"}),
    "unsafe-mappings": ("kvm", "note", "kvm_intel has nested=1", "options kvm_intel nested=0",
                        {**linux("7.3"), "sys/module/kvm_intel/parameters/nested": "1\n",
                         "sys/module/kvm/parameters/allow_unsafe_mappings": "Y\n"}),
    "no-libvirt": ("libvirt", "note", "not installed", None, {"etc/libvirt": None}),
    "libvirt-elsewhere": ("libvirt", "problem", "/var/lib is not on dmemfs", "memory_backing_dir =",
                          {"etc/libvirt/qemu.conf": 'memory_backing_dir = "/var/lib"\n'}),
    "libvirt-beside": ("libvirt", "problem", "/mnt/dmemfs2 is not on dmemfs", "memory_backing_dir =",
                       {"etc/libvirt/qemu.conf": 'memory_backing_dir = "/mnt/dmemfs2"\n'}),
    "hugetlbfs-mount": ("libvirt", "problem", "hugetlbfs_mount has /mnt/dmemfs, which is on dmemfs: libvirt ends",
                        "take it out of hugetlbfs_mount",
                        {"etc/libvirt/qemu.conf": f'{BACKING}hugetlbfs_mount = "/mnt/dmemfs"\n'}),
    "hugetlbfs-mounts": ("libvirt", "problem", "hugetlbfs_mount has /mnt/dmemfs/huge, which is on dmemfs",
                         "take it out of hugetlbfs_mount",
                         {"etc/libvirt/qemu.conf": f'{BACKING}hugetlbfs_mount = [\n  "/dev/hugepages",\n'
                                                   '  "/mnt/dmemfs/huge" ]\n'}),
    "libvirt-by-default": ("libvirt", "note", "do not use dmemfs", "memory_backing_dir =",
                           {"etc/libvirt/qemu.conf": '#memory_backing_dir = "/mnt/dmemfs"\n'}),
}


def test_lending(ctl, healthy):
    """What can be lent and what it costs; memory blocks of lent memory are no struct pages that a boot loader left there."""
    assert not any(finding["check"] == "lending" for finding in findings(ctl, healthy, DONE))
    for path, text in {**LEND, "sys/devices/system/memory/auto_online_blocks": "online\n",
                       f"sys/devices/system/memory/memory{20 * GIB >> 27}/state": "online\n"}.items():
        healthy.write(path, text)
    with open(healthy.root / "proc/iomem", "a", encoding="ascii") as iomem:
        iomem.write(f"  {20 * GIB:x}-{21 * GIB - 1:x} : System RAM (dmemfs)\n")
    found = findings(ctl, healthy, DONE)
    assert not_ok(found) == []
    said = " ".join(finding["text"] for finding in found if finding["check"] == "lending")
    assert re.search(r"1 GiB are lent .* 16 units of 1 GiB can be lent.* 256 MiB for .*auto_online_blocks is online", said)
    healthy.write("proc/meminfo", f"MemTotal: {5 * GIB >> 10} kB\n")
    said = " ".join(finding["text"] for finding in findings(ctl, healthy, DONE) if finding["check"] == "lending")
    assert re.search(r"16 units of 1 GiB can be lent.*, 12 of them at a time, .* 3 times .* 192 MiB for ", said)


@pytest.mark.parametrize("files", [{"sys/module/kvm_intel/parameters/nested": "N\n"},
                                   {**linux("7.3"), "sys/module/kvm_intel/parameters/nested": "Y\n",
                                    "sys/module/kvm/parameters/allow_unsafe_mappings": "N\n"}], ids=["off", "refused"])
def test_nested_guests_that_keep_nothing(ctl, healthy, files):
    for path, text in files.items():
        healthy.write(path, text)
    assert not_ok(findings(ctl, healthy, DONE)) == []


def test_nested_guests_of_the_memory_backend_keep_nothing(ctl, healthy):
    healthy.write("sys/module/kvm_intel/parameters/nested", "Y\n")
    healthy.write("proc/cmdline", "quiet\n")
    assert [finding["check"] for finding in not_ok(findings(ctl, healthy, DONE))] == ["reserved"]


def configure(machine, *keys, backend="pfn"):
    machine.write("etc/dmemfs/dmemfsd.conf", f"[daemon]\nmountpoint=/mnt/dmemfs\nstate-dir=/var/lib/dmemfs\nbackend={backend}\n" +
                  "".join(f"{key}\n" for key in keys))


@pytest.mark.parametrize(("version", "pages", "allowed", "first"), [
    ("7.3", "pages=none", "N", "give guests that run guests memory with pages=1G or 2M"), ("7.3", "pages=none", "Y", None),
    ("7.3", "pages=2M", "N", None), ("6.13", "pages=none", "N", "boot Linux 6.12 or 7.3, then give guests that run guests memory"),
    ("6.13", "", "N", "boot Linux 6.12 or 7.3, then give guests that run guests memory"), ("7.3", "", "N", None)])
def test_kvm_that_refuses_guests_of_guests(ctl, healthy, version, pages, allowed, first):
    """The region of the configuration decides. kvm_intel, whose nested guests would be unsafe, is not loaded."""
    for path, text in linux(version).items():
        healthy.write(path, text)
    healthy.write("sys/module/kvm/parameters/allow_unsafe_mappings", f"{allowed}\n")
    configure(healthy, "page-size=2M", "[region r]", "start=auto", pages)
    kvm = [finding for finding in not_ok(findings(ctl, healthy, DONE)) if finding["check"] == "kvm"]
    assert len(kvm) == bool(first)
    assert all(finding["level"] == "note" and "internal error" in finding["text"] and finding["remedy"].startswith(first) and
               "kvm.allow_unsafe_mappings=1" in finding["remedy"] for finding in kvm)


RESERVED = ("[region r]", "start=auto")
TOO_OLD = "reserved memory (backend=pfn) needs Linux 6.12 or later", "boot Linux 6.12 or later"
NO_PAGES = "the module can make pages=1G and 2M on Linux 6.12 and 7.3 only", "boot Linux 6.12 or 7.3, or use pages=none"


@pytest.mark.parametrize(("version", "keys", "level", "says"), [
    ("6.8", RESERVED, "problem", ("no FUSE passthrough", "boot Linux 6.12")), ("6.8", None, "problem", ("", "boot Linux 6.9")),
    ("6.11", RESERVED, "problem", TOO_OLD), ("6.11", (*RESERVED, "pages=none"), "problem", TOO_OLD),
    ("6.11", None, "note", TOO_OLD), ("6.12", (*RESERVED, "pages=2M"), "ok", None),
    ("6.13", (*RESERVED, "pages=2M"), "problem", ("[region r] has pages=2M", NO_PAGES[1])),
    ("7.2", (*RESERVED, "pages=1G"), "problem", NO_PAGES), ("7.2", RESERVED, "note", NO_PAGES), ("6.13", None, "note", NO_PAGES),
    ("6.13", (*RESERVED, "pages=none"), "ok", None), ("7.3", (*RESERVED, "pages=1G"), "ok", None), ("7.3", None, "ok", None),
    ("7.4", (*RESERVED, "pages=1G"), "problem", NO_PAGES)])
def test_kernels_that_lack_something_for_reserved_memory(ctl, healthy, version, keys, level, says):
    """Also before anything is configured (None) or reserved. Nobody needs it for ordinary memory."""
    for path, text in linux(version).items():
        healthy.write(path, text)
    if keys:
        configure(healthy, *keys)
    else:
        healthy.write("proc/cmdline", "quiet\n")

    def kernel():
        found = json.loads(ctl.run("doctor", "--json", "--root", healthy.root).stdout)["findings"]
        return next(finding for finding in found if finding["check"] == "kernel")

    found = kernel()
    assert found["level"] == level
    assert level == "ok" or says[0] in found["text"] and found["remedy"].startswith(says[1])
    if version != "6.8":
        configure(healthy, "size=4G", backend="memory")
        assert kernel()["level"] == "ok"


@pytest.mark.parametrize("setting", ['hugetlbfs_mount = "/dev/hugepages"', '#hugetlbfs_mount = "/mnt/dmemfs"',
                                     'hugetlbfs_mount = ["/dev/hugepages2M", "/dev/hugepages1G"]'])
def test_hugetlbfs_that_is_elsewhere(ctl, healthy, setting):
    healthy.write("etc/libvirt/qemu.conf", f"{BACKING}{setting}\n")
    assert not_ok(findings(ctl, healthy, DONE)) == []


@pytest.mark.parametrize(("pages", "memmap", "level", "says"), [
    ("1G", "3G$0x448000000", "note", "is not aligned to 1 GiB: the pages do not fit at its ends; the next range for pages=1G is "
                                     "start=0x480000000 size=2048M"),
    ("1G", "512M$0x448000000", "problem", "a whole multiple of 1024 MiB, as pages=1G and page-size need: reserve "
                                          "memmap=1G$0x480000000"),
    ("2M", "3G$0x448000000", "ok", "3 GiB at 0x448000000 are reserved"),
    ("2M", "3G$0x444000000", "note", "the next range for pages=2M is start=0x448000000 size=2944M"),
    ("2M", "64M$0x440000000", "problem", "as pages=2M and page-size need: reserve memmap=128M$0x440000000"),
    ("none", "3G$0x448000000", "ok", "3 GiB at 0x448000000 are reserved"),
])
def test_ranges_fit_the_pages_of_the_region(ctl, healthy, pages, memmap, level, says):
    page_size = "1G" if pages == "1G" else "2M"
    healthy.write("etc/dmemfs/dmemfsd.conf", f"[daemon]\nmountpoint=/mnt/dmemfs\nstate-dir=/var/lib/dmemfs\nbackend=pfn\n"
                                             f"page-size={page_size}\n[region r]\nstart=auto\npages={pages}\n")
    healthy.write("proc/cmdline", f"quiet memmap={memmap}\n")
    done = ctl.run("doctor", "--json", "--root", healthy.root)
    found = [finding for finding in json.loads(done.stdout)["findings"] if finding["check"] == "reserved"]
    assert any(finding["level"] == level and says in finding["text"] for finding in found), found


@pytest.mark.parametrize("ill", ILLS)
def test_what_is_wrong_is_found_with_its_remedy(ctl, healthy, ill):
    check, level, says, remedy, changes = ILLS[ill]
    for path, text in changes.items():
        target = healthy.root / path
        if text is not None:
            healthy.write(path, text)
        elif target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink()
    (finding,) = not_ok(findings(ctl, healthy, FOUND if level == "problem" else DONE))
    assert (finding["check"], finding["level"]) == (check, level)
    assert says in finding["text"]
    assert remedy is None and finding["remedy"] is None or remedy in finding["remedy"]
    text = ctl.text("doctor", "--root", healthy.root, status=FOUND if level == "problem" else DONE)
    assert finding["text"] in text and f"-> {finding['remedy']}\n" in text or remedy is None


def test_machine_for_the_memory_backend(ctl, healthy):
    """No reserved memory and no module are a note, not a problem."""
    healthy.write("proc/cmdline", "quiet\n")
    shutil.rmtree(healthy.root / "sys/module/dmemfs")
    assert {finding["check"] for finding in not_ok(findings(ctl, healthy, DONE))} == {"reserved", "module"}


def of(result, check):
    return [finding for finding in result["findings"] if finding["check"] == check]


def doctor(ctl, fs):
    done = ctl.run("doctor", "--config", fs.daemon.config)
    assert done.returncode in (DONE, FOUND) and done.stderr == ""
    return ctl.json("doctor", "--config", fs.daemon.config, status=done.returncode)


def about(pid, result):
    """The findings about the process @pid. This machine may have other mounts, too."""
    return [finding for finding in of(result, "mappings") if f"({pid})" in finding["text"]]


@pytest.mark.page_sizes("2M")
def test_mount_in_order(ctl, fs):
    result = doctor(ctl, fs)
    for check in ("config", "daemon"):
        assert "ok" in [finding["level"] for finding in of(result, check)]
    assert any(str(fs.root) in finding["text"] for finding in of(result, "daemon"))
    assert any(finding["text"].startswith(str(fs.daemon.state_dir)) for finding in of(result, "state"))


@pytest.mark.page_sizes("4K")
def test_quotas_that_are_not_in_force(ctl, fs):
    """doctor gives the reason while it exists, then how to put the quota into force."""
    fs.daemon.config.write_text(fs.daemon.config.read_text() + "\n[quota x]\npath=/t/vms\nmax-files=5\n")
    (fs / "t").mkdir()
    (fs / "t" / "vms").touch()
    (finding,) = of(doctor(ctl, fs), "quotas")
    assert finding["level"] == "problem" and "[quota x]" in finding["text"] and "is not a directory" in finding["text"]
    (fs / "t" / "vms").unlink()
    (finding,) = of(doctor(ctl, fs), "quotas")
    assert finding["level"] == "problem" and "not in force" in finding["text"] and "reload" in finding["remedy"]
    fs.daemon.kill()
    fs.daemon.next()
    (finding,) = of(doctor(ctl, fs), "quotas")
    assert finding["level"] == "ok"


MAP_FIXED = 0x10
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mmap.restype = ctypes.c_void_p
LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]


def map_file(pipe, path, length, flags, shift):
    """Maps the file at an address that is @shift past a multiple of 2 MiB."""
    fd = os.open(path, os.O_RDWR)
    room = mmap.mmap(-1, length + 4 * MIB)
    start = ctypes.addressof(ctypes.c_char.from_buffer(room))
    address = -(-start // (2 * MIB)) * 2 * MIB + shift
    assert LIBC.mmap(address, length, mmap.PROT_READ, flags | MAP_FIXED, fd, 0) == address
    pipe.send(os.getpid())
    pipe.recv()


@pytest.mark.page_sizes("2M")
def test_unaligned_mapping(ctl, fs):
    path = fs.make_file("vm1", size=4 * fs.unit)
    with Child(map_file, path, 4 * fs.unit, mmap.MAP_SHARED, 4096, with_pipe=True) as child:
        pid = child.receive()
        (finding,) = about(pid, doctor(ctl, fs))
        child.pipe.send("end")
        child.wait()
    assert finding["level"] == "problem" and f"({pid}) maps vm1" in finding["text"] and "align=2M" in finding["remedy"]


@pytest.mark.memory_only("private mappings are refused elsewhere")
@pytest.mark.page_sizes("2M")
def test_private_mapping(ctl, fs):
    path = fs.make_file("vm1", size=4096)
    with Child(map_file, path, 4096, mmap.MAP_PRIVATE, 0, with_pipe=True) as child:
        pid = child.receive()
        (finding,) = about(pid, doctor(ctl, fs))
        child.pipe.send("end")
        child.wait()
    assert finding["level"] == "problem" and f"({pid}) maps vm1 privately" in finding["text"]
    assert "share=on" in finding["remedy"]


@pytest.mark.page_sizes("2M")
def test_daemon_that_died(ctl, fs):
    fs.daemon.kill()
    (finding,) = of(doctor(ctl, fs), "daemon")
    assert finding["level"] == "problem" and "has died" in finding["text"]
    lazy_unmount(fs.root)


@pytest.mark.page_sizes("2M")
def test_bad_configuration_is_a_finding(ctl, fs):
    bad = ctl.work / "bad.conf"
    bad.write_text("[daemon]\nsize=x\n")
    (finding,) = of(ctl.json("doctor", "--config", bad, status=FOUND), "config")
    assert finding["level"] == "problem" and f"{bad}:2: [daemon] size" in finding["text"]
    ctl.fails("doctor", "--root", "/nonexistent", says=["/nonexistent: is not a directory"])
