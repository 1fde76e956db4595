# SPDX-License-Identifier: GPL-2.0-or-later
"""status, ls, extents, map and top report what the mount itself reports."""

import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import termios
import time
import xml.etree.ElementTree as ElementTree
from contextlib import contextmanager

import pytest

from helpers.children import Child
from helpers.control import DAEMON, USAGE
from helpers.processes import lazy_unmount
from helpers.syscalls import Mapping

pytestmark = pytest.mark.page_sizes("2M")


@pytest.fixture
def furnished(fs):
    fs.make_file("vm1", size=3 * fs.unit)
    (fs / "tenant").mkdir()
    fs.make_file("tenant/vm 2", size=2 * fs.unit + 1)
    os.link(fs / "vm1", fs / "tenant" / "another name")
    os.symlink("vm1", fs / "symlink")
    return fs


@contextmanager
def mapped(path, length):
    """A process that maps the file."""

    def client(pipe):
        fd = os.open(path, os.O_RDWR)
        mapping = Mapping(fd, length)
        os.close(fd)
        pipe.send(os.getpid())
        pipe.recv()
        del mapping

    with Child(client, with_pipe=True) as child:
        yield child.receive()
        child.pipe.send("end")
        child.wait()


def test_status(ctl, furnished):
    fs = furnished
    (mount,) = ctl.json("status", fs.root)["mounts"]
    assert mount["mountpoint"] == str(fs.root)
    assert (mount["pid"], mount["backend"], mount["alloc"]) == (fs.daemon.pid, fs.backend.name, "eager")
    assert mount["page_size_bytes"] == fs.unit
    assert mount["state_dir"] == str(fs.daemon.state_dir)
    assert {name: mount[name] for name in fs.stats()} == fs.stats()
    assert sum(region["length_bytes"] for region in mount["regions"]) == fs.capacity
    assert sum(region["free_bytes"] for region in mount["regions"]) == fs.capacity - 6 * fs.unit
    kernel = "unmapped" if fs.backend.name == "pfn" else "mapped"
    assert [(region["pages"], region["kernel"]) for region in mount["regions"]] == [("none", kernel)] * len(mount["regions"])
    assert mount["mapping_processes"] == 0
    text = ctl.text("status", fs / "tenant" / "vm 2")
    assert re.search(rf"^  REGION .* COMPOUND  KERNEL\n  0 .* none +{kernel}$", text, re.MULTILINE)
    assert text.startswith(f"{fs.root}: dmemfsd ")
    assert re.search(r"^  capacity +64 MiB +100\.0 %$", text, re.MULTILINE)
    assert re.search(r"^  in files +12 MiB +18\.8 %$", text, re.MULTILINE)
    assert "2 files in 2 directories, mapped by 0 processes" in text


def test_ls_names_files_and_who_maps_them(ctl, furnished):
    fs = furnished
    with mapped(fs / "vm1", 2 * fs.unit) as pid:
        files = {file["path"]: file for file in ctl.json("ls", fs.root)["files"]}
        # Of several names the first one.
        assert files.keys() == {"tenant/another name", "tenant/vm 2"}
        vm1, vm2 = files.values()
        (user,) = vm1["mapped_by"]
        assert (user["pid"], user["mapped_bytes"], user["private"]) == (pid, 2 * fs.unit, False)
        assert vm2["mapped_by"] == []
        assert (vm2["size_bytes"], vm2["allocated_bytes"]) == (2 * fs.unit + 1, 3 * fs.unit)
        assert vm1["inode"] == os.stat(fs / "vm1").st_ino
        assert sum(vm1[f"in_{size}_pages_bytes"] for size in ("4k", "2m", "1g")) == 3 * fs.unit
        text = ctl.text("ls", fs.root)
        assert re.search(rf"^ *6 MiB +6 MiB .* tenant/another name +python3?[\d.]*\({pid}\)(, 4K only)?$", text, re.MULTILINE)
        assert ctl.json("status", fs.root)["mounts"][0]["mapping_processes"] == 1


