# SPDX-License-Identifier: GPL-2.0-or-later
"""`meson install`: which file goes where, that there are no others, and the installed scripts."""

import json
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers.mount import wait_until
from helpers.processes import processes_naming

TOP = Path(__file__).parents[2]
CONFIG = "/etc/dmemfs/dmemfsd.conf"
# PREFIX is Meson's option; @unit where systemd looks, which is the system's choice for /usr.
FILES = {
    CONFIG: 0o644,
    "PREFIX/sbin/dmemfsd": 0o755,
    "PREFIX/sbin/dmemfsctl": 0o755,
    "PREFIX/sbin/mount.fuse.dmemfs": 0o755,
    "PREFIX/libexec/dmemfs/unit-stop": 0o755,
    "PREFIX/bin/qemu-aligned": 0o755,
    "PREFIX/libexec/dmemfs/qemu-aligned": 0o755,
    "/etc/apparmor.d/abstractions/libvirt-qemu.d/dmemfs": 0o644,
    "PREFIX/lib/systemd/system/dmemfsd.service": 0o644,
    "PREFIX/lib/udev/rules.d/60-dmemfs.rules": 0o644,
    "PREFIX/lib/modules-load.d/dmemfs.conf": 0o644,
    "PREFIX/lib/tmpfiles.d/dmemfs.conf": 0o644,
    "PREFIX/share/bash-completion/completions/dmemfsctl": 0o644,
    "PREFIX/share/dmemfs/dmemfs.rules.yml": 0o644,
    "PREFIX/share/dmemfs/dmemfs-dashboard.json": 0o644,
    "PREFIX/share/dmemfs/libvirt-requires-dmemfsd.conf": 0o644,
    "PREFIX/share/dmemfs/nova.md": 0o644,
    "PREFIX/share/man/man1/qemu-aligned.1": 0o644,
    "PREFIX/share/man/man5/dmemfs.conf.5": 0o644,
    "PREFIX/share/man/man8/mount.fuse.dmemfs.8": 0o644,
}
PAGES = {"dmemfs.7", "dmemfs-guests.7", "dmemfsctl.8", "dmemfsd.8", "dmemfsd.conf.5"}


@pytest.fixture(scope="module")
def build(dmemfsd):
    """The build directory of the program under test."""
    directory = dmemfsd.parents[1]
    if not (directory / "meson-info").is_dir():
        pytest.skip(f"{dmemfsd} lies in no build directory")
    return directory


@pytest.fixture(scope="module")
def options(build):
    done = subprocess.run(["meson", "introspect", "--buildoptions", build], capture_output=True, text=True, check=True)
    return {option["name"]: option["value"] for option in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def prefix(options):
    return options["prefix"]


def install(build, directory):
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", directory], check=True,
                   stdout=subprocess.DEVNULL)
    return directory


@pytest.fixture(scope="module")
def installed(build, tmp_path_factory):
    """The installation, as below "/"."""
    return install(build, tmp_path_factory.mktemp("installed"))


def test_files_and_modes(installed, prefix):
    expected = {path.replace("PREFIX", prefix): mode for path, mode in FILES.items()}
    if shutil.which("scdoc"):
        expected |= {f"{prefix}/share/man/man{page[-1]}/{page}": 0o644 for page in PAGES}
    found = {f"/{path.relative_to(installed)}": path.stat().st_mode & 0o7777
             for path in installed.rglob("*") if not path.is_dir()}
    if prefix == "/usr":
        found = {re.sub(r"^/lib/systemd", "/usr/lib/systemd", path): mode for path, mode in found.items()}
    assert found == expected


def test_paths_are_those_of_the_prefix(installed, prefix):
    """Each command that a script, a unit or a recipe runs is installed."""
    named = set()
    for path in (f"{prefix}/sbin/mount.fuse.dmemfs", f"{prefix}/libexec/dmemfs/unit-stop",
                 f"{prefix}/lib/systemd/system/dmemfsd.service", f"{prefix}/share/dmemfs/nova.md",
                 "/etc/apparmor.d/abstractions/libvirt-qemu.d/dmemfs"):
        named |= set(re.findall(r"(/\S+/(?:sbin/|libexec/|bin/qemu-aligned)\S*)", (installed / path.lstrip("/")).read_text()))
    assert named == {f"{prefix}/{path}" for path in ("sbin/dmemfsd", "sbin/dmemfsctl", "libexec/dmemfs/unit-stop",
                                                    "bin/qemu-aligned")}


def test_configuration_of_the_operator_stays(build, tmp_path):
    config = tmp_path / CONFIG.lstrip("/")
    config.parent.mkdir(parents=True)
    config.write_text("[daemon]\n")
    install(build, tmp_path)
    assert config.read_text() == "[daemon]\n"


def removed_by_hand():
    """The files and directories that dmemfsd(8) tells to remove after `uninstall`."""
    block = (TOP / "fuse-daemon/man/dmemfsd.8.scd").read_text().partition("# REMOVAL")[2].split("```")[1]
    return set(re.search(r"^rm -r (.*)$", block, re.MULTILINE)[1].split())


