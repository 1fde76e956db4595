# SPDX-License-Identifier: GPL-2.0-or-later
"""dmemfsctl guest-args: the real programs accept its output, with the effect that it promises."""

import os
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from helpers.control import DAEMON, USAGE
from helpers.stopped_qemu import qemu

pytestmark = pytest.mark.page_sizes("2M")

DOMAIN = """<domain type="kvm">
<name>guest</name>
<vcpu>1</vcpu>
{}
<os><type arch="x86_64" machine="q35">hvm</type></os>
</domain>"""
QEMU_NAMESPACE = "{http://libvirt.org/schemas/domain/qemu/1.0}"


def requires(program):
    return pytest.mark.skipif(not shutil.which(program), reason=f"needs {program}")


def check_memory(ctl, ask, fs, *, size):
    (memory,) = [memory for memory in ask("query-memdev") if memory["id"] == "dmemfs"]
    assert (memory["size"], memory["share"], memory["prealloc"]) == (size, True, fs.backend.name == "memory")
    assert ask("query-memory-size-summary")["base-memory"] == size
    (user,) = [user for file in ctl.json("ls", fs.root)["files"] for user in file["mapped_by"] if user["pid"] == ask.pid]
    assert (user["mapped_bytes"], user["page_size_bytes"], user["private"]) == (size, 2 << 20, False)


@requires("qemu-system-x86_64")
@pytest.mark.parametrize("name", ["vm1", "vm,1 'x'", "new", "."])
def test_qemu_takes_it(ctl, fs, name):
    path = fs / name
    size = 16 * fs.unit
    if name.startswith("vm"):
        fs.make_file(name, size=size)
        line = ctl.text("guest-args", path)
    else:
        line = ctl.text("guest-args", "--vmm=qemu", "--size", "32M", path)
    with qemu(shlex.split(line), ctl.work) as ask:
        check_memory(ctl, ask, fs, size=size)
    assert ctl.json("guest-args", "--size=32M", path)["arguments"] == shlex.split(line)