def test_ls_shows_removed_files_that_are_mapped(ctl, fs):
    path = fs.make_file("file", size=fs.unit)
    inode = os.stat(path).st_ino
    with mapped(path, fs.unit) as pid:
        os.unlink(path)
        (file,) = ctl.json("ls", fs.root)["files"]
        assert (file["path"], file["inode"], file["mapped_by"][0]["pid"]) == (None, inode, pid)
        assert (file["last_path"], file["size_bytes"], file["allocated_bytes"]) == (str(path), fs.unit, fs.unit)
        text = ctl.text("ls", fs.root)
        assert re.search(rf"^ *2 MiB +2 MiB .* {path} \(removed, inode {inode}\) +python3?[\d.]*\({pid}\)$", text, re.MULTILINE)
    assert ctl.json("ls", fs.root)["files"] == []


def test_status_shows_who_keeps_the_memory_of_removed_files(ctl, fs):
    path = fs.make_file("file", size=fs.unit)
    kept = fs.make_file("kept (deleted)", size=fs.unit)
    inode = os.stat(path).st_ino
    assert "REMOVED" not in ctl.text("status", fs.root)
    with mapped(path, fs.unit) as pid, mapped(kept, fs.unit):
        os.unlink(path)
        (found,) = ctl.json("status", fs.root)["mounts"][0]["removed_mapped"]
        assert (found["inode"], found["last_path"], found["mapped_bytes"], found["pid"]) == (inode, str(path), fs.unit, pid)
        text = ctl.text("status", fs.root)
        assert re.search(r"^    removed +2 MiB +3\.1 %$", text, re.MULTILINE)
        assert re.search(rf"REMOVED, STILL MAPPED +INODE +LAST PATH +MAPPED BY\n +2 MiB +{inode} +{path} +python3?[\d.]*\({pid}\)\n$", text)
    assert "removed" not in ctl.text("status", fs.root).lower().replace(str(fs.root).lower(), "")


def test_file_that_lost_one_of_its_names_is_not_removed(ctl, fs):
    path = fs.make_file("file", size=fs.unit)
    with mapped(path, fs.unit):
        os.link(path, fs / "other")
        os.unlink(path)
        assert ctl.json("status", fs.root)["mounts"][0]["removed_mapped"] == []
        assert [file["path"] for file in ctl.json("ls", fs.root)["files"]] == ["other"]


def test_names_cannot_steer_the_terminal(ctl, fs):
    name = os.fsencode(fs.root) + b"/a\n\x1b[31m\xff"
    with open(name, "wb"):
        pass
    assert r"a\x0a\x1b[31m\xff" in ctl.text("ls", fs.root)
    assert ctl.json("ls", fs.root)["files"][0]["path"] == "a\n\x1b[31m\ufffd"
    os.unlink(name)


def test_extents(ctl, furnished):
    fs = furnished
    result = ctl.json("extents", fs / "tenant" / "vm 2")
    assert [(run["offset"], run["address"], run["length_bytes"]) for run in result["runs"]] == \
        [tuple(run) for run in fs.extents(fs / "tenant" / "vm 2")]
    assert result["size_bytes"] == 2 * fs.unit + 1
    rows = ctl.text("extents", fs / "vm1").splitlines()
    assert rows[0].split() == ["OFFSET", "ADDRESS", "LENGTH", "NODE", "PAGES", "COMPOUND"]
    run = fs.extents(fs / "vm1")[0]
    assert rows[1].split()[:3] == [f"{number:#x}" for number in run]
    assert len(ctl.text("extents", fs.make_file("empty")).splitlines()) in (1, 2)


@pytest.mark.memory_only("takes thousands of files")
@pytest.mark.page_sizes("4K")
def test_extents_of_a_file_in_very_many_runs(ctl, fs):
    count = 2000
    for number in range(2 * count):
        fs.make_file(f"{number}", size=fs.unit)
    for number in range(0, 2 * count, 2):
        os.unlink(fs / f"{number}")
    fs.wait_free(fs.capacity - count * fs.unit)
    fs.make_file("rest", size=fs.free() - count * fs.unit)
    fs.make_file("file", size=count * fs.unit)
    runs = ctl.json("extents", fs / "file")["runs"]
    assert len(runs) >= count and sum(run["length_bytes"] for run in runs) == count * fs.unit
    os.unlink(fs / "file")


