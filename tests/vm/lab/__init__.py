# SPDX-License-Identifier: GPL-2.0-or-later
"""The VM laboratory: boots Debian's kernel on this machine's own root, read-only, and runs one command there."""
