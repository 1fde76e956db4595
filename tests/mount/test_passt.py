# SPDX-License-Identifier: GPL-2.0-or-later
"""passt, the network of a guest without privileges on the host: QEMU copies the frames, or passt maps the guest's memory."""

import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

from helpers.control import Control
from helpers.counting import SCALE, TIMEOUT, CountingGuest
from helpers.mount import wait_until

ADDRESS = ("--address", "192.0.2.2", "--netmask", "24", "--gateway", "192.0.2.1", "--ipv4-only", "--no-map-gw")
MESSAGE = b"\x63\x82\x53\x63\x35\x01"  # RFC 2131: the cookie before the first option, which is the type of the message
DISCOVER, REQUEST = (MESSAGE + bytes((kind,)) for kind in (1, 3))
NETDEV = {"stream": ("-netdev", "stream,id=net,server=off,addr.type=unix,addr.path=net/passt"),
          "vhost-user": ("-chardev", "socket,id=net,path=net/passt", "-netdev", "vhost-user,id=net,chardev=net")}


def has_default_route():
    return any(line.split()[1] == "00000000" for line in Path("/proc/net/route").read_text().splitlines())


pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(120),
              pytest.mark.skipif(not shutil.which("passt"), reason="needs passt"),
              pytest.mark.skipif(not has_default_route(), reason="passt does not start on a host without a default route")]


@contextmanager
def passt(work, *options):
    """Its process, which listens at net/passt in @work, and writes all frames to net/frames. It does not stay root."""
    home = work / "net"
    home.mkdir()
    home.chmod(0o777)
    with open(home / "log", "wb") as log:
        process = subprocess.Popen(["passt", "--foreground", "--one-off", "--socket", "passt", "--pcap", "frames", *ADDRESS, *options],
                                   cwd=home, stdout=log, stderr=log)
    try:
        wait_until(lambda: (home / "passt").exists() or process.poll() is not None, "passt listens", TIMEOUT)
        assert process.poll() is None, (home / "log").read_text()
        yield process
    finally:
        process.terminate()
        process.wait()


@contextmanager
def network_boot(work, memory, mode):
    """A guest whose firmware asks for an address. QEMU's Process."""
    with CountingGuest(work, memory, *NETDEV[mode], "-device", "virtio-net-pci,netdev=net,bootindex=0") as guest:
        yield guest.process


def wait_for(message, work):
    frames = work / "net" / "frames"
    wait_until(lambda: frames.exists() and message in frames.read_bytes(), "the frame is there", 60 * SCALE)


def test_the_guest_requests_the_address_that_it_was_offered(fs, work, dmemfsd):
    """So QEMU has written the answer to its memory."""
    with passt(work), network_boot(work, fs / "vm1", "stream") as qemu:
        wait_for(REQUEST, work)
        (file,) = Control(dmemfsd.parent / "dmemfsctl" / "dmemfsctl", work).json("ls", fs.root)["files"]
        assert [user["pid"] for user in file["mapped_by"]] == [qemu.pid]


def test_passt_reads_frames_out_of_the_memory(fs, work):
    """That of Debian 13 ends when it answers iPXE, wherever the memory is: iPXE's buffers are chains of two descriptors."""
    known = subprocess.run(["passt", "--help"], capture_output=True, text=True, check=False)
    if "--vhost-user" not in known.stdout + known.stderr:
        pytest.skip("this passt has no --vhost-user: that of Debian 13 has")
    with passt(work, "--vhost-user"), network_boot(work, fs / "vm1", "vhost-user"):
        wait_for(DISCOVER, work)
