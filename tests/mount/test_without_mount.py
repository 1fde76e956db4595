# SPDX-License-Identifier: GPL-2.0-or-later
"""While dmemfs is not mounted, nobody fills the disk below its mountpoint with memory of guests."""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.expect import fails_with

pytestmark = pytest.mark.page_sizes("2M")
CONFIGS = Path(__file__).parents[2] / "configs"


# --- the mountpoint ---

def has_the_flag(directory):
    done = subprocess.run(["lsattr", "-d", directory], capture_output=True, text=True, check=False)
    return "i" in done.stdout.split(" ")[0]


@pytest.fixture
def rules(fs, work):
    """rules(): systemd applies the installed rules to the mountpoint of the test."""
    if not shutil.which("systemd-tmpfiles"):
        pytest.skip("needs systemd-tmpfiles")
    file = work / "tmpfiles.conf"
    file.write_text((CONFIGS / "tmpfiles.conf").read_text().replace(" /mnt/dmemfs ", f" {fs.root} "))

    def apply(*prefix):
        return subprocess.run([*prefix, "systemd-tmpfiles", "--create", file], capture_output=True, text=True, check=True)

    yield apply
    if fs.daemon.mounted:
        fs.daemon.stop()
    subprocess.run(["chattr", "-i", fs.root], check=False, capture_output=True)
    if not fs.daemon.running:
        fs.daemon.start()


@pytest.fixture
def immutable(fs, rules):
    """The mountpoint is immutable, and nothing is mounted."""
    fs.daemon.stop()
    if subprocess.run(["chattr", "+i", fs.root], check=False, capture_output=True).returncode != 0:
        pytest.skip("the file system of the mountpoint has no such flag")
    subprocess.run(["chattr", "-i", fs.root], check=True)
    rules()
    assert has_the_flag(fs.root)
    return fs


def test_nobody_makes_files_below_the_mountpoint(immutable):
    with fails_with(errno.EPERM):
        (immutable / "vm1").write_bytes(b"x")
    with fails_with(errno.EPERM):
        (immutable / "libvirt").mkdir()
    subprocess.run(["mkdir", "-p", immutable.root], check=True)  # as README says


def test_dmemfs_is_mounted_over_it(immutable, rules):
    fs = immutable
    fs.daemon.start()
    path = fs.make_file("vm1", b"x")
    assert rules().stderr == ""  # as in an upgrade of the package
    fs.make_file("vm2", b"x")
    fs.daemon.stop()
    assert has_the_flag(fs.root)
    fs.daemon.start()
    assert path.read_bytes() == b"x"
    assert not has_the_flag(fs.root)


def test_container_that_may_not_set_it(fs, rules):
    """The boot goes on."""
    fs.daemon.stop()
    rules("setpriv", "--bounding-set", "-linux_immutable")
    assert not has_the_flag(fs.root)


# --- qemu-aligned ---

@pytest.fixture
def start(work):
    """start(ARGUMENT...): qemu-aligned, and what it gives to QEMU."""
    program = work / "qemu"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)

    def run(*arguments, **environment):
        return subprocess.run(["/bin/sh", CONFIGS / "qemu-aligned", *map(str, arguments)], capture_output=True, text=True, check=False,
                              env={**os.environ, "QEMU": str(program), **environment})

    return run


def as_json(path, *first):
    values = {"qom-type": "memory-backend-file", "id": "ram", "mem-path": str(path), "share": True}
    return json.dumps({name: values[name] for name in [*first, *values]}, separators=(",", ":"))


FORMS = {
    "text": lambda path: ("-object", f"memory-backend-file,id=ram,mem-path={path},share=on"),
    "aligned": lambda path: ("-object", f"memory-backend-file,id=ram,mem-path={path},align=2M"),
    "json": lambda path: ("-object", as_json(path)),
    "option": lambda path: ("-mem-path", path),
    "other-dashes": lambda path: ("--object", f"memory-backend-file,id=ram,mem-path={path}"),
    "option-other-dashes": lambda path: ("--mem-path", path),
    "key": lambda path: ("-object", f"id=ram,mem-path={path},qom-type=memory-backend-file"),
    "id-like-a-path": lambda path: ("-object", f"memory-backend-file,id=,,mem-path=/dev/null,mem-path={path}"),
    "last-counts": lambda path: ("-object", f"memory-backend-file,mem-path=/dev/null,mem-path={path},id=a,,align=b"),
    "json-other-order": lambda path: ("-object", as_json(path, "mem-path", "qom-type")),
    "json-with-blanks": lambda path: ("-object", json.dumps(json.loads(as_json(path)), indent=1)),
    "json-escaped": lambda path: ("-object", as_json(path).replace("/", "\\/")),
}


@pytest.mark.parametrize("form", FORMS)
def test_memory_elsewhere_is_refused(fs, work, start, form):
    fs.daemon.stop()
    for path in (fs / "vm1", fs / "libvirt" / "qemu" / "vm1", work / "other"):
        arguments = FORMS[form](path)
        done = start("-m", "1G", *arguments)
        assert (done.returncode, done.stdout) == (1, ""), done
        for part in (f"qemu-aligned: {path} is not on dmemfs", "start dmemfsd", "DMEMFS_ELSEWHERE=allow"):
            assert part in done.stderr
        done = start("-m", "1G", *arguments, DMEMFS_ELSEWHERE="allow")
        assert (done.returncode, done.stdout) == (0, "".join(f"{argument}\n" for argument in ("-m", "1G", *arguments))), done
    fs.daemon.start()


