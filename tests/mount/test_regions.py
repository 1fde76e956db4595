# SPDX-License-Identifier: GPL-2.0-or-later
"""The regions of the configuration are changed: files keep their memory, or the start is refused."""

import os
import re

import pytest

from helpers.daemon import DaemonError


@pytest.mark.memory_only("imaginary regions")
@pytest.mark.page_sizes("4K")
def test_regions_may_change_where_no_file_lies(fs):
    """A region of the earlier configuration may go when no file has memory in it."""
    daemon_keys = re.sub(r"^size=.*\n", "", fs.daemon.config.read_text(), flags=re.MULTILINE)

    def configure(start):
        fs.daemon.config.write_text(f"{daemon_keys}[region a]\nstart={start}\nsize={fs.capacity}\n")

    fs.daemon.stop()
    for start, other in (("4G", "8G"), ("8G", "1T")):
        configure(start)
        fs.daemon.start()
        fs.make_file("file", start.encode())
        fs.daemon.stop()
        configure(other)
        fs.daemon.expected.append("no .region. of the configuration contains it")
        with pytest.raises(DaemonError, match="restore the region"):
            fs.daemon.start()
        configure(start)
        fs.daemon.next()
        assert (fs / "file").read_bytes() == start.encode()
        os.unlink(fs / "file")
        fs.wait_free(fs.capacity)
        fs.daemon.stop()
    fs.daemon.start()
