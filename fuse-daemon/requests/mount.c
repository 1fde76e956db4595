// SPDX-License-Identifier: GPL-2.0-or-later
/* The FUSE mount: makes it or takes it over, serves it by threads, unmounts it or leaves it. */
#include "requests/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/crash_point.h"
#include "base/log.h"
#include "base/mountinfo.h"
#include "connection/passthrough.h"
#include "connection/session.h"

struct mount {
	struct server *server;
	struct fuse_session *fuse;
	struct session *session; /* NULL: not served yet */
	dev_t device;            /* of the mount; 0: another mount covers it, or it is gone */
	void (*ended)(void *data);
	void *ended_data;
	GMutex lock; /* guards the two flags */
	GCond changed;
	bool began; /* INIT is answered */
	bool over;  /* serving has ended */
};

/* The descriptor of the connection; a process serves only one. */
static int connection = -1;

static int backing_open(void *request, int fd)
{
	(void)request;
	return passthrough_open(connection, fd);
}

/* Fails when the connection has ended, which is no error: files are also destroyed after that. */
static void backing_close(int id)
{
	int err = passthrough_close(connection, id);

	if (err < 0)
		log_debug("FUSE passthrough: id %d: %s", id, g_strerror(-err));
}

static void __attribute__((format(printf, 2, 0)))
fuse_log_line(enum fuse_log_level level, const char *format, va_list args)
{
	g_autofree char *line = g_strdup_vprintf(format, args);

	g_strchomp(line);
	if (level <= FUSE_LOG_ERR)
		log_error("%s", line);
	else if (level <= FUSE_LOG_WARNING)
		log_warning("%s", line);
	else
		log_debug("%s", line);
}

static struct fuse_session *new_fuse_session(struct server *server)
{
	char *argv[] = { (char *)"dmemfsd", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	struct fuse_session *fuse = fuse_session_new(&args, &ops_table, sizeof(ops_table), server);

	fuse_opt_free_args(&args);
	return fuse;
}

static void on_init(const void *request, size_t size, void *data)
{
	const struct mount *mount = data;
	const struct server *server = mount->server;
	int err = takeover_remember(server->config->mountpoint, server->storage.store, server->earlier, request, size);

	if (err)
		log_warning(
			"cannot put the FUSE connection on record: %s: the next daemon cannot take it over and will "
			"mount anew",
			g_strerror(-err));
}

static void change(struct mount *mount, bool *what)
{
	g_mutex_lock(&mount->lock);
	*what = true;
	g_cond_broadcast(&mount->changed);
	g_mutex_unlock(&mount->lock);
}

static void on_began(void *data)
{
	struct mount *mount = data;

	change(mount, &mount->began);
}

static void on_replayed(void *data)
{
	const struct mount *mount = data;

	CRASH_POINT("replayed");
	namespace_replayed(mount->server->ns);
}

static void on_ended(void *data)
{
	struct mount *mount = data;

	change(mount, &mount->over);
	mount->ended(mount->ended_data);
}

static const struct session_events events = {
	.init = on_init,
	.began = on_began,
	.replayed = on_replayed,
	.ended = on_ended,
};

/* The notification has no effect (no data range), and fails with -ENOENT when the kernel does not know the inode. */
static bool kernel_knows(uint64_t ino, void *data)
{
	const struct mount *mount = data;

	return fuse_lowlevel_notify_inval_inode(mount->fuse, ino, -1, 0) != -ENOENT;
}

/* The kernel sends INIT as soon as the mount is made. False: serving ended before that. */
static bool wait_for_init(struct mount *mount)
{
	g_mutex_lock(&mount->lock);
	while (!mount->began && !mount->over)
		g_cond_wait(&mount->changed, &mount->lock);

	bool began = mount->began;

	g_mutex_unlock(&mount->lock);
	return began;
}

static bool check_features(struct mount *mount, GError **error)
{
	if (mount->server->missing) {
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_NOSYS,
		            "the kernel has no %s: dmemfs needs Linux 6.9 or later with CONFIG_FUSE_PASSTHROUGH=y",
		            mount->server->missing);
		return false;
	}
	return true;
}

/* Gives libfuse the connection @fd by the path /dev/fd/N, for which it mounts nothing. libfuse owns @fd afterwards. */
static bool attach(const struct mount *mount, int fd, GError **error)
{
	g_autofree char *name = g_strdup_printf("/dev/fd/%d", fd);

	if (fuse_session_mount(mount->fuse, name) == 0)
		return true;
	g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "libfuse refuses the FUSE connection");
	close(fd);
	return false;
}

