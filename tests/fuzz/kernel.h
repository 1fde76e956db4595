/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The kernel's half of FUSE for a fuzz target: sends requests, and knows what every kernel knows: inodes it has looked up and
 * how often, open files, and that each request has one reply.
 */
#ifndef DMEMFS_FUZZ_KERNEL_H
#define DMEMFS_FUZZ_KERNEL_H

#include <fuse_lowlevel.h>
#include <sys/uio.h>

#include "fuzz.h"

struct kernel;

struct kernel *kernel_new(struct fuse_session *fuse);
void kernel_free(struct kernel *kernel);

/* INIT, with all that a kernel can offer. */
void kernel_initialise(struct kernel *kernel);
/* The request that @input describes; returns when it was answered. */
void kernel_send(struct kernel *kernel, struct fuzz_input *input);
/* Closes all files and forgets all inodes, as before an unmount. */
void kernel_forget_all(struct kernel *kernel);

/* What libfuse writes to its connection. Bytes taken, or -1 and errno: the caller did not wait for the answer. */
ssize_t kernel_take_reply(struct kernel *kernel, const struct iovec *iov, int count);

#endif
