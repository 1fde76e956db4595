// SPDX-License-Identifier: GPL-2.0-or-later
/* FUSE requests on names: look up, make, link, rename, remove, list. */
#include <errno.h>
#include <string.h>

#include "requests/ops.h"

void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct stat attr = { 0 };
	int err = namespace_lookup(ops_server(req)->ns, parent, name, &attr);

	if (err == -ENOENT) {
		/* Inode number 0: there is no such name, and the kernel may cache that. */
		struct fuse_entry_param none = { .entry_timeout = OPS_CACHE_TIMEOUT };

		fuse_reply_entry(req, &none);
		return;
	}
	ops_reply_entry(req, err, &attr);
}

static void make(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, const char *target)
{
	struct stat attr;
	int err = namespace_make(ops_server(req)->ns, parent, name, mode, target, ops_caller(req), &attr);

	ops_reply_entry(req, err, &attr);
}

void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	(void)rdev;
	make(req, parent, name, mode, NULL);
}

void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	make(req, parent, name, S_IFDIR | mode, NULL);
}

void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	make(req, parent, name, S_IFLNK | 0777, target);
}

void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct stat attr;
	int err = namespace_link(ops_server(req)->ns, ino, parent, name, &attr);

	ops_reply_entry(req, err, &attr);
}

void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	ops_reply(req, namespace_unlink(ops_server(req)->ns, parent, name));
}

void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	ops_reply(req, namespace_rmdir(ops_server(req)->ns, parent, name));
}

void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                unsigned int flags)
{
	ops_reply(req, namespace_rename(ops_server(req)->ns, parent, name, new_parent, new_name, flags));
}

/* The reply to a READDIR, while it is filled. */
struct listing {
	fuse_req_t req;
	char *buffer;
	size_t size;
	size_t used;
	GArray *looked_up; /* numbers of inodes, each a lookup that the reply counts; NULL: it counts none */
};

/* Entries that READDIRPLUS lists without counting a lookup. */
static bool is_dot_or_dotdot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static bool add_to_listing(const char *name, uint64_t cookie, const struct stat *attr, bool demand, void *data)
{
	struct listing *listing = data;
	char *at = listing->buffer + listing->used;
	size_t left = listing->size - listing->used;
	size_t length;

	if (listing->looked_up) {
		struct fuse_entry_param entry = ops_entry(attr, demand);

		length = fuse_add_direntry_plus(listing->req, at, left, name, &entry, (off_t)cookie);
	} else {
		length = fuse_add_direntry(listing->req, at, left, name, attr, (off_t)cookie);
	}
	if (length > left)
		return false;
	listing->used += length;
	if (listing->looked_up && !is_dot_or_dotdot(name))
		g_array_append_val(listing->looked_up, attr->st_ino);
	return true;
}

static void forget_all(struct namespace *ns, const GArray *inos)
{
	for (guint i = 0; i < inos->len; i++)
		namespace_forget(ns, g_array_index(inos, ino_t, i), 1);
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	struct namespace *ns = ops_server(req)->ns;
	g_autofree char *buffer = g_malloc(MAX(size, 1));
	g_autoptr(GArray) looked_up = plus ? g_array_new(FALSE, FALSE, sizeof(ino_t)) : NULL;
	struct listing listing = { .req = req, .buffer = buffer, .size = size, .looked_up = looked_up };
	int err = namespace_readdir(ns, ino, (uint64_t)offset, plus, add_to_listing, &listing);

	if (err)
		ops_reply(req, err);
	else if (fuse_reply_buf(req, buffer, listing.used) < 0 && looked_up)
		forget_all(ns, looked_up); /* the client did not wait for the reply */
}

void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, offset, false);
}

void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, offset, true);
}
