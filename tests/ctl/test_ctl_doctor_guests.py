# SPDX-License-Identifier: GPL-2.0-or-later
"""doctor and ls find running guests that use what does not work with their memory. The guests are real QEMUs."""

import ctypes
import os
import shutil
import subprocess

import pytest

from helpers.backends import MIB
from helpers.processes import lazy_unmount, mount_silent_fuse
from helpers.stopped_qemu import SIZE, backend_file, examine, qemu, unaligned

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.memory_only("guests of reserved memory: vm/test_guest_findings.py"),
              pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs qemu-system-x86")]


def test_guest_in_order(ctl, fs):
    with qemu(backend_file(fs / "vm1"), ctl.work) as ask:
        found, shown, user = examine(ctl, fs, ask.pid)
    assert (found, shown) == ([], "") and (user["page_size_wanted_bytes"], user["unmet_nodes"]) == (0, None)


def test_small_alignment(ctl, fs):
    with unaligned(backend_file(fs / "vm1", align=None), ctl.work) as ask:
        ((finding,), shown, user) = examine(ctl, fs, ask.pid)
    assert finding["level"] == "problem" and "maps vm1 at an address that allows pages of 4K only" in finding["text"]
    assert "align=2M or align=1G" in finding["remedy"] and "qemu-aligned" in finding["remedy"]
    assert shown == ", 4K only" and user["page_size_wanted_bytes"] == 2 * MIB


def test_small_alignment_by_a_path_from_its_own_directory(ctl, fs):
    with unaligned(backend_file("vm1", align=None), ctl.work, cwd=fs.root) as ask:
        ((finding,), _, _) = examine(ctl, fs, ask.pid)
    assert "align=2M or align=1G" in finding["remedy"] and "plugged in" not in finding["remedy"]


def enter_root(root, directory):
    """Another root, which is the same file system by another path: paths of this process are not those of the child."""
    ctypes.CDLL(None, use_errno=True).unshare(0x20000)  # CLONE_NEWNS
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "--rbind", "/", root], check=True)
    os.chroot(root)
    os.chdir(directory)


def test_path_from_its_own_directory_in_its_own_root(ctl, fs):
    root = ctl.work / "root"
    root.mkdir()
    with unaligned(backend_file("vm1", align=None), ctl.work, preexec_fn=lambda: enter_root(root, fs.root)) as ask:
        ((finding,), _, _) = examine(ctl, fs, ask.pid)
    assert "align=2M or align=1G" in finding["remedy"] and "plugged in" not in finding["remedy"]


def test_path_with_two_slashes(ctl, fs):
    with unaligned(backend_file(f"/{fs / 'vm1'}", align=None), ctl.work) as ask:
        ((finding,), _, _) = examine(ctl, fs, ask.pid)
    assert "align=2M or align=1G" in finding["remedy"] and "plugged in" not in finding["remedy"]


@pytest.mark.parametrize("link", [False, True])
def test_path_on_a_mount_that_does_not_answer(ctl, fs, link):
    """It may be on a network or FUSE mount whose server has stopped: each look at it would block for ever. Also by a link on dmemfs."""
    elsewhere = ctl.work / "elsewhere"
    elsewhere.mkdir()
    if link:
        (fs / "link").symlink_to(elsewhere)
    named = (fs / "link" if link else elsewhere) / "ram"
    arguments = ["-object", f"memory-backend-file,id=ram1,size=2M,share=on,mem-path={named}"]
    with unaligned([*arguments, *backend_file(fs / "vm1", align=None)], ctl.work) as ask:
        silent = mount_silent_fuse(elsewhere)
        try:
            ((finding,), _, _) = examine(ctl, fs, ask.pid)
        finally:
            os.close(silent)
            lazy_unmount(elsewhere)
    assert "maps vm1 at an address that allows pages of 4K only" in finding["text"] and "align=2M or align=1G" in finding["remedy"]


def test_small_alignment_in_a_directory(ctl, fs):
    """QEMU removes the file that it makes there."""
    with unaligned(backend_file(fs.root, align=None), ctl.work) as ask:
        ((finding,), shown, _) = examine(ctl, fs, ask.pid)
    assert "(removed, inode" in finding["text"] and "align=2M or align=1G" in finding["remedy"] and shown == ", 4K only"