/* Mounts. Source and type are those that mount(8) shows: "dmemfs on ... type fuse.dmemfs". */
static bool make(const struct mount *made, GError **error)
{
	const char *mountpoint = made->server->config->mountpoint;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
		            "/dev/fuse: %s: does the daemon run as root, and is the fuse module loaded?",
		            g_strerror(errno));
		return false;
	}

	g_autofree char *options =
		g_strdup_printf("fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other", fd, S_IFDIR);

	if (mount("dmemfs", mountpoint, MOUNTINFO_TYPE, MS_NOSUID | MS_NODEV, options) == 0)
		return attach(made, fd, error);
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
	            "%s: cannot mount: %s: does the daemon run as root?", mountpoint, g_strerror(errno));
	close(fd);
	return false;
}

static bool take_over(struct mount *mount, struct takeover *takeover, GError **error)
{
	g_autoptr(GHashTable) known = namespace_backing_ids(mount->server->ns);
	g_autoptr(GBytes) init = g_steal_pointer(&takeover->init);
	int fd = takeover->fd;
	gsize size;
	const void *request = g_bytes_get_data(init, &size);

	takeover->fd = -1;
	if (!attach(mount, fd, error))
		return false;
	session_feed_init(mount->fuse, request, size);
	if (!check_features(mount, error))
		return false;
	namespace_set_kernel(mount->server->ns, kernel_knows, mount);
	takeover_sweep(fd, known);
	CRASH_POINT("swept");
	if (!takeover_ask_resend(fd, error))
		return false;
	CRASH_POINT("resend-asked");
	return true;
}

struct mount *mount_start(struct server *server, struct takeover *takeover, void (*ended)(void *data), void *data,
                          GError **error)
{
	struct mount *mount = g_new0(struct mount, 1);
	bool inherited = takeover->fd >= 0;

	g_mutex_init(&mount->lock);
	g_cond_init(&mount->changed);
	mount->server = server;
	mount->ended = ended;
	mount->ended_data = data;
	mount->began = inherited;
	server->storage.backing_open = backing_open;
	server->storage.backing_close = backing_close;
	fuse_set_log_func(fuse_log_line);
	mount->fuse = new_fuse_session(server);
	if (!mount->fuse || !(inherited ? take_over(mount, takeover, error) : make(mount, error))) {
		mount_finish(mount, true);
		return NULL;
	}
	if (!mountinfo_find(server->config->mountpoint, &mount->device))
		mount->device = 0;
	connection = mount_fd(mount);
	mount->session = session_start(mount->fuse, server->config->threads, inherited, &events, mount);
	if (!wait_for_init(mount) || !check_features(mount, error)) {
		if (error && !*error)
			g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s: the mount does not answer",
			            server->config->mountpoint);
		mount_stop(mount);
		mount_finish(mount, inherited);
		return NULL;
	}
	return mount;
}

int mount_fd(const struct mount *mount)
{
	return fuse_session_fd(mount->fuse);
}

dev_t mount_device(const struct mount *mount)
{
	return mount->device;
}

bool mount_is_alive(struct mount *mount, int64_t limit)
{
	return session_is_alive(mount->session, limit);
}

unsigned mount_load(struct mount *mount, int64_t *oldest)
{
	return session_load(mount->session, oldest);
}

void mount_stop(struct mount *mount)
{
	session_stop(mount->session);
}

bool mount_finish(struct mount *mount, bool keep)
{
	const char *mountpoint = mount->server->config->mountpoint;
	bool clean = !mount->session || session_finish(mount->session) == 0;

	if (mount->fuse) {
		bool mounted = mount_fd(mount) >= 0 && takeover_is_alive(mount_fd(mount));

		/*
		 * Closes the descriptor. Unless the fd store has a copy, the connection ends, and the kernel answers
		 * all waiting requests with an error; so the unmount below does not wait for this process.
		 */
		fuse_session_destroy(mount->fuse);
		connection = -1;
		if (mounted && !keep)
			mountinfo_unmount(mountpoint, mount->device);
	}
	g_cond_clear(&mount->changed);
	g_mutex_clear(&mount->lock);
	g_free(mount);
	return clean;
}
