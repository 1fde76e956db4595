# SPDX-License-Identifier: GPL-2.0-or-later
"""Code that the tests on a real mount share: system calls, the daemon, accounting, clean-up."""