@pytest.mark.parametrize("form", FORMS)
def test_memory_on_dmemfs_is_aligned(fs, start, form):
    align = max(fs.unit, 2 << 20)
    (fs / "of a guest").mkdir()
    for path in (fs / "vm1", fs.root, fs / "of a guest" / "pc ram"):
        option, value = map(str, FORMS[form](path))
        text = start(option, value).stdout.removesuffix("\n")
        if value.startswith("{"):
            assert text.startswith(f"{option}\n")
            assert json.loads(text.removeprefix(f"{option}\n")) == {**json.loads(value), "align": align}
        else:
            aligns = form != "aligned" and option.endswith("object")
            assert text == f"{option}\n{value}{f',align={align}' if aligns else ''}"


def test_json_with_lines_of_dos(fs, start):
    text = as_json(fs / "vm1").replace('":', '"\r\n:\r\n')
    done = start("-object", text).stdout.removeprefix("-object\n")
    assert json.loads(done) == {**json.loads(text), "align": max(fs.unit, 2 << 20)}


def refused(start, text, message):
    for environment in ({}, {"DMEMFS_ELSEWHERE": "allow"}):
        done = start("-object", text, **environment)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert done.stderr == f"qemu-aligned: {text} has {message}\n"


@pytest.mark.parametrize("plain, escaped", [
    ("PATH", "A\\u0042"), ("PATH", 'A\\"B'), ("PATH", "A\\\\/B"), ("PATH", "A\\tB"),
    ("qom-type", "qom-typ\\u0065"), ("memory-backend-file", "memory-backend-fil\\u0065"), ("mem-path", "mem-pat\\u0068"),
    ("share", "shar\\u0065"), ('"ram"', '"\\"qom-type\\":\\"secret\\""'),
])
def test_escapes_of_json_are_refused(fs, start, plain, escaped):
    """They are not decoded, so the path is not known, or that it is memory. Another object may have them."""
    text = as_json(fs / "PATH").replace(plain, escaped)
    refused(start, text, "an escape (a backslash), which is not decoded here: write names plainly, and use a path and an id without "
                         "quotation marks, backslashes and control characters")


def test_single_quotation_marks_are_refused(fs, start):
    """QEMU reads them like double ones."""
    message = "single quotation marks, which are not read here: write double ones, as in JSON"
    text = as_json(fs / "vm1")
    for hidden in (text.replace('"', "'"), text.replace('"qom-type"', "'qom-type'"), text.replace('"ram"', """'"qom-type":"secret"'""")):
        refused(start, hidden, message)
    assert start("-object", as_json(fs / "it's")).returncode == 0


@pytest.mark.parametrize("other", ['{"qom-type":"secret","id":"s","data":"a\\u0042"}', '{"id":"s","data":"it\'s \\"\'\\"", "qom-type" : "secret"}'])
def test_other_objects_may_have_escapes(start, other):
    assert start("-object", other).stdout == f"-object\n{other}\n"


def test_runs_no_program_but_stat(fs, work, start):
    """AppArmor must allow a guest each program that is run here."""
    (work / "bin").mkdir()
    (work / "bin" / "stat").symlink_to("/usr/bin/stat")
    for form in FORMS:
        done = start(*FORMS[form](fs / "vm1"), PATH=str(work / "bin"))
        assert (done.returncode, done.stderr) == (0, "") and (form.startswith("option") or "align" in done.stdout), done


def test_paths_with_commas(fs, work, start):
    """Two commas are one, in the text of an object and not in JSON."""
    (fs / "a,b").mkdir()
    os.symlink(work, fs / "a")  # where a comma ended the path
    text = f"memory-backend-file,id=ram,mem-path={fs.root}/a,,b/vm1"
    assert start("-object", text).stdout == f"-object\n{text},align={max(fs.unit, 2 << 20)}\n"
    os.symlink(work, fs / "c,d")
    done = start("-object", f"memory-backend-file,id=ram,mem-path={fs.root}/c,,d/vm1")
    assert (done.returncode, done.stdout) == (1, "") and f"{fs.root}/c,d/vm1 is not on dmemfs" in done.stderr
    assert start("-object", as_json(fs / "a,b" / "vm1")).returncode == 0
    assert start("-object", as_json(fs / "c,d" / "vm1")).returncode == 1


def test_newlines_at_the_end(fs, start):
    """They belong to the path, and to what a secret is."""
    done = start("-object", f"memory-backend-file,id=ram,mem-path={fs.root}\n")
    assert (done.returncode, done.stdout) == (1, "") and f"{fs.root}\n is not on dmemfs" in done.stderr
    text = f"memory-backend-file,id=ram,mem-path={fs / 'vm1'}\n"
    assert start("-object", text).stdout == f"-object\n{text},align={max(fs.unit, 2 << 20)}\n"
    assert start("-object", "secret,id=s,data=a\n\n").stdout == "-object\nsecret,id=s,data=a\n\n\n"


def test_byte_that_stands_for_a_comma(fs, start):
    (fs / "a,b").mkdir()
    text = f"memory-backend-file,id=ram,mem-path={fs.root}/a\1b"
    refused(start, text, "a control character (1), which stands for a comma here: use a path and an id without it")


@pytest.mark.timeout(10)
def test_long_objects_that_are_not_memory(start):
    """Reading them takes a time that is quadratic: more than the limit of the test."""
    text = f"secret,id=s,data={',,' * 60000}"
    assert start("-object", text).stdout == f"-object\n{text}\n"


def test_qemu_that_is_elsewhere(start):
    done = start("-version", QEMU="/nonexistent/qemu")
    assert done.returncode == 127
    assert done.stderr.startswith("qemu-aligned: there is no /nonexistent/qemu: set QEMU in the environment")


def test_other_arguments_are_left_alone(start):
    arguments = ["-object", "memory-backend-memfd,id=ram,size=1G", "-object", "rng-random,id=r,filename=/dev/urandom", "-name", "a b"]
    assert start(*arguments).stdout.splitlines() == arguments
