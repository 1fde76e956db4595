# SPDX-License-Identifier: GPL-2.0-or-later
"""
The life of the Debian package: installed, used, upgraded and removed under a guest, installed again, purged.

Environment: DMEMFS_PACKAGES is the directory that tests/setup/build-packages was given; the rest as for checks.py.
"""

import os
import subprocess
from pathlib import Path

import pytest

from service.place import CONFIG, ROOT, device, guest, load, use_module, write_config
from service.unit import Unit

STATE = Path("/var/lib/dmemfs")


@pytest.fixture(scope="module")
def package():
    """The package that was built. Its dependencies are installed for the tests; the module comes from elsewhere."""
    (found,) = Path(os.environ["DMEMFS_PACKAGES"]).glob("dmemfs_*.deb")
    use_module()
    # What keeps services from starting in a container, which this machine's root may be that of.
    Path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)
    # Each change of a package makes an index of all manual pages anew; a machine may have many thousands.
    Path("/var/lib/man-db/auto-update").unlink(missing_ok=True)
    return found


@pytest.fixture(scope="module")
def newer(package, tmp_path_factory):
    """The same package with a higher version."""
    work = tmp_path_factory.mktemp("newer")
    subprocess.run(["dpkg-deb", "-R", package, work / "tree"], check=True)
    control = work / "tree" / "DEBIAN" / "control"
    text = control.read_text()
    assert "\nVersion: 0.2.0\n" in text
    control.write_text(text.replace("\nVersion: 0.2.0\n", "\nVersion: 0.2.0+1\n"))
    subprocess.run(["dpkg-deb", "-b", "-Znone", work / "tree", work / "newer.deb"], check=True, stdout=subprocess.DEVNULL)
    return work / "newer.deb"


@pytest.fixture(scope="module")
def unit():
    return Unit()


def dpkg(*arguments):
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["dpkg", *arguments], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_install_starts_nothing(package, unit):
    dpkg("--install", package)
    assert ROOT.is_dir() and CONFIG.exists()
    assert not unit.is_active() and unit.show("UnitFileState") == "disabled"
    assert not STATE.exists()


def test_operator_starts_it(unit):
    write_config()
    unit.systemctl("enable", "--now")
    assert device() is not None
    (ROOT / "file").write_bytes(b"kept")


def test_upgrade_is_a_pause(newer, unit):
    mounted, pid, config = device(), unit.pid, CONFIG.read_text()
    with guest("vm1") as path, load():
        dpkg("--install", newer)
    assert device() == mounted and unit.pid != pid and unit.is_active()
    assert CONFIG.read_text() == config and unit.show("UnitFileState") == "enabled"
    path.unlink()


def test_upgrade_of_a_stopped_service(package, unit):
    """For dpkg it is a downgrade, which runs the same scripts."""
    unit.systemctl("disable", "--now")
    dpkg("--install", package)
    assert not unit.is_active() and device() is None
    unit.systemctl("enable", "--now")


def test_removal_leaves_the_guest_and_the_record(package, unit):
    with guest("vm1") as path:
        dpkg("--remove", "dmemfs")
        assert device() is None and not Path("/usr/sbin/dmemfsd").exists()
        assert STATE.is_dir() and CONFIG.exists()
        dpkg("--install", package)
        unit.systemctl("start")
        assert path.read_bytes()[:6] == b"before"
    assert (ROOT / "file").read_bytes() == b"kept"


def test_purge_leaves_nothing():
    dpkg("--purge", "dmemfs")
    assert device() is None
    for path in (STATE, CONFIG, Path("/usr/sbin/dmemfsd"), Path("/lib/systemd/system/dmemfsd.service")):
        assert not path.exists(), path