def test_uninstall_leaves_what_the_manual_says(build, tmp_path):
    install(build, tmp_path)
    subprocess.run(["meson", "--internal", "uninstall"], cwd=build, check=True, stdout=subprocess.DEVNULL)
    assert {f"/{path.relative_to(tmp_path)}" for path in tmp_path.rglob("*") if not path.is_dir()} == {CONFIG}
    for path in removed_by_hand():
        shutil.rmtree(tmp_path / path.lstrip("/"), ignore_errors=True)
    assert [path for path in tmp_path.rglob("*") if not path.is_dir()] == []


@pytest.mark.skipif(not shutil.which("depmod"), reason="needs depmod")
def test_module_that_was_installed_by_hand_goes_away(tmp_path):
    """Not that of another kernel, nor that of the package."""
    headers = tmp_path / "headers/include/config/kernel.release"
    modules = tmp_path / "root/lib/modules"
    gone, dkms, other = (modules / path for path in ("6.12.0-a/updates/dmemfs.ko.xz", "6.12.0-a/updates/dkms/dmemfs.ko.xz",
                                                     "6.12.0-b/updates/dmemfs.ko.xz"))
    for path in (headers, gone, dkms, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("6.12.0-a\n" if path == headers else "")
    subprocess.run(["make", "-C", TOP / "kmod", "uninstall", f"KERNELDIR={tmp_path}/headers", f"INSTALL_MOD_PATH={tmp_path}/root"],
                   check=True, capture_output=True)
    assert (gone.exists(), dkms.exists(), other.exists()) == (False, True, True)
    assert (modules / "6.12.0-a/modules.dep").exists()


@pytest.fixture
def unit(installed, prefix, work):
    """The unit, with the paths of the commands in this installation."""
    text = (installed / f"{prefix}/lib/systemd/system/dmemfsd.service".lstrip("/")).read_text()
    unit = work / "dmemfsd.service"
    for path in ("sbin/dmemfsd", "sbin/dmemfsctl", "libexec/dmemfs/unit-stop"):
        text = text.replace(f"{prefix}/{path}", f"{installed}{prefix}/{path}")
    unit.write_text(text)
    return unit


needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")


@needs_systemd
def test_unit_is_understood(unit):
    """systemd knows all its keys, and all its commands exist. Man pages are elsewhere."""
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    done = subprocess.run(["systemd-analyze", "security", "--offline=true", "--threshold=40", unit], capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stdout


@needs_systemd
def test_unit_fits_into_every_boot(unit, work):
    """systemd removes a unit from the boot if its order makes a circle with any other unit that the host starts."""
    boot = work / "boot.target"
    boot.write_text(f"[Unit]\nRequires=basic.target\nWants={unit.name} machine.slice virt-guest-shutdown.target "
                    "libvirtd.service virtqemud.service libvirt-guests.service\n"
                    f"After={unit.name}\n")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", boot], capture_output=True, text=True, check=False,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{work}:"})
    assert done.returncode == 0 and "ordering cycle" not in done.stderr, done.stderr


@needs_systemd
def test_libvirt_can_require_it(installed, prefix, unit, work):
    """systemd understands the drop-in, and finds no circle with the unit, which starts before libvirt."""
    drop_in = installed / f"{prefix}/share/dmemfs/libvirt-requires-dmemfsd.conf".lstrip("/")
    libvirt = work / "libvirtd.service"
    libvirt.write_text("[Service]\nExecStart=/bin/true\n")
    (work / "libvirtd.service.d").mkdir()
    shutil.copy(drop_in, work / "libvirtd.service.d")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", libvirt], capture_output=True, text=True, check=False,
                          env={**os.environ, "SYSTEMD_UNIT_PATH": f"{work}:"})
    assert (done.returncode, done.stderr) == (0, "")


def check_of_libvirt(installed, prefix, prepare):
    """The process that runs what the drop-in runs first, after @prepare, when it gets a line. /mnt/dmemfs is its own."""
    drop_in = (installed / f"{prefix}/share/dmemfs/libvirt-requires-dmemfsd.conf".lstrip("/")).read_text()
    (check,) = re.findall(r"^ExecStartPre=(.*)$", drop_in.replace("\\\n", " "), re.MULTILINE)
    commands = f'mount -t tmpfs none /mnt; mkdir /mnt/dmemfs; {prepare}; echo ready; read go; exec "$@"'
    process = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sh", "-ec", commands, "sh", *shlex.split(check)],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.page_sizes("2M")
def test_libvirt_starts_with_the_mount(installed, prefix, fs):
    """The check asks nothing of the mount, whose daemon may not run."""
    with check_of_libvirt(installed, prefix, f"mount --bind {fs.root} /mnt/dmemfs") as process:
        fs.make_file("file").unlink()  # the kernel knows the attributes of the root no more
        with fs.daemon.frozen():
            assert process.communicate("go\n", timeout=20) == ("", "")
    assert process.returncode == 0


