# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: options, exit statuses, and errors that say what to do about them."""

import os
import re
import resource
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.processes import mount_silent_fuse

OK, FAILURE, USAGE = 0, 1, 2
OPTIONS = ("--config", "--foreground", "--supervise", "--check-config", "--dump-config", "--log-level", "--version", "--help")


class Machine:
    """Directories as an administrator makes them, and a configuration that names them."""

    def __init__(self, program, work):
        self.program = program
        self.work = work
        self.mountpoint = work / "mnt"
        self.state_dir = work / "state"
        self.memory_dir = Path(f"/dev/shm/dmemfs-command-line-{os.getpid()}")
        self.config = work / "dmemfsd.conf"
        self.mountpoint.mkdir()
        self.configure()

    def configure(self, groups="", **keys):
        """Writes the configuration; a key that is None is left out."""
        keys = {"mountpoint": self.mountpoint, "state-dir": self.state_dir, "memory-dir": self.memory_dir, "size": "4M",
                **{key.replace("_", "-"): value for key, value in keys.items()}}
        lines = [f"{key}={value}\n" for key, value in keys.items() if value is not None]
        self.config.write_text("[daemon]\n" + "".join(lines) + groups)

    def run(self, *arguments, **options):
        """Runs dmemfsd with exactly these arguments, until it ends by itself."""
        return subprocess.run([self.program, *map(str, arguments)], stdin=subprocess.DEVNULL, timeout=20, check=False,
                              cwd=self.work, **{"capture_output": True, "text": True, **options})

    def fails(self, *arguments, status=FAILURE, says=(), **options):
        """dmemfsd must end with @status, print nothing, and log one line that contains each of @says."""
        done = self.run(*arguments, **options)
        assert done.returncode == status, done.stderr
        assert done.stdout == ""
        assert re.fullmatch(r"dmemfsd: error: [^\n]+\n", done.stderr), done.stderr
        for fragment in says:
            assert fragment in done.stderr
        return done.stderr

    def fails_for_nobody(self, *arguments, **expected):
        """
        The same as an unprivileged user, with a copy of the program: the user may have no access to the build
        directory.
        """
        copy = shutil.copy(self.program, self.work / "dmemfsd")
        self.fails(*arguments, **expected, executable=copy, user=65534, group=65534, extra_groups=[])

    def check_fails(self, *says):
        return self.fails("--config", self.config, "--check-config", says=(f"{self.config}:", *says))

    def check_passes(self):
        done = self.run("--config", self.config, "--check-config")
        assert (done.returncode, done.stdout, done.stderr) == (OK, "", "")

    def dump(self, config):
        done = self.run("--config", config, "--dump-config")
        assert (done.returncode, done.stderr) == (OK, "")
        return done.stdout


@pytest.fixture
def machine(dmemfsd, work):
    return Machine(dmemfsd, work)


# --- help and version ---

@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_every_option(machine, option):
    done = machine.run(option)
    assert (done.returncode, done.stderr) == (OK, "")
    assert re.search(r"^Usage:\n  dmemfsd ", done.stdout)
    for name in OPTIONS:
        assert re.search(rf"^  (-\w, )?{name}\b", done.stdout, re.MULTILINE)
    assert len(re.findall(r"^  (?:-\w, )?--", done.stdout, re.MULTILINE)) == len(OPTIONS)
    assert "Exit status: 0 " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


def test_version_is_one_line(machine):
    done = machine.run("--version")
    assert (done.returncode, done.stderr) == (OK, "")
    assert re.fullmatch(r"dmemfsd \d+\.\d+\.\d+\n", done.stdout)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["--config", "dmemfsd.conf", "--dump-config"]])