@requires("virt-xml-validate")
@pytest.mark.parametrize("name", ["vm1", "a<&,b", "."])
def test_libvirt_takes_it(ctl, fs, name):
    path = fs / name
    if name != ".":
        fs.make_file(name, size=4 * fs.unit)
    result = ctl.json("guest-args", path, "--vmm=libvirt", "--size=8M")
    domain = ctl.work / "domain.xml"
    domain.write_text(DOMAIN.format(result["xml"]))
    done = subprocess.run(["virt-xml-validate", domain, "domain"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert result["xml"] in ctl.text("guest-args", path, "--vmm=libvirt", "--size=8M")


@requires("qemu-system-x86_64")
def test_arguments_past_libvirt_replace_its_memory(ctl, fs):
    """libvirt's own arguments come first, with a memory object of its own."""
    path = fs.make_file("vm1", size=16 * fs.unit)
    tree = ElementTree.fromstring(DOMAIN.format(ctl.json("guest-args", path, "--vmm=libvirt")["xml"]))
    extra = [argument.get("value") for argument in tree.iter(f"{QEMU_NAMESPACE}arg")]
    own = ["-machine", "memory-backend=pc.ram", "-m", "32",
           "-object", '{"qom-type":"memory-backend-ram","id":"pc.ram","size":33554432}']
    with qemu(own + extra, ctl.work) as ask:
        check_memory(ctl, ask, fs, size=16 * fs.unit)


def test_libvirt_directory(ctl, fs):
    text = ctl.text("guest-args", fs.root, "--vmm=libvirt", "--size=1G")
    assert f'memory_backing_dir = "{fs.root}"' in text and "/bin/qemu-aligned</emulator>" in text
    assert f'<allocation mode="{"immediate" if fs.backend.name == "memory" else "ondemand"}"/>' in text
    assert '<access mode="shared"/>' in text and '<memory unit="b">1073741824</memory>' in text


def test_cloud_hypervisor(ctl, fs):
    result = ctl.json("guest-args", fs / "new", "--vmm=cloud-hypervisor", "--size=8M")
    assert result["prepare"] == [f"truncate -s 8M '{fs / 'new'}'"]
    subprocess.run(result["prepare"][0], shell=True, check=True)
    assert os.stat(fs / "new").st_size == 4 * fs.unit
    again = ctl.json("guest-args", fs / "new", "--vmm=cloud-hypervisor")
    assert again["prepare"] == []
    assert again["arguments"] == result["arguments"] == [
        "--memory", "size=0", "--memory-zone", f"id=dmemfs,size=8M,file={fs / 'new'},shared=on"]
    ctl.fails("guest-args", fs.root, "--vmm=cloud-hypervisor", "--size=8M", status=USAGE, says=["is a directory"])
    ctl.fails("guest-args", fs / "a,b", "--vmm=cloud-hypervisor", "--size=8M", says=["without commas"])
    # In output that a script evaluates, it would be a command.
    ctl.fails("guest-args", fs / "a\ntouch b #", "--vmm=cloud-hypervisor", "--size=8M", says=["line breaks"])


def test_alignment_is_that_of_the_memory(ctl, fs):
    assert ctl.json("guest-args", fs / "new", "--size=2G")["align_bytes"] == \
        (1 << 30 if fs.backend.name == "pfn" else 2 << 20)
    assert "align=2M" in ctl.text("guest-args", fs / "new", "--size=4M")


@pytest.mark.page_sizes("4K")
def test_small_pages(ctl, fs):
    assert "align" not in ctl.text("guest-args", fs / "new", "--size=1028K")


WORKS = {"cache: every mode works, also none and directsync", "devices: assigned ones (VFIO) are not tested"}


@pytest.mark.memory_only("other memory: vm/test_guest_findings.py")
@pytest.mark.parametrize(("vmm", "says"), [
    ("qemu", {*WORKS, "prealloc: needed: else a guest whose file gets no memory dies of SIGBUS later",
              "align: without it pages are of 4K; object-add of more memory needs it, too",
              "discard: memory that the guest gives back stays with the file"}),
    ("libvirt", {*WORKS, "prealloc: needed: else a guest whose file gets no memory dies of SIGBUS later",
                 "align: qemu-aligned adds it, but not to memory that is plugged in later: give the domain a virtio-mem device "
                 "from the start, and change its requested size",
                 "discard: memory that the guest gives back stays with the file"}),
    ("cloud-hypervisor", {"cache: a disk may have direct=on", "prealloc: prefault=on works",
                          "devices: assigned ones (VFIO) are not tested"}),
])
def test_what_works_is_told_apart_from_the_arguments(ctl, fs, vmm, says):
    done = ctl.run("guest-args", fs / "new", "--vmm", vmm, "--size=8M")
    assert {line[2:] for line in done.stderr.splitlines()} == says
    assert not any(line in done.stdout for line in says)
    assert set(ctl.json("guest-args", fs / "new", "--vmm", vmm, "--size=8M")["notes"]) == says


def test_bad_input(ctl, fs):
    fs.make_file("vm1", size=4 * fs.unit)
    fs.make_file("empty")
    ctl.fails("guest-args", status=USAGE, says=["PATH is missing"])
    ctl.fails("guest-args", fs / "vm1", "--vmm=xen", status=USAGE, says=["--vmm xen", "cloud-hypervisor or libvirt"])
    ctl.fails("guest-args", fs / "vm1", "--size=4M", status=USAGE, says=["8388608 bytes", "leave --size out"])
    ctl.fails("guest-args", fs / "empty", status=USAGE, says=["has no size yet", "--size"])
    ctl.fails("guest-args", fs / "new", "--size=3M", status=USAGE, says=["not a multiple", "2M"])
    ctl.fails("guest-args", fs / "new", "--size=x", status=USAGE, says=["--size", "is not a size"])
    ctl.fails("guest-args", fs / "no" / "new", "--size=2M", says=["does not exist", "make that directory"])
    ctl.fails("guest-args", "/tmp/new", "--size=2M", status=DAEMON, says=["is not on a mounted dmemfs"])
    ctl.fails("guest-args", "/dev/null", "--size=2M", says=["neither a file nor a directory"])
