# SPDX-License-Identifier: GPL-2.0-or-later
"""
The unit under a real systemd, on the host's side: boots a VM with systemd as its first process and with what
`meson install` installs, and judges each of ../service/checks.py, which run in there.
"""

import argparse
import os
import re
import subprocess
from pathlib import Path

import pytest

from lab.launch import run_session
from lab.suite import add_suite_options, prepare

TOP = Path(__file__).parents[3]
CHECKS = TOP / "tests" / "vm" / "service" / "checks.py"
NAMES = re.findall(r"^def (test_\w+)", CHECKS.read_text(), re.MULTILINE)
PYTEST = ("/usr/bin/python3", "-m", "pytest", "-c", str(TOP / "tests" / "pytest.ini"), "-p", "plugins.results",
          "-q", "--no-header", "--tb=short")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """{name of a check: [its outcomes, one per parameter]}, and "output": what pytest wrote."""
    directory = tmp_path_factory.mktemp("systemd")
    parser = argparse.ArgumentParser()
    add_suite_options(parser)
    options = parser.parse_args(["--systemd", "--timeout", "900", "--logs", str(directory / "logs"),
                                 "--visible", str(directory), "--env", f"DMEMFS_DESTDIR={directory / 'dest'}"])
    machine = prepare(options)
    build = Path(os.environ.get("DMEMFS_BUILD", TOP / "build"))
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", directory / "dest"], check=True,
                   stdout=subprocess.DEVNULL)
    output = bytearray()
    found = {name: [] for name in NAMES}

    def observe(message):
        if "end" in message:
            found[re.search(r"::(\w+)", message["end"])[1]].append(message["outcome"])

    status = run_session(machine, options, [*PYTEST, str(CHECKS)], observe, output=output.extend)
    found["output"] = output.decode(errors="replace")
    console = (directory / "logs" / "console.log").read_text(errors="replace")
    assert status in (0, 1), f"{found['output']}\n{console[-3000:]}"
    return found


@pytest.mark.parametrize("name", NAMES)
def test_systemd(outcomes, name):
    assert outcomes[name] and set(outcomes[name]) == {"passed"}, outcomes["output"]
