# SPDX-License-Identifier: GPL-2.0-or-later
"""Names of figures that more than one module knows: those that measure, and those that judge."""

COST = "memory cost of guest memory, per GiB"
COST_GROWS = "memory cost that grows with the guests, per GiB"
COST_PARTS = "memory of dmemfs itself: {}"
TOUCH = "create, size and first touch of 1 GiB"
TOUCH_FAULTS = "faults of that touch"
START = "start of a nested KVM guest to its first process, CPU time"
FAULTS = "nested page faults of that start"
HUGE = "pages of {} that KVM has mapped by then"
VFIO = "VFIO, {} of 1 GiB"
GUEST_CHASE = "pointer chase in a nested guest, a step"
GUEST_STREAM = "stream in a nested guest"
BOUND_CHASE = "pointer chase on a mapping, a step"
BOUND_STREAM = "stream on a mapping"
FIO = "fio, mmap, random {} of 4 KiB"
ZEROING = "zeroing, of memset's rate"
RESTART_WAIT = "a client's wait for it"
METADATA = "rate of {}, of passthrough_hp's on tmpfs"

PROGRESS = "..."  # begins what programs in a VM say on their way; their result is the last line
