# SPDX-License-Identifier: GPL-2.0-or-later
"""Plugins for pytest inside the VM."""
