// SPDX-License-Identifier: GPL-2.0-or-later
/* One line for each FUSE request. */
#include "connection/request_trace.h"

#include <glib.h>
#include <inttypes.h>
#include <linux/fuse.h>
#include <string.h>

#include "base/log.h"
#include "connection/request_count.h"

/* The offset of the name in a request, counted from the end of its header; -1: the request has no name. */
static int name_offset(uint32_t opcode)
{
	switch (opcode) {
	case FUSE_LOOKUP:
	case FUSE_SYMLINK:
	case FUSE_UNLINK:
	case FUSE_RMDIR:
	case FUSE_REMOVEXATTR:
		return 0;
	case FUSE_MKNOD:
		return sizeof(struct fuse_mknod_in);
	case FUSE_MKDIR:
		return sizeof(struct fuse_mkdir_in);
	case FUSE_CREATE:
		return sizeof(struct fuse_create_in);
	case FUSE_RENAME:
		return sizeof(struct fuse_rename_in);
	case FUSE_RENAME2:
		return sizeof(struct fuse_rename2_in);
	case FUSE_LINK:
		return sizeof(struct fuse_link_in);
	case FUSE_SETXATTR: /* without FUSE_SETXATTR_EXT, which the daemon does not ask for */
		return FUSE_COMPAT_SETXATTR_IN_SIZE;
	case FUSE_GETXATTR:
		return sizeof(struct fuse_getxattr_in);
	default:
		return -1;
	}
}

void request_trace(const void *request, size_t size, int result, int64_t us)
{
	const char *bytes = request;
	struct fuse_in_header in;

	if (!log_wants(LOG_LEVEL_DEBUG))
		return;
	memcpy(&in, request, sizeof(in));

	int offset = name_offset(in.opcode);
	size_t begin = sizeof(in) + (size_t)MAX(offset, 0);
	const char *known = request_count_name(in.opcode);
	g_autofree char *operation = known ? g_strdup(known) : g_strdup_printf("operation %u", in.opcode);
	g_autofree char *name = offset < 0 || begin >= size ? NULL : g_strndup(bytes + begin, size - begin);

	log_debug("%s inode %" PRIu64 "%s%s%s: %s, %" PRId64 " us, pid %u, uid %u", operation, (uint64_t)in.nodeid,
	          name ? " \"" : "", name ? name : "", name ? "\"" : "", result ? g_strerror(-result) : "ok", us,
	          in.pid, in.uid);
}
