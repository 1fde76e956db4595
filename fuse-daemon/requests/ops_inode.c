// SPDX-License-Identifier: GPL-2.0-or-later
/* FUSE requests on one inode: forget, attributes, readlink, statfs. */
#include <errno.h>

#include "pool/pool.h"
#include "requests/ops.h"
#include "requests/sizing.h"
#include "store/store.h"

void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	namespace_forget(ops_server(req)->ns, ino, count);
	fuse_reply_none(req);
}

void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		namespace_forget(ops_server(req)->ns, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void reply_attr(fuse_req_t req, int err, const struct stat *attr)
{
	if (err)
		ops_reply(req, err);
	else
		fuse_reply_attr(req, attr, ops_attr_timeout(attr, ops_is_demand(req, attr)));
}

void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr;

	(void)fi;
	reply_attr(req, namespace_getattr(ops_server(req)->ns, ino, &attr), &attr);
}

static int set_size(struct namespace *ns, fuse_ino_t ino, off_t size)
{
	struct file *file;
	int err = namespace_get_file(ns, ino, &file);

	if (err)
		return err;
	err = file_truncate(file, (uint64_t)size);
	namespace_put_file(ns, ino);
	return err;
}

void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct namespace *ns = ops_server(req)->ns;
	int err = 0;

	(void)fi;
	if (to_set & FUSE_SET_ATTR_SIZE) {
		ops_allow_interrupt(req);
		err = set_size(ns, ino, attr->st_size);
		sizing_note(req, ino, (uint64_t)attr->st_size, err);
		if (!(to_set & FUSE_SET_ATTR_MTIME))
			to_set |= FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW;
	}
	if (!err)
		err = namespace_setattr(ns, ino, to_set, attr);
	reply_attr(req, err, attr);
}

void ops_readlink(fuse_req_t req, fuse_ino_t ino)
{
	g_autofree char *target = NULL;
	int err = namespace_readlink(ops_server(req)->ns, ino, &target);

	if (err)
		ops_reply(req, err);
	else
		fuse_reply_readlink(req, target);
}

/* As on XFS and CephFS, statfs(2) in a quota tree shows a file system of the size of the limit. */
void ops_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct server *server = ops_server(req);
	uint64_t inodes, free_inodes, unit;
	struct pool *pool = server->storage.pool;
	struct quota_usage quota;
	unsigned order = server->storage.order;

	namespace_get_inodes(server->ns, &inodes, &free_inodes);
	namespace_get_room(server->ns, ino, &quota);
	namespace_get_page_size(server->ns, ino, &unit);
	namespace_get_pages(server->ns, ino, &order);

	/*
	 * Only memory of the kind that files here get counts, in whole units: files with smaller units may have fragmented
	 * the free memory.
	 */
	uint64_t regions = pool_regions_of(pool, order);
	uint64_t available = pool_available(pool, NULL, regions, unit);
	uint64_t free = MIN(available, quota.room.of[QUOTA_BYTES]) / unit;
	uint64_t files = MIN(free_inodes, quota.room.of[QUOTA_FILES]);
	struct statvfs figures = {
		.f_bsize = unit,
		.f_frsize = unit,
		.f_blocks = MIN(pool_capacity(pool, regions), quota.size.of[QUOTA_BYTES]) / unit,
		.f_bfree = free,
		.f_bavail = free,
		.f_files = MIN(inodes + free_inodes, quota.size.of[QUOTA_FILES]),
		.f_ffree = files,
		.f_favail = files,
		.f_namemax = STORE_NAME_MAX,
	};

	fuse_reply_statfs(req, &figures);
}
