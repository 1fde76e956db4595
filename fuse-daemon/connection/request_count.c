// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts the FUSE requests that this process has answered. */
#include "connection/request_count.h"

#include <glib.h>
#include <linux/fuse.h>

static const char *const names[REQUEST_COUNT_OPCODES] = {
	[FUSE_LOOKUP] = "lookup",
	[FUSE_FORGET] = "forget",
	[FUSE_GETATTR] = "getattr",
	[FUSE_SETATTR] = "setattr",
	[FUSE_READLINK] = "readlink",
	[FUSE_SYMLINK] = "symlink",
	[FUSE_MKNOD] = "mknod",
	[FUSE_MKDIR] = "mkdir",
	[FUSE_UNLINK] = "unlink",
	[FUSE_RMDIR] = "rmdir",
	[FUSE_RENAME] = "rename",
	[FUSE_LINK] = "link",
	[FUSE_OPEN] = "open",
	[FUSE_READ] = "read",
	[FUSE_WRITE] = "write",
	[FUSE_STATFS] = "statfs",
	[FUSE_RELEASE] = "release",
	[FUSE_FSYNC] = "fsync",
	[FUSE_SETXATTR] = "setxattr",
	[FUSE_GETXATTR] = "getxattr",
	[FUSE_LISTXATTR] = "listxattr",
	[FUSE_REMOVEXATTR] = "removexattr",
	[FUSE_FLUSH] = "flush",
	[FUSE_INIT] = "init",
	[FUSE_OPENDIR] = "opendir",
	[FUSE_READDIR] = "readdir",
	[FUSE_RELEASEDIR] = "releasedir",
	[FUSE_FSYNCDIR] = "fsyncdir",
	[FUSE_CREATE] = "create",
	[FUSE_INTERRUPT] = "interrupt",
	[FUSE_BATCH_FORGET] = "batch_forget",
	[FUSE_FALLOCATE] = "fallocate",
	[FUSE_READDIRPLUS] = "readdirplus",
	[FUSE_RENAME2] = "rename2",
	[FUSE_LSEEK] = "lseek",
	[FUSE_COPY_FILE_RANGE] = "copy_file_range",
	[FUSE_TMPFILE] = "tmpfile",
};

static struct {
	_Atomic uint64_t requests;
	_Atomic uint64_t us;
} counts[REQUEST_COUNT_OPCODES];

void request_count_add(uint32_t opcode, int64_t us)
{
	if (opcode >= REQUEST_COUNT_OPCODES)
		return;
	counts[opcode].requests++;
	counts[opcode].us += (uint64_t)MAX(us, 0);
}

struct request_count request_count_get(uint32_t opcode)
{
	return (struct request_count){ .requests = counts[opcode].requests, .us = counts[opcode].us };
}

const char *request_count_name(uint32_t opcode)
{
	return opcode < REQUEST_COUNT_OPCODES ? names[opcode] : NULL;
}
