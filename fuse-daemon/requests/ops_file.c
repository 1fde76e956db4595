// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * FUSE requests on open files and their contents.
 *
 * Every open is a passthrough open, so that mmap(2) maps the backend's object without the daemon. An open for writing
 * also has direct I/O: its read(2) and write(2) come here, where a write past the end allocates memory. For an open
 * for reading only, the kernel serves read(2) from the object.
 */
#include <errno.h>
#include <fcntl.h>

#include "base/current_request.h"
#include "requests/ops.h"
#include "requests/sizing.h"

/* The most bytes that one COPY_FILE_RANGE request copies. The client cannot be interrupted during a request. */
#define COPY_AT_ONCE (16 * 1024 * 1024)
#define COPY_STEP    (1024 * 1024)

/*
 * A buffer of the calling thread, valid until its next call. It grows to the largest request that the thread has
 * seen.
 */
static char *thread_buffer(size_t size)
{
	static GPrivate buffer = G_PRIVATE_INIT(g_free);
	static _Thread_local size_t have;
	char *mine = g_private_get(&buffer);

	if (have < size) {
		mine = g_malloc(size);
		g_private_replace(&buffer, mine);
		have = size;
	}
	return mine;
}

static int open_contents(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct namespace *ns = ops_server(req)->ns;
	struct file *file;
	int err = namespace_get_file(ns, ino, &file);

	if (err)
		return err;
	err = file_open(file, req, &fi->backing_id);
	if (!err) {
		fi->direct_io = (fi->flags & O_ACCMODE) != O_RDONLY;
		fi->parallel_direct_writes = fi->direct_io;
		fi->noflush = 1;
	}
	namespace_put_file(ns, ino);
	return err;
}

void ops_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	int err = open_contents(req, ino, fi);

	if (err)
		ops_reply(req, err);
	else
		fuse_reply_open(req, fi);
}

/* Makes a regular file and opens it; @name NULL: without a name. */
static void create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	struct namespace *ns = ops_server(req)->ns;
	struct stat attr;
	int err = namespace_make(ns, parent, name, S_IFREG | mode, NULL, ops_caller(req), &attr);

	if (err) {
		ops_reply(req, err);
		return;
	}

	struct fuse_entry_param entry = ops_entry(&attr, ops_is_demand(req, &attr));

	err = open_contents(req, attr.st_ino, fi);
	if (err) {
		current_request_undo();
		if (name)
			namespace_unlink(ns, parent, name);
		ops_reply(req, err);
	} else if (fuse_reply_create(req, &entry, fi) == 0) {
		return;
	}
	namespace_forget(ns, attr.st_ino, 1);
}

void ops_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	create(req, parent, name, mode, fi);
}

void ops_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode, struct fuse_file_info *fi)
{
	create(req, parent, NULL, mode, fi);
}

/*
 * The kernel sends a lock owner with read(2) on a direct-I/O open. For splice(2) and sendfile(2) it fills its page
 * cache instead, and sends no lock owner. A page in that cache would become stale when a process writes by a mapping,
 * so these reads are refused with -EINVAL; programs then use read(2).
 */
static bool fills_page_cache(const struct fuse_file_info *fi)
{
	return fi->lock_owner == 0;
}

void ops_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct namespace *ns = ops_server(req)->ns;
	char *buffer = thread_buffer(size);
	struct file *file;

	if (fills_page_cache(fi)) {
		ops_reply(req, -EINVAL);
		return;
	}

	ssize_t done = namespace_get_file(ns, ino, &file);

	if (done == 0) {
		done = file_read(file, buffer, size, (uint64_t)offset);
		namespace_put_file(ns, ino);
	}
	if (done < 0)
		ops_reply(req, (int)done);
	else
		fuse_reply_buf(req, buffer, (size_t)done);
}

/* Writes to @ino and updates its times. Returns the bytes written or a negative errno. */
static ssize_t write_contents(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset)
{
	struct namespace *ns = ops_server(req)->ns;
	struct file *file;
	int err = namespace_get_file(ns, ino, &file);

	if (err)
		return err;

	ssize_t done = namespace_kill_privileges(ns, ino, current_request()->kills_set_id);

	if (done == 0)
		done = file_write(file, data, size, (uint64_t)offset);
	if (done > 0)
		namespace_modified(ns, ino);
	namespace_put_file(ns, ino);
	if (done < 0)
		sizing_note(req, ino, (uint64_t)offset + size, (int)done);
	return done;
}

static void reply_written(fuse_req_t req, ssize_t done)
{
	if (done < 0)
		ops_reply(req, (int)done);
	else
		fuse_reply_write(req, (size_t)done);
}

void ops_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	reply_written(req, write_contents(req, ino, data, size, offset));
}

void ops_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset, struct fuse_file_info *from_fi,
                         fuse_ino_t to, off_t to_offset, struct fuse_file_info *to_fi, size_t length, int flags)
{
	struct namespace *ns = ops_server(req)->ns;
	char *buffer = thread_buffer(COPY_STEP);
	struct file *source;
	ssize_t done = namespace_get_file(ns, from, &source);
	size_t copied = 0;

	(void)from_fi;
	(void)to_fi;
	(void)flags;
	if (done < 0) {
		ops_reply(req, (int)done);
		return;
	}
	length = MIN(length, COPY_AT_ONCE);
	while (copied < length) {
		done = file_read(source, buffer, MIN(length - copied, COPY_STEP), (uint64_t)from_offset + copied);
		if (done > 0)
			done = write_contents(req, to, buffer, (size_t)done, to_offset + (off_t)copied);
		if (done <= 0)
			break;
		copied += (size_t)done;
	}
	namespace_put_file(ns, from);
	reply_written(req, copied > 0 ? (ssize_t)copied : done);
}

void ops_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length, struct fuse_file_info *fi)
{
	struct namespace *ns = ops_server(req)->ns;
	struct file *file;
	int err = namespace_get_file(ns, ino, &file);

	(void)fi;
	if (!err) {
		ops_allow_interrupt(req);
		err = file_allocate(file, mode, (uint64_t)offset, (uint64_t)length);
		if (!err)
			namespace_modified(ns, ino);
		namespace_put_file(ns, ino);
		sizing_note(req, ino, (uint64_t)offset + (uint64_t)length, err);
	}
	ops_reply(req, err);
}

void ops_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
	struct namespace *ns = ops_server(req)->ns;
	struct file *file;
	int64_t found = namespace_get_file(ns, ino, &file);

	(void)fi;
	if (found == 0) {
		found = file_seek(file, (uint64_t)offset, whence);
		namespace_put_file(ns, ino);
	}
	if (found < 0)
		ops_reply(req, (int)found);
	else
		fuse_reply_lseek(req, found);
}
