/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE requests: each function takes the arguments, calls the rooms below, and sends exactly one reply. It has no
 * policy and no state of its own: struct server is the userdata of the FUSE session (ops_server()).
 */
#ifndef DMEMFS_OPS_H
#define DMEMFS_OPS_H

#include <errno.h>
#include <fuse_lowlevel.h>

#include "base/current_request.h"
#include "config/config.h"
#include "file/file.h"
#include "namespace/namespace.h"

struct server {
	const struct config *config;
	struct storage storage;
	struct namespace *ns;
	char *earlier;       /* takeover_earlier() when the daemon started, owned; NULL: not known */
	const char *missing; /* the FUSE feature that this kernel lacks, set by INIT; NULL: none */
};

/*
 * How long the kernel may cache names and attributes, in seconds. They change only through this mount, so the kernel
 * sees every change. The value is that of libfuse's passthrough examples: one day.
 */
#define OPS_CACHE_TIMEOUT 86400.0

extern const struct fuse_lowlevel_ops ops_table;

static inline struct server *ops_server(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* Answers with @err, 0 or a negative errno. -ERESTART: leaves the request to the next daemon, which the kernel sends it again. */
static inline void ops_reply(fuse_req_t req, int err)
{
	current_request_set_result(err);
	if (err == -ERESTART)
		fuse_reply_none(req);
	else
		fuse_reply_err(req, -err);
}

/*
 * Answers with @err or, when it is 0, with the entry of @attr. The lookup that the entry has counted is taken back
 * when the reply fails because the client did not wait for it.
 */
void ops_reply_entry(fuse_req_t req, int err, const struct stat *attr);
struct fuse_entry_param ops_entry(const struct stat *attr, bool demand);
/* Is it a file with demand allocation? */
bool ops_is_demand(fuse_req_t req, const struct stat *attr);
/*
 * 0 for attributes that change without the kernel seeing it: st_blocks of files with demand allocation, when a process
 * touches them; set-user-id and set-group-id, which a write clears. Else OPS_CACHE_TIMEOUT.
 */
static inline double ops_attr_timeout(const struct stat *attr, bool demand)
{
	return demand || (S_ISREG(attr->st_mode) && attr->st_mode & (S_ISUID | S_ISGID)) ? 0 : OPS_CACHE_TIMEOUT;
}
struct namespace_caller ops_caller(fuse_req_t req);
/* From now on a signal to the client may end @req with -EINTR (current_request_allow_interrupt()). */
void ops_allow_interrupt(fuse_req_t req);

/* ops_inode.c: single inodes */
void ops_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count);
void ops_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void ops_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi);
void ops_readlink(fuse_req_t req, fuse_ino_t ino);
void ops_statfs(fuse_req_t req, fuse_ino_t ino);

/* ops_tree.c: names */
void ops_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void ops_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void ops_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name);
void ops_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name);
void ops_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
void ops_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
                unsigned int flags);
void ops_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void ops_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);

/* ops_file.c: opens and contents of regular files */
void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi);
void ops_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi);
void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi);
void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi);
void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset, struct fuse_file_info *fi);
void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi);
void ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi);
void ops_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_fi,
                         fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_fi, size_t length, int flags);

/* ops_xattr.c */
void ops_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags);
void ops_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size);
void ops_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size);
void ops_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name);

#endif
