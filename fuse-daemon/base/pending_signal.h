/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether a thread that waits in a system call has a reason to end it. The kernel sends FUSE_INTERRUPT for less than that: also when
 * the thread is stopped by a signal, by a debugger or by the cgroup freezer, and when it only has work to do for io_uring, as soon
 * after a ring was closed. QEMU closes one shortly before it sizes its memory file, and takes EINTR for an error.
 */
#ifndef DMEMFS_PENDING_SIGNAL_H
#define DMEMFS_PENDING_SIGNAL_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Whether @thread has a signal that it handles or that ends it, or is a worker of io_uring. A signal stays pending while the thread
 * waits, unless another thread of the process takes it. True also when nothing is known, see caller_file.h, which also
 * says which locks may be held.
 */
bool pending_signal(pid_t thread);
/* The same for the text of /proc/PID/status; proc(5) describes its fields. */
bool pending_signal_in(const char *status);

#endif