def test_map(ctl, furnished):
    fs = furnished
    result = ctl.json("map", fs.root)
    pieces = [piece for region in result["regions"] for piece in region["pieces"]]
    assert sum(piece["length_bytes"] for piece in pieces) == 6 * fs.unit
    assert {piece["file"] for piece in pieces} == {"tenant/another name", "tenant/vm 2"}
    text = ctl.text("map", fs.root)
    cells = "".join(re.findall(r"^ *0x[0-9a-f]+ (\S+)$", text, re.MULTILINE))
    assert sorted(cells) == sorted("AAABBB" + "\u00b7" * 26)
    assert "A tenant/another name (6 MiB)" in text
    assert "\033" not in text
    assert "\u00b7" not in ctl.text("map", fs.root, environment={"LC_ALL": "C"})
    coloured = ctl.text("map", "--color=always", fs.root)
    assert re.search("\033\\[38;5;\\d+m\u2588", coloured) and coloured.endswith("\n")
    assert ctl.text("map", "--color", "never", fs.root) == text


def test_map_as_svg(ctl, furnished):
    output = ctl.work / "map.svg"
    assert ctl.text("map", "-o", output, furnished.root) == ""
    svg = ElementTree.parse(output).getroot()
    assert svg.tag.endswith("}svg")
    titles = [title.text for title in svg.iter("{http://www.w3.org/2000/svg}title")]
    assert any(title.startswith("tenant/vm 2: 6 MiB at 0x") for title in titles)
    png = ctl.work / "map.png"
    if shutil.which("rsvg-convert"):
        ctl.text("map", "-o", png, furnished.root)
        assert png.read_bytes().startswith(b"\x89PNG")
    ctl.fails("map", "-o", png, furnished.root, environment={"PATH": "/nonexistent"}, says=["rsvg-convert", ".svg"])
    ctl.fails("map", "-o", "map.jpg", furnished.root, status=USAGE, says=["map.jpg", ".svg or .png"])
    ctl.fails("map", "-o", "/nonexistent/map.svg", furnished.root, says=["/nonexistent/map.svg"])
    ctl.fails("map", "--color=green", furnished.root, status=USAGE, says=["green", "always"])


def test_top_without_a_terminal(ctl, furnished):
    text = ctl.text("top", furnished.root)
    assert text.startswith(f"{furnished.root}: 64 MiB, 2 files\n") and "FAULTS/S" in text
    samples = ctl.json("top", "-n", 3, "-i", 0.1, furnished.root)["samples"]
    assert len(samples) == 3
    assert {file["path"] for file in samples[2]["by_file"]} == {"tenant/another name", "tenant/vm 2"}
    assert samples[0]["capacity_bytes"] == furnished.capacity
    for wrong in ("0", "-1", "nan", "1e9"):
        ctl.fails("top", f"--interval={wrong}", furnished.root, status=USAGE, says=["--interval"])
    ctl.fails("top", "-n", "-1", furnished.root, status=USAGE, says=["--iterations"])


