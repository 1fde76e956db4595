# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs dmemfsctl as a person and as a script does."""

import json
import re
import subprocess

from helpers.daemon import SANITIZERS

DONE, FAILED, USAGE, FOUND, DAEMON = range(5)  # exit statuses


class Control:
    """@work: the directory that it runs in."""

    def __init__(self, program, work):
        self.program = program
        self.work = work

    def run(self, *arguments, **options):
        environment = {**SANITIZERS, "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                       **options.pop("environment", {})}
        return subprocess.run([self.program, *map(str, arguments)], stdin=subprocess.DEVNULL, timeout=30, check=False,
                              cwd=self.work, env=environment, **{"capture_output": True, "text": True, **options})

    def text(self, *arguments, status=DONE, **options):
        """Its output for people. Notes, on standard error, begin with #."""
        done = self.run(*arguments, **options)
        assert done.returncode == status and re.fullmatch(r"(# [^\n]+\n)*", done.stderr), done
        return done.stdout

    def json(self, *arguments, status=DONE, **options):
        """Its output for scripts."""
        done = self.run(*arguments[:1], "--json", *arguments[1:], **options)
        assert (done.returncode, done.stderr) == (status, ""), done
        result = json.loads(done.stdout)
        assert isinstance(result, dict)
        return result

    def fails(self, *arguments, status=FAILED, says=(), lines=1, **options):
        """
        It must fail with so many @lines, one for each mistake, that contain each of @says, and with --json print an object with the
        same message.
        """
        done = self.run(*arguments, **options)
        assert (done.returncode, done.stdout) == (status, ""), done
        assert re.fullmatch(r"(dmemfsctl: error: [^\n]+\n)" f"{{{lines}}}", done.stderr), done.stderr
        for fragment in says:
            assert fragment in done.stderr
        result = self.json(*arguments, status=status, **options)
        assert result.keys() == {"error", "exit_status"}
        assert result["exit_status"] == status
        return done.stderr
