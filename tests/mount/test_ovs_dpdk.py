# SPDX-License-Identifier: GPL-2.0-or-later
"""Open vSwitch with DPDK: its vhost ports map the guest's memory, and read frames out of it."""

import os
import subprocess
from pathlib import Path

import pytest

from helpers.counting import SCALE, TIMEOUT, CountingGuest
from helpers.mount import wait_until

PROGRAM = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
CONFIG = ("dpdk-init=true", 'dpdk-extra="--no-huge --legacy-mem --no-pci --no-shconf --no-telemetry -m 256"', "dpdk-lcore-mask=1",
          "pmd-cpu-mask=2", "per-port-memory=true", "stats-update-interval=1000")

pytestmark = [pytest.mark.page_sizes("2M"), pytest.mark.timeout(120), pytest.mark.memory_only("it has not passed in the VM yet"),
              pytest.mark.skipif(not PROGRAM.exists(), reason="needs openvswitch-switch-dpdk"),
              pytest.mark.skipif(os.cpu_count() < 2, reason="the switch polls with a CPU of its own")]


class Switch:
    """A switch with its database, and with one port whose socket is "vhost" in @work. The guest's monitor is its server."""

    def __init__(self, work):
        self._work = work
        self._environment = {**os.environ, "OVS_RUNDIR": str(work), "OVS_LOGDIR": str(work), "OVS_DBDIR": str(work)}
        self._programs = []

    def __enter__(self):
        try:
            self._start_all()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start_all(self):
        self._run("ovsdb-tool", "create", "db", SCHEMA)
        self._start("ovsdb-server", "db", "--remote=punix:db.sock", "--unixctl=db.ctl")
        wait_until((self._work / "db.sock").exists, "the database answers", TIMEOUT)
        self._control("--no-wait", "init")
        self._control("--no-wait", "set", "Open_vSwitch", ".", *(f"other_config:{setting}" for setting in CONFIG))
        self.pid = self._start(PROGRAM, "unix:db.sock", "--unixctl=vs.ctl")
        self._wait_for_switch()
        self._control("add-br", "br0", "--", "set", "bridge", "br0", "datapath_type=netdev")
        self._control("add-port", "br0", "vhost0", "--", "set", "interface", "vhost0", "type=dpdkvhostuserclient",
                      "options:vhost-server-path=vhost")

    def __exit__(self, *exception):
        for program in reversed(self._programs):
            program.terminate()
            program.wait()

    def _wait_for_switch(self):
        """Without it, ovs-vsctl waits in vain."""
        log = self._work / f"{PROGRAM.name}.log"
        wait_until(lambda: "DPDK Enabled - initialized" in log.read_text() or self._programs[-1].poll() is not None,
                   "the switch has its memory", TIMEOUT)
        assert self._programs[-1].poll() is None, log.read_text()[-3000:]

    def _run(self, *command):
        return subprocess.run(command, cwd=self._work, env=self._environment, check=True, capture_output=True, text=True,
                              timeout=60 * SCALE).stdout

    def _start(self, *command):
        with open(self._work / f"{Path(command[0]).name}.log", "wb") as log:
            self._programs.append(subprocess.Popen(command, cwd=self._work, env=self._environment, stdout=log, stderr=log))
        return self._programs[-1].pid

    def _control(self, *arguments):
        return self._run("ovs-vsctl", f"--timeout={int(40 * SCALE)}", "--db=unix:db.sock", *arguments).strip()

    def received(self):
        """The frames that the guest has sent."""
        return int(self._control("--if-exists", "get", "interface", "vhost0", "statistics:rx_packets") or 0)


def test_switch_reads_frames_out_of_the_memory(fs, work):
    """The network boot of the guest's firmware asks for an address."""
    with Switch(work) as switch, CountingGuest(
            work, fs / "vm1", "-chardev", "socket,id=net,path=vhost,server=on,wait=off", "-netdev", "vhost-user,id=net,chardev=net",
            "-device", "virtio-net-pci,netdev=net,bootindex=0"):
        wait_until(lambda: switch.received() > 0, "the switch has a frame of the guest", 60 * SCALE)
        assert str(fs / "vm1") in Path(f"/proc/{switch.pid}/maps").read_text()