def test_full_disk_is_noticed(machine, arguments):
    with open("/dev/full", "wb") as full:
        done = machine.run(*arguments, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == FAILURE
    assert done.stderr.startswith("dmemfsd: error: stdout: ")


# --- what is no command ---

@pytest.mark.parametrize("arguments, says", [
    (["--config"], ["--config", "--help"]),
    (["--config", "a", "--config", "b"], ["--config is given twice", "name one"]),
    (["-c", "a", "--config=b"], ["--config is given twice"]),
    (["--config", "a", "surplus"], ["surplus argument \"surplus\"", "--help"]),
    (["--config", "a", "--", "--foreground"], ["surplus argument", "--help"]),
    (["a.conf"], ["surplus argument \"a.conf\""]),
    ([""], ["surplus argument \"\""]),
    (["--config", "a", "--frobnicate"], ["--frobnicate", "--help"]),
    (["--config", "a", "-x"], ["-x", "--help"]),
    (["--confg=a"], ["Unknown option --confg=a, did you mean --config?", "--help"]),
    (["--check"], ["Unknown option --check, did you mean --check-config?", "--help"]),
    (["-ca", "-fcb"], ["--config is given twice"]),
    (["--config", "a", "--log-level"], ["--log-level", "--help"]),
    (["--config", "a", "--log-level", "loud"], ["--log-level loud", "error, warning, info or debug"]),
    (["--config", "a", "--log-level="], ["unknown level", "error, warning, info or debug"]),
    (["--config", "a", "--log-level", "info", "--log-level", "debug"], ["--log-level is given twice"]),
    (["--config", "a", "--check-config", "--dump-config"], ["--check-config and --dump-config", "choose one"]),
    (["--config", "a", "two\nlines"], ["two\\nlines"]),
])
def test_wrong_command_line(machine, arguments, says):
    machine.fails(*arguments, status=USAGE, says=says)


@pytest.mark.parametrize("argument", [b"\xff", b"--\xff", b"--log-level=\xff"])
def test_arguments_that_are_no_text(machine, argument):
    done = subprocess.run([machine.program, argument], capture_output=True, timeout=20, check=False)
    assert done.returncode == USAGE
    assert re.fullmatch(rb"dmemfsd: error: [^\n]+\n", done.stderr)


# --- the configuration ---

def test_check_is_silent_and_changes_nothing(machine):
    machine.check_passes()
    assert sorted(path.name for path in machine.work.iterdir() if path.suffix != ".sh") == ["dmemfsd.conf", "mnt"]
    assert not machine.memory_dir.exists()


@pytest.mark.parametrize("mode", [[], ["--foreground"], ["--check-config"], ["--dump-config"]])
def test_every_mode_reports_a_bad_file(machine, mode):
    machine.configure(size="3M")
    machine.fails("--config", machine.config, *mode,
                  says=[f"{machine.config}:5: [daemon] size: \"3M\" is not a multiple of page-size, 2M: use 2M"])


@pytest.mark.parametrize("keys, groups, says", [
    ({"mountpoint": "/nonexistent/mnt"}, "", [":2: [daemon] mountpoint: ", "does not exist", "mkdir -p /nonexistent/mnt"]),
    ({"state_dir": "/nonexistent/a/b"}, "", [":3: [daemon] state-dir: ", "cannot be made", "mkdir -p /nonexistent/a"]),
    ({"state_dir": "/" + 300 * "x"}, "", ["[daemon] state-dir: ", "File name too long", "can be reached"]),
    ({"state_dir": "/proc/dmemfs"}, "", ["[daemon] state-dir: ", "/proc/dmemfs is on a pseudo file system", "on a disk"]),
    ({"state_dir": "/sys/fs"}, "", ["[daemon] state-dir: ", "/sys/fs is on a pseudo file system"]),
    ({"memory_dir": "/sys/dmemfs"}, "", [":4: [daemon] memory-dir: ", "is not on tmpfs", "/dev/shm"]),
])
def test_what_the_machine_lacks(machine, keys, groups, says):
    machine.configure(groups, **keys)
    machine.check_fails(*says)
    machine.fails("--config", machine.config, "--foreground", says=says)
    machine.fails("--config", machine.config, says=says)
    machine.dump(machine.config)  # judges the text alone


def test_memory_dir_of_an_unknown_backend(machine):
    machine.configure(backend="pnf", memory_dir="/sys/dmemfs")
    machine.check_fails("[daemon] backend: ", "pnf")


def test_every_mistake_is_reported_in_one_run(machine):
    """Each with its line. What depends on a wrong value is not judged: size on page-size, the ranges of [region bad] on its start."""
    other = machine.work / "missing" / "mnt"
    groups = """[region bad]
start=1Q
size=4M
[region below]
start=4M
size=4M
node=9999
[region above]
start=6M
size=4M
[region odd]
start=2M
size=3M
[demon]
threads=0
[quota q]
path=tenant
max-bytes=0
no equals sign
"""
    machine.configure(groups, mountpoint=other, state_dir="/proc/dmemfs", memory_dir="here", size=None, page_sise="2M", threads=0)
    expected = [f"{machine.config}:{said}" for said in (
        '25: the line "no equals sign" has no \'=\'', '5: [daemon] page-sise: unknown key, did you mean "page-size"?',
        "20: [demon]: unknown group", '4: [daemon] memory-dir: "here" is a relative path', '6: [daemon] threads: "0" is not valid',
        '8: [region bad] start: "1Q" is not a size', '13: [region below] node: "9999" is not valid',
        '19: [region odd] size: "3M" is not a multiple', '23: [quota q] path: "tenant" is a relative path',
        "24: [quota q] max-bytes: is zero", "15: [region above] start: the region overlaps [region below]",
        f"2: [daemon] mountpoint: {other} does not exist", "3: [daemon] state-dir: /proc/dmemfs is on a pseudo file system")]
    for mode in (["--check-config"], ["--foreground"], []):
        done = machine.run("--config", machine.config, *mode)
        assert (done.returncode, done.stdout) == (FAILURE, "")
        said = done.stderr.splitlines()
        assert len(said) == len(expected), done.stderr
        for line, begin in zip(said, expected):
            assert line.startswith(f"dmemfsd: error: {begin}")
            assert ": " in line[len("dmemfsd: error: ") + len(begin):], "no remedy"


def test_ordinary_memory_is_not_lent(machine):
    machine.configure(lend="on")
    machine.check_fails("[daemon] lend: on needs backend=pfn", "use off")


def test_another_file_as_the_configuration(machine):
    """Its mistakes do not flood the log."""
    machine.config.write_text(1000 * "tcpmux 1/tcp\n")
    said = machine.run("--config", machine.config, "--check-config").stderr.splitlines()
    assert len(said) == 101
    assert said[99].startswith(f"dmemfsd: error: {machine.config}:100: ")
    assert said[100] == f"dmemfsd: error: {machine.config}: more than 100 mistakes: is this a configuration of dmemfsd?"


def test_missing_file(machine):
    machine.fails("--config", "none.conf", "--check-config", says=["none.conf: cannot open: No such file", "--config"])
    machine.fails("--config=", "--check-config", says=["cannot open: No such file"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_without_config_it_is_that_of_etc(machine):
    """In a mount namespace of its own, so that /etc of this machine does not matter."""
    script = 'mount -t tmpfs none /etc && mkdir /etc/dmemfs && cp "$2" /etc/dmemfs/dmemfsd.conf && "$1" --dump-config'
    arguments = [machine.program, machine.config]
    found = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *arguments], capture_output=True, text=True,
                           timeout=20, check=False)
    assert (found.returncode, found.stdout) == (OK, machine.dump(machine.config)), found.stderr
    script = 'mount -t tmpfs none /etc && "$1" --check-config'
    missing = subprocess.run(["unshare", "--mount", "sh", "-c", script, "sh", *arguments], capture_output=True, text=True,
                             timeout=20, check=False)
    assert missing.returncode == FAILURE
    assert "/etc/dmemfs/dmemfsd.conf: cannot open: No such file" in missing.stderr


def test_value_attached_to_a_short_option(machine):
    assert machine.dump(machine.config) == machine.run(f"-c{machine.config}", "--dump-config").stdout


def test_directory_instead_of_a_file(machine):
    machine.fails("--config", machine.work, "--check-config", says=[f"{machine.work}: is a directory: name a file"])


def test_device_and_fifo_instead_of_a_file(machine):
    fifo = machine.work / "fifo"
    os.mkfifo(fifo)
    machine.fails("--config", fifo, "--check-config", says=["is not a regular file: "])
    machine.fails("--config", "/dev/zero", "--check-config", says=["is not a regular file: "])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_unreadable_file(machine):
    machine.config.chmod(0o600)
    machine.fails_for_nobody("--config", machine.config, "--check-config",
                             says=[f"{machine.config}: cannot open: Permission denied: run as root\n"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_other_users_directories(machine):
    machine.state_dir.mkdir()
    machine.fails_for_nobody("--config", machine.config, "--check-config",
                             says=["[daemon] state-dir: ", "belongs to user 0 (mode 0755): run as root, or name another"])
    machine.state_dir.rmdir()
    machine.fails_for_nobody("--config", machine.config, "--check-config",
                             says=["[daemon] state-dir: ", "cannot be made", "Permission denied: run as root\n"])


def test_fewer_descriptors_than_threads_need(machine):
    """
    A low limit of open files is refused at the start: each thread needs a few descriptors, whatever files are open.
    """
    machine.configure(threads=256)
    machine.fails("--config", machine.config, "--check-config", says=["[daemon] threads: 256 threads need up to 832 ", "is 256: "],
                  preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256)))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_more_than_the_ram_is_a_warning(machine):
    ram = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGESIZE")
    machine.memory_dir = machine.work / "large"
    machine.memory_dir.mkdir(mode=0o700)
    machine.configure(size=f"{(ram >> 30) + 1}G")
    with tmpfs(machine.memory_dir, "size=1P,mode=0700"):
        done = machine.run("--config", machine.config, "--check-config")
        assert (done.returncode, done.stdout) == (OK, "")
        assert re.fullmatch(r"dmemfsd: warning: .*\[daemon\] size: this machine has .* of RAM, but the size is .*: lower the size\n",
                            done.stderr)
        machine.configure(size=f"{ram >> 30}G")
        machine.check_passes()


def test_directory_of_the_metrics_is_missing(machine):
    """A daemon starts all the same, and tries again."""
    machine.configure(metrics_file=machine.work / "metrics" / "dmemfs.prom")
    done = machine.run("--config", machine.config, "--check-config")
    directory = machine.work / "metrics"
    assert (done.returncode, done.stderr) == (
        OK, f"dmemfsd: warning: {machine.config}:6: [daemon] metrics-file: {directory} does not exist: run mkdir -p {directory}, "
            "or name another file\n")
    directory.mkdir()
    machine.check_passes()


def test_small_tmpfs_is_a_warning(machine):
    machine.configure(size="1P")
    done = machine.run("--config", machine.config, "--check-config")
    assert (done.returncode, done.stdout) == (OK, "")
    assert re.fullmatch(r"dmemfsd: warning: .*\[daemon\] memory-dir: .*, but the size is 1\.0.PiB: .*\n", done.stderr)
    machine.configure("[region a]\nstart=0\nsize=512T\n[region b]\nstart=1P\nsize=512T\n", size=None)
    assert machine.run("--config", machine.config, "--check-config").stderr == done.stderr
    machine.configure(size="1P", populate="false")
    machine.check_passes()


@pytest.mark.parametrize("keys, groups", [
    ({}, ""),
    ({"size": None, "memory_dir": None}, ""),
    ({"size": "0x7fc00000", "page_size": "4K", "threads": 9, "populate": "false"}, ""),
    ({"size": None}, "[region b]\nstart=6G\nsize=2G\n[region a]\nstart=4G\nsize=2G\nnode=1\n"),
    ({"size": None, "memory_dir": None, "backend": "pfn"}, "[region a]\nstart=auto\n"),
    ({"size": None, "memory_dir": None, "backend": "pfn", "alloc": "demand", "overcommit": 1.5, "demand_extent": "1G"},
     "[region a]\nstart=auto\n"),
    ({"mountpoint": "/a b\\s", "alloc": "eager"}, "[quota q]\npath=/q\nmax-bytes=1G\n"),
])
def test_dump_reads_back_to_the_same(machine, keys, groups):
    machine.configure(groups, **keys)
    first = machine.dump(machine.config)
    copy = machine.work / "copy.conf"
    copy.write_text(first)
    assert machine.dump(copy) == first


def test_dump_has_every_key_of_the_example(machine):
    """
    The dump has the keys of [daemon] in the example. Its [region] and [quota] groups are alternatives, so they are
    left out.
    """
    example = (Path(__file__).parents[2] / "configs" / "dmemfsd.conf").read_text()
    machine.configure(metrics_file="/run/dmemfs.prom")  # it has no default
    keys = {line.split("=")[0] for line in machine.dump(machine.config).splitlines() if "=" in line}
    assert keys == set(re.findall(r"^#([a-z-]+)=", example.split("#[region")[0], re.MULTILINE))


# --- mount points ---

@contextmanager
def tmpfs(mountpoint, options="defaults"):
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", mountpoint], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", mountpoint], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_mount_point_in_use(machine):
    with tmpfs(machine.mountpoint):
        machine.check_fails("[daemon] mountpoint: ", f"{machine.mountpoint} is a mount point already: unmount it")
    machine.check_passes()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount")