def test_memory_that_is_plugged_in_later(ctl, fs):
    """Over QMP, as libvirt does: it has no setting for the alignment, and no program is between it and QEMU then."""
    memory = {"qom-type": "memory-backend-file", "id": "later", "mem-path": str(fs / "later"), "size": SIZE, "share": True,
              "prealloc": True}
    with unaligned(["-m", "64M,slots=1,maxmem=1G"], ctl.work, lambda ask: ask("object-add", **memory)) as ask:
        ((finding,), shown, _) = examine(ctl, fs, ask.pid)
    assert finding["level"] == "problem" and "maps later at an address that allows pages of 4K only" in finding["text"]
    assert "plugged in while the guest ran" in finding["remedy"] and "virtio-mem" in finding["remedy"] and shown == ", 4K only"


def test_small_alignment_by_a_file_of_settings(ctl, fs):
    """It is not on the command line."""
    settings = ctl.work / "settings"
    settings.write_text(f'[object "ram0"]\n  qom-type = "memory-backend-file"\n  size = "{SIZE}"\n  share = "on"\n'
                        f'  prealloc = "on"\n  mem-path = "{fs / "vm1"}"\n')
    with unaligned(["-readconfig", settings, "-machine", "memory-backend=ram0", "-m", f"{SIZE}B"], ctl.work) as ask:
        ((finding,), _, _) = examine(ctl, fs, ask.pid)
    assert "maps vm1 at an address that allows pages of 4K only" in finding["text"] and "-readconfig" in finding["remedy"]


def test_private_memory(ctl, fs):
    with qemu(backend_file(fs / "vm1", share="off"), ctl.work) as ask:
        ((finding,), _, user) = examine(ctl, fs, ask.pid)
    assert finding["level"] == "problem" and "maps vm1 privately" in finding["text"] and "share=on" in finding["remedy"]
    assert user["private"]


@pytest.mark.parametrize("form", ["option", "json", "comma"])
def test_memory_that_nobody_touches_in_advance(ctl, fs, form):
    path = fs / ("vm,1" if form == "comma" else "vm1")
    text = str(path).replace(",", ",,")
    arguments = backend_file(text, prealloc=None)
    if form == "json":
        arguments[1] = (f'{{"qom-type":"memory-backend-file","id":"ram0","mem-path":"{path}","share":true,"prealloc":false,'
                        f'"align":{2 * MIB},"size":{SIZE}}}')
    with qemu(arguments, ctl.work) as ask:
        ((finding,), _, _) = examine(ctl, fs, ask.pid)
    assert (finding["check"], finding["level"]) == ("prealloc", "note") and "memory-backend-file ram0" in finding["text"]
    assert "prealloc=on" in finding["remedy"] and 'allocation mode="immediate"' in finding["remedy"]


def test_guest_that_started_without_its_memory(ctl, fs):
    """QEMU goes on when the file cannot be sized."""
    complaint = r"(?s).*ftruncate.*|"
    with qemu(backend_file(fs / "vm1", size=2 * fs.capacity, prealloc="off"), ctl.work, complaint) as ask:
        found, _, _ = examine(ctl, fs, ask.pid)
    problem, = [finding for finding in found if finding["level"] == "problem"]
    assert problem["check"] == "prealloc" and "maps 128 MiB of vm1, which has only 0 B" in problem["text"]
    assert "SIGBUS" in problem["text"] and "prealloc=on" in problem["remedy"]


@pytest.mark.parametrize(("policy", "met"), [("bind", False), ("preferred", True), (None, True)])
def test_memory_on_another_node_than_the_guest_is_bound_to(ctl, far, policy, met):
    options = {"host-nodes": "0", "policy": policy} if policy else {}
    with qemu(backend_file(far / "vm1", **options), ctl.work) as ask:
        found, shown, user = examine(ctl, far, ask.pid)
    if met:
        assert (found, shown, user["unmet_nodes"]) == ([], "", None)
        return
    (finding,) = found
    assert finding["level"] == "problem" and "bound its mapping of vm1 to other NUMA nodes" in finding["text"]
    assert "on node 9" in finding["text"] and "dmemfs.node" in finding["remedy"]
    assert (shown, user["unmet_nodes"]) == (", not bound to node 9", "9")
