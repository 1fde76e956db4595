# SPDX-License-Identifier: GPL-2.0-or-later
"""overlayfs on the mount: a read-only image below, each user's changes elsewhere."""

import subprocess
from contextlib import contextmanager

import pytest

from helpers.syscalls import PROT_READ, Mapping, opened

pytestmark = pytest.mark.page_sizes("4K")


@contextmanager
def _overlay(lower, work):
    """The merged tree. Changes to it go to a tmpfs."""
    layers, merged = work / "layers", work / "merged"
    layers.mkdir()
    merged.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "layers", layers], check=True)
    try:
        (layers / "upper").mkdir()
        (layers / "work").mkdir()
        options = f"lowerdir={lower},upperdir={layers}/upper,workdir={layers}/work"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", options, merged], check=True)
        try:
            yield merged
        finally:
            subprocess.run(["umount", merged], check=True)
    finally:
        subprocess.run(["umount", layers], check=True)


def test_mount_serves_as_the_lower_layer_of_an_overlay(fs, work):
    (fs / "image").mkdir()
    content = bytes(range(256)) * 64
    path = fs.make_file("image/file", content)
    with _overlay(fs / "image", work) as merged:
        assert (merged / "file").read_bytes() == content
        with opened(merged / "file", 0) as fd, Mapping(fd, len(content), prot=PROT_READ) as mapping:
            assert mapping.read(0, len(content)) == content
        with open(merged / "file", "r+b") as file:  # copies it up
            file.write(b"changed")
        assert (merged / "file").read_bytes() == b"changed" + content[7:]
    assert path.read_bytes() == content