def test_stale_mount_is_named_with_its_remedy(machine):
    os.close(mount_silent_fuse(machine.mountpoint))  # as a daemon does that dies
    line = machine.check_fails("[daemon] mountpoint: ", "is the stale mount of a daemon that died")
    machine.fails("--config", machine.config, "--foreground", says=["is the stale mount of a daemon that died"])
    remedy = re.search(r": run (fusermount3 -u .*)\n", line).group(1)
    subprocess.run(remedy, shell=True, check=True)
    machine.check_passes()


# --- the log ---

def test_closed_standard_files(machine):
    """
    The caller may have closed standard input, output or error. The log must not go into a file that the daemon
    opens later.
    """
    machine.configure(size="3M")
    for closed in ("0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"):
        script = f'"$0" --config "$1" --check-config {closed}'
        done = subprocess.run(["sh", "-c", script, machine.program, machine.config], capture_output=True, text=True,
                              timeout=20, check=False)
        assert done.returncode == FAILURE
        assert done.stdout == ""
        assert done.stderr.count("\n") == (0 if "2>&-" in closed else 1)


def test_reader_of_the_log_is_gone(machine):
    machine.configure(size="3M")
    reader, writer = os.pipe()
    os.close(reader)
    done = machine.run("--config", machine.config, capture_output=False, stdout=subprocess.PIPE, stderr=writer)
    os.close(writer)
    assert done.returncode == FAILURE


