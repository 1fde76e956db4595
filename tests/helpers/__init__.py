# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests on a real mount share: system calls, the daemon's life, accounting, containment."""
