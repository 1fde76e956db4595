// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of FUSE requests, and the terms agreed with the kernel. */
#include "connection/session.h"
#include "requests/ops.h"

/*
 * Passthrough is what dmemfs lives by. libfuse's defaults that do not fit: its splices cost more than they save on
 * small requests; O_TRUNC and the clearing of set-user-id bits are left to the kernel, which then sends them as SETATTR (but
 * not before a direct write: ops_file.c).
 */
static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	struct server *server = userdata;

	if (!fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH)) {
		server->missing = "FUSE passthrough";
		return;
	}
	conn->max_write = SESSION_MAX_WRITE;
	conn->max_backing_stack_depth = 0; /* backing files lie on no stacked file system, so one may lie on this */
	fuse_set_feature_flag(conn, FUSE_CAP_PARALLEL_DIROPS);
	fuse_set_feature_flag(conn, FUSE_CAP_EXPORT_SUPPORT);
	fuse_set_feature_flag(conn, FUSE_CAP_CACHE_SYMLINKS);
	fuse_unset_feature_flag(conn, FUSE_CAP_WRITEBACK_CACHE);
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_READ);
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_WRITE);
	fuse_unset_feature_flag(conn, FUSE_CAP_SPLICE_MOVE);
	fuse_unset_feature_flag(conn, FUSE_CAP_ATOMIC_O_TRUNC);
	fuse_unset_feature_flag(conn, FUSE_CAP_HANDLE_KILLPRIV);
	fuse_unset_feature_flag(conn, FUSE_CAP_HANDLE_KILLPRIV_V2);
	fuse_unset_feature_flag(conn, FUSE_CAP_AUTO_INVAL_DATA);
}

/*
 * FLUSH, FSYNC and OPENDIR are absent on purpose: the kernel asks once, learns that there is nothing to do and never asks
 * again, so that a process which only closes a file does not wait for the daemon.
 */
const struct fuse_lowlevel_ops ops_table = {
	.init = ops_init,
	.lookup = ops_lookup,
	.forget = ops_forget,
	.forget_multi = ops_forget_multi,
	.getattr = ops_getattr,
	.setattr = ops_setattr,
	.readlink = ops_readlink,
	.statfs = ops_statfs,
	.mknod = ops_mknod,
	.mkdir = ops_mkdir,
	.symlink = ops_symlink,
	.link = ops_link,
	.unlink = ops_unlink,
	.rmdir = ops_rmdir,
	.rename = ops_rename,
	.readdir = ops_readdir,
	.readdirplus = ops_readdirplus,
	.create = ops_create,
	.tmpfile = ops_tmpfile,
	.open = ops_open,
	.read = ops_read,
	.write = ops_write,
	.fallocate = ops_fallocate,
	.lseek = ops_lseek,
	.copy_file_range = ops_copy_file_range,
	.setxattr = ops_setxattr,
	.getxattr = ops_getxattr,
	.listxattr = ops_listxattr,
	.removexattr = ops_removexattr,
};
