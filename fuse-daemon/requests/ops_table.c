// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of FUSE requests, and the features that INIT agrees on with the kernel. */
#include "connection/session.h"
#include "requests/ops.h"

/*
 * dmemfs needs FUSE passthrough. It switches off defaults of libfuse: splice(2), which costs more than it saves on
 * small requests; and the handling of O_TRUNC and of set-user-id bits by the daemon. The kernel then sends these as
 * SETATTR (set-user-id bits before a direct write excepted: kills_set_id() in session.c).
 */
static void ops_init(void *userdata, struct fuse_conn_info *conn)
{
	struct server *server = userdata;

	if (!fuse_set_feature_flag(conn, FUSE_CAP_PASSTHROUGH)) {
		server->missing = "FUSE passthrough";
		return;
	}
	conn->max_write = SESSION_MAX_WRITE;
	/* No backing file is on a stacked file system, so overlayfs may use dmemfs. */
	conn->max_backing_stack_depth = 0;
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
 * FLUSH, FSYNC and OPENDIR are absent on purpose: the kernel sends the first one, gets ENOSYS and never sends
 * another, so that a process which only closes a file does not wait for the daemon.
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
