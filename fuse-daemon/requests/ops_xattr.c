// SPDX-License-Identifier: GPL-2.0-or-later
/* FUSE requests on extended attributes: those that users store, and the virtual ones of dmemfs. */
#include <errno.h>
#include <linux/limits.h>
#include <string.h>

#include "requests/ops.h"
#include "requests/vxattr.h"

void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	struct server *server = ops_server(req);

	if (vxattr_is_virtual(name))
		ops_reply(req, vxattr_set(server, fuse_req_ctx(req)->uid, ino, name, size ? value : "", size, flags));
	else
		ops_reply(req, namespace_setxattr(server->ns, ino, name, value, size, flags));
}

static int get(fuse_req_t req, fuse_ino_t ino, const char *name, void **value, size_t *size)
{
	struct server *server = ops_server(req);
	char *text = NULL;

	if (!vxattr_is_virtual(name))
		return namespace_getxattr(server->ns, ino, name, value, size);

	int err = vxattr_get(server, fuse_req_ctx(req)->uid, ino, name, &text);

	*value = text;
	*size = text ? strlen(text) : 0;
	return err;
}

void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	g_autofree void *value = NULL;
	size_t length = 0;
	int err = get(req, ino, name, &value, &length);

	if (!err && size > 0 && length > size)
		err = -ERANGE;
	if (err)
		ops_reply(req, err);
	else if (size == 0)
		fuse_reply_xattr(req, length);
	else
		fuse_reply_buf(req, value, length);
}

void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	g_autofree char *list = g_malloc(size);
	bool privileged = fuse_req_ctx(req)->uid == 0;
	ssize_t length = namespace_listxattr(ops_server(req)->ns, ino, privileged, list, size);

	if (length < 0)
		ops_reply(req, (int)length);
	else if (size == 0)
		fuse_reply_xattr(req, (size_t)length);
	else
		fuse_reply_buf(req, list, (size_t)length);
}

void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	struct server *server = ops_server(req);

	if (vxattr_is_virtual(name))
		ops_reply(req, vxattr_set(server, fuse_req_ctx(req)->uid, ino, name, NULL, 0, 0));
	else
		ops_reply(req, namespace_removexattr(server->ns, ino, name));
}