@pytest.mark.parametrize("prepare", [":", "mount -t tmpfs none /mnt/dmemfs"], ids=["nothing", "tmpfs"])
def test_libvirt_does_not_start_without_the_mount(installed, prefix, prepare):
    with check_of_libvirt(installed, prefix, prepare) as process:
        _, said = process.communicate("go\n", timeout=20)
    assert process.returncode == 1 and said == "dmemfs is not mounted at /mnt/dmemfs: see systemctl status dmemfsd\n"


@pytest.mark.parametrize("mounted", [False, True])
def test_removed_package_takes_the_mountpoint_with_it(work, mounted):
    """The directory is immutable as tmpfiles.d makes it; what is mounted there stays."""
    script = (TOP / "debian" / "dmemfs.postrm").read_text().replace("/var/lib/dmemfs", str(work / "state"))
    (work / "postrm").write_text(script)
    commands = ("mount -t tmpfs none /mnt; mkdir /mnt/dmemfs; chattr +i /mnt/dmemfs || exit 77\n"
                f"{'mount -t tmpfs none /mnt/dmemfs; ' if mounted else ''}sh {work}/postrm remove; ls /mnt")
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-ec", commands], capture_output=True, text=True,
                          check=False)
    if done.returncode == 77:
        pytest.skip("tmpfs of this kernel has no immutable directories")
    assert (done.returncode, done.stdout, done.stderr) == (0, "dmemfs\n" if mounted else "", "")


MOUNTPOINTS = {"read-only": "mkdir /mnt/dmemfs; mount -o remount,ro /mnt", "link": "mkdir /mnt/other; ln -s other /mnt/dmemfs"}


@pytest.mark.parametrize("commands", MOUNTPOINTS.values(), ids=MOUNTPOINTS.keys())
def test_package_can_be_removed_when_the_mountpoint_cannot(work, commands):
    script = (TOP / "debian" / "dmemfs.postrm").read_text().replace("/var/lib/dmemfs", str(work / "state"))
    (work / "postrm").write_text(script)
    commands = f"mount -t tmpfs none /mnt; {commands}; sh {work}/postrm remove; ls /mnt"
    done = subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-ec", commands], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0 and "dmemfs" in done.stdout.split(), done


# --- the helper of mount(8) ---

@pytest.fixture
def helper(dmemfsd, work, daemon_settings):
    """run(ARGUMENT...): mount.fuse.dmemfs with the daemon under test, and a configuration of its own."""
    script = work / "mount.fuse.dmemfs"
    script.write_text((TOP / "configs" / "mount.fuse.dmemfs").read_text().replace("/usr/sbin/dmemfsd", str(dmemfsd)))

    def run(*arguments):
        return subprocess.run(["sh", script, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)

    return run


@pytest.fixture
def daemon_settings(work):
    """(configuration, mountpoint)"""
    mountpoint = work / "mnt"
    mountpoint.mkdir()
    config = work / "dmemfsd.conf"
    config.write_text(f"[daemon]\nmountpoint={mountpoint}\nstate-dir={work}/state\nsize=64M\nmemory-dir={work}/memory\n")
    (work / "memory").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", work / "memory"], check=True)
    os.chmod(work / "memory", 0o700)
    yield config, mountpoint
    subprocess.run(["umount", work / "memory"], check=True)


def test_helper_mounts(helper, daemon_settings):
    config, mountpoint = daemon_settings
    done = helper(config, mountpoint, "-o", "rw,noauto,nofail,x-systemd.automount,_netdev")
    assert done.returncode == 0 and "error" not in done.stderr, done.stderr
    (mountpoint / "file").write_bytes(b"x")
    again = helper(config, mountpoint)
    assert again.returncode == 32 and "another daemon" in again.stderr
    subprocess.run(["fusermount3", "-u", mountpoint], check=True)
    wait_until(lambda: not processes_naming(str(config)), "the daemon and its parent have ended")


@pytest.mark.parametrize("arguments, status, said", [
    ((), 1, "usage: "),
    (("CONFIG",), 1, "usage: "),
    (("CONFIG", "/elsewhere"), 32, "they must be the same"),
    (("/nowhere.conf", "MOUNTPOINT"), 32, "/nowhere.conf"),
    (("CONFIG", "MOUNTPOINT", "-o", "rw,ro"), 1, "option ro: "),
    (("CONFIG", "MOUNTPOINT", "-o", "remount,rw"), 1, "option remount: "),
    (("CONFIG", "MOUNTPOINT", "-o", "*"), 1, "option *: "),
    (("CONFIG", "MOUNTPOINT", "-Z"), 1, "usage: "),
])
def test_helper_refuses(helper, daemon_settings, arguments, status, said):
    config, mountpoint = daemon_settings
    places = {"CONFIG": config, "MOUNTPOINT": mountpoint}
    done = helper(*(places.get(argument, argument) for argument in arguments))
    assert done.returncode == status
    assert said in done.stderr.splitlines()[0]
    assert not os.path.ismount(mountpoint)


def test_helper_that_shall_do_nothing(helper, daemon_settings):
    config, mountpoint = daemon_settings
    assert helper(config, f"{mountpoint}/", "-f", "-n", "-v").returncode == 0
    assert helper(config, mountpoint, "-f", "-s", "-o", "bananas").returncode == 0
    assert not os.path.ismount(mountpoint)
