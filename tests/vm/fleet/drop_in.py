# SPDX-License-Identifier: GPL-2.0-or-later
"""The second boot goes on: libvirt with the drop-in that dmemfsd(8) names. Debian starts libvirt when a client connects."""

import os
import subprocess
from contextlib import contextmanager

from fleet.host import CONFIG, ROOT, TIMEOUT, run
from helpers.mount import wait_until
from helpers.processes import mounts_under

SOCKETS = ("libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket")
CLIENT = ("virsh", "-q", "-c", "qemu:///system", "list")


def state(unit):
    return run("systemctl", "show", "--value", "-p", "ActiveState", unit).strip()


def said(unit, text):
    """How often the unit said so."""
    return run("journalctl", "--unit", unit, "--output=cat").count(text)


def refusals():
    return said("libvirtd", f"dmemfs is not mounted at {ROOT}")


def libvirt_runs():
    return run("systemctl", "show", "--value", "-p", "MainPID", "libvirtd") != "0\n"


def stop_all():
    run("systemctl", "stop", *SOCKETS, "libvirtd", "dmemfsd")
    assert not mounts_under(ROOT) and not libvirt_runs()


@contextmanager
def wrong_configuration():
    """dmemfsd does not start within the block."""
    good = CONFIG.read_text()
    CONFIG.write_text(f"{good}\nbananas=1\n")
    try:
        yield
    finally:
        CONFIG.write_text(good)


def test_libvirt_starts_dmemfsd():
    stop_all()
    run("systemctl", "start", "libvirtd")
    assert state("dmemfsd") == "active" and os.path.ismount(ROOT)
    run(*CLIENT)


def test_libvirt_does_not_start_without_the_mount():
    """Once the configuration is right, dmemfsd and libvirt start by themselves."""
    stop_all()
    before = refusals()
    with wrong_configuration():
        run("systemctl", "start", "libvirtd", status=1)
        assert refusals() > before and not libvirt_runs()
    wait_until(lambda: state("libvirtd") == "active", "libvirt runs", TIMEOUT)
    assert os.path.ismount(ROOT)


def test_client_gets_no_libvirt_without_the_mount():
    """It waits at the socket, as long as it likes."""
    stop_all()
    run("systemctl", "start", *SOCKETS)
    before = refusals()
    with wrong_configuration():
        client = subprocess.Popen(CLIENT)
        wait_until(lambda: refusals() >= before + 2, "libvirt tries again", TIMEOUT)
        assert client.poll() is None and not libvirt_runs() and not mounts_under(ROOT)
    assert client.wait(TIMEOUT) == 0
    assert os.path.ismount(ROOT) and state("libvirtd.socket") == "active"


def test_systemd_does_not_wait_for_the_mount():
    """The mount is there, but no daemon that answers: systemd, which has to start the next one, must ask nothing of it."""
    run("systemctl", "start", "dmemfsd", "libvirtd")
    with wrong_configuration():
        (ROOT / "file").touch()  # the kernel knows the attributes of the root no more
        run("systemctl", "restart", "dmemfsd", status=1)
        assert str(ROOT) in mounts_under(ROOT)
        before = refusals()
        run("systemctl", "--no-block", "restart", "libvirtd")
        wait_until(libvirt_runs, "libvirt has passed its check", TIMEOUT)
        assert refusals() == before
    wait_until(lambda: state("dmemfsd") == state("libvirtd") == "active", "both run", TIMEOUT)
    (ROOT / "file").unlink()