NOBODY = {"user": 65534, "group": 65534, "extra_groups": []}


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize("closed", [False, True])
def test_who_is_not_root_sees_files_without_their_places(ctl, fs, closed):
    """What a user may not see is left out, and one line says so; it is no error."""
    mine = fs.make_file("mine", size=2 * fs.unit)
    os.chown(mine, 65534, 65534)
    (fs / "others").mkdir()
    fs.make_file("others/vm", size=fs.unit)
    (fs / "others").chmod(0o700 if closed else 0o755)
    names = ["mine"] if closed else ["mine", "others/vm"]
    note = "only root may see where memory lies: runs, pages and nodes are left out"
    note += ", and what is in directories that this user may not read (1)" if closed else ""
    files = ctl.json("ls", fs.root, **NOBODY)["files"]
    assert [file["path"] for file in files] == names
    assert (files[0]["uid"], files[0]["size_bytes"], files[0]["allocated_bytes"]) == (65534, 2 * fs.unit, 2 * fs.unit)
    assert files[0].keys() == {"path", "last_path", "inode", "size_bytes", "allocated_bytes", "uid", "pages", "mapped_by"}
    done = ctl.run("ls", fs.root, **NOBODY)
    assert done.stderr == f"# {note}\n" and re.fullmatch(r" *SIZE +MEMORY +COMPOUND +FILE +MAPPED BY\n *4 MiB +4 MiB +none +mine +-\n"
                                                         r"( *2 MiB +2 MiB +none +others/vm +-\n)?", done.stdout)
    text = ctl.text("top", fs.root, **NOBODY)
    assert f"\n{note}\n\n" in text and "NODES" not in text and re.search(r" 4 MiB +4 MiB +mine +-$", text, re.MULTILINE)
    assert "only root" not in ctl.text("ls", fs.root) + ctl.text("top", fs.root)
    ctl.fails("map", fs.root, says=["only root may see where memory lies" if not closed else "run as root"], **NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_who_is_not_root_gets_arguments_for_a_file(ctl, fs):
    mine = fs.make_file("mine", size=2 * fs.unit)
    os.chown(mine, 65534, 65534)
    assert ctl.text("guest-args", mine, **NOBODY) == ctl.text("guest-args", mine)
    (note,) = set(ctl.json("guest-args", mine, **NOBODY)["notes"]) - set(ctl.json("guest-args", mine)["notes"])
    assert note.startswith("align: by the size of the file: only root may see")


class Screen:
    """top on a terminal of its own."""

    def __init__(self, ctl, *arguments):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(ctl.program, [ctl.program, "top", "-i", "0.1", *map(str, arguments)],
                      {"LC_ALL": "C.UTF-8", "TERM": "xterm"})
        self.output = b""

    def read_until(self, pattern, timeout=20):
        deadline = time.monotonic() + timeout
        while not re.search(pattern, self.output):
            assert time.monotonic() < deadline, self.output
            if select.select([self.fd], [], [], 0.1)[0]:
                self.output += os.read(self.fd, 65536)

    def wait(self):
        """The exit status. Reads the rest of the output, so that the process is not blocked."""
        while True:
            try:
                part = os.read(self.fd, 65536)
            except OSError:
                break
            if not part:
                break
            self.output += part
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_top_on_a_terminal(ctl, furnished):
    screen = Screen(ctl, furnished.root)
    fcntl.ioctl(screen.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 4, 30, 0, 0))
    screen.read_until(rb"FAULTS/S")
    screen.output = b""
    screen.read_until(rb"(?s)\x1b\[J.*\x1b\[J")
    rows = screen.output.split(b"\x1b[J")[-2].split(b"\r\n")
    assert len(rows) <= 4 and all(len(row.replace(b"\x1b[K", b"").replace(b"\x1b[H", b"")) <= 30 for row in rows)
    os.write(screen.fd, b"q")
    assert screen.wait() == 0
    assert screen.output.endswith(b"\x1b[?1049l")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_top_gives_the_screen_back(ctl, furnished, number):
    screen = Screen(ctl, furnished.root)
    screen.read_until(rb"FAULTS/S")
    os.kill(screen.pid, number)
    assert screen.wait() == 0
    assert screen.output.endswith(b"\x1b[?1049l")


@pytest.mark.parametrize("command", ["status", "ls", "map", "top"])
def test_daemon_that_is_not_there(ctl, fs, command):
    fs.daemon.stop()
    ctl.fails(command, fs.root, status=DAEMON, says=["is not on a mounted dmemfs", "start dmemfsd"])
    ctl.fails(command, "/nonexistent", says=["/nonexistent: No such file"])


def test_extents_of_what_is_no_file_on_a_mount(ctl, furnished):
    ctl.fails("extents", furnished.root, says=["is not a regular file"])
    ctl.fails("extents", "/proc/version", status=DAEMON, says=["is not on a mounted dmemfs"])
    ctl.fails("extents", furnished / "none", says=["No such file"])
    ctl.fails("extents", status=USAGE, says=["FILE is missing"])


def test_daemon_that_died(ctl, fs):
    fs.daemon.kill()
    for command in ("status", "ls", "map", "top"):
        ctl.fails(command, fs.root, status=DAEMON, says=["has died", "start it again"])
    lazy_unmount(fs.root)


def test_daemon_that_hangs(ctl, fs):
    with fs.daemon.frozen():
        before = time.monotonic()
        # The search for leaks would wait for the thread that waits for the daemon.
        done = ctl.run("status", fs.root, environment={"ASAN_OPTIONS": "detect_leaks=0"})
        assert done.returncode == DAEMON and "has not answered for 5 s" in done.stderr
        assert time.monotonic() - before < 25


def test_reader_that_leaves_ends_it_quietly(ctl, furnished):
    done = subprocess.run(["sh", "-c", '"$0" ls "$1" | true', ctl.program, furnished.root], capture_output=True,
                          timeout=20, check=False)
    assert done.stderr == b""
