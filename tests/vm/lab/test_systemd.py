# SPDX-License-Identifier: GPL-2.0-or-later
"""
The service under a real systemd, on the host's side: boots VMs with systemd as their first process, one with what `meson
install` installs and one with the Debian package, and judges each of ../service/*.py, which run in there.
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
SERVICE = TOP / "tests" / "vm" / "service"
PYTEST = ("/usr/bin/python3", "-m", "pytest", "-c", str(TOP / "tests" / "pytest.ini"), "-p", "plugins.results",
          "-q", "--no-header", "--tb=short")


def names(checks):
    return re.findall(r"^def (test_\w+)", (SERVICE / checks).read_text(), re.MULTILINE)


def run_in_vm(directory, checks, variable, where):
    """
    {name of a check: [its outcomes, one per parameter]}, and "output": what pytest wrote. @variable tells the checks @where
    they find what they install.
    """
    parser = argparse.ArgumentParser()
    add_suite_options(parser)
    options = parser.parse_args(["--systemd", "--timeout", "2400", "--logs", str(directory / "logs"),
                                 "--visible", str(where), "--env", f"{variable}={where}"])
    machine = prepare(options)
    output = bytearray()
    found = {name: [] for name in names(checks)}

    def observe(message):
        if "end" in message:
            found[re.search(r"::(\w+)", message["end"])[1]].append(message["outcome"])

    status = run_session(machine, options, [*PYTEST, str(SERVICE / checks)], observe, output=output.extend)
    found["output"] = output.decode(errors="replace")
    console = (directory / "logs" / "console.log").read_text(errors="replace")
    assert status in (0, 1), f"{found['output']}\n{console[-3000:]}"
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("systemd")
    build = Path(os.environ.get("DMEMFS_BUILD", TOP / "build"))
    subprocess.run(["meson", "install", "-C", build, "--no-rebuild", "--destdir", directory / "input"], check=True,
                   stdout=subprocess.DEVNULL)
    return run_in_vm(directory, "checks.py", "DMEMFS_DESTDIR", directory / "input")


@pytest.fixture(scope="module")
def packaged(tmp_path_factory, packages):
    return run_in_vm(tmp_path_factory.mktemp("packages"), "packages.py", "DMEMFS_PACKAGES", packages)


@pytest.mark.parametrize("name", names("checks.py"))
def test_service(installed, name):
    assert installed[name] and set(installed[name]) == {"passed"}, installed["output"]


@pytest.mark.parametrize("name", names("packages.py"))
def test_package(packaged, name):
    assert packaged[name] and set(packaged[name]) == {"passed"}, packaged["output"]