@pytest.mark.parametrize("level, lines", [("error", 0), ("warning", 0), ("info", 2), ("debug", 2)])
@pytest.mark.page_sizes("2M")
def test_log_level(daemon, page_size, level, lines):
    command = daemon.command
    daemon.command = lambda *options: command(*options, "--log-level", level)
    daemon.start()
    daemon.stop()
    assert len(re.findall("^dmemfsd: info: ", daemon.log, re.MULTILINE)) == lines
    assert (daemon.log == "") == (lines == 0)


@pytest.mark.page_sizes("2M")
def test_debug_log_has_a_line_for_each_request(daemon, page_size):
    command = daemon.command
    daemon.command = lambda *options: command(*options, "--log-level", "debug")
    daemon.start()
    directory = daemon.mountpoint / "a\nb"
    (directory / "c").mkdir(parents=True)
    with pytest.raises(OSError):
        directory.rmdir()
    ino = os.stat(directory).st_ino
    os.setxattr(directory, "user.name", b"value")
    daemon.stop()
    for said in (r'mkdir inode 1 "a\nb": ok', r'rmdir inode 1 "a\nb": Directory not empty',
                 f'setxattr inode {ino} "user.name": ok'):
        assert re.search(rf"^dmemfsd: debug: {re.escape(said)}, \d+ us, pid {os.getpid()}, uid 0$", daemon.log, re.MULTILINE)
