// SPDX-License-Identifier: GPL-2.0-or-later
/* The FUSE session: mounted, served by threads, taken down. */
#include "mount.h"

#include <errno.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statfs.h>

#include "log.h"

struct mount {
	struct server *server;
	struct fuse_session *session;
	GThread *thread;
	GThread *waker; /* of mount_stop() */
	void (*ended)(void *data);
	void *ended_data;
	int result; /* of the loop: 0 or a negative errno; read after the thread was joined */
};

static int backing_open(void *request, int fd)
{
	int id = fuse_passthrough_open(request, fd);

	return id > 0 ? id : -errno;
}

#ifndef FUSE_DEV_IOC_BACKING_CLOSE /* <linux/fuse.h> of Linux 6.9 and later */
#define FUSE_DEV_IOC_BACKING_CLOSE _IOW(229, 2, uint32_t)
#endif

/* Of the one connection that a process serves. */
static int connection = -1;

/* As fuse_passthrough_close(), which wants a request: files also go when there is none. */
static void backing_close(int id)
{
	uint32_t backing = (uint32_t)id;

	if (ioctl(connection, FUSE_DEV_IOC_BACKING_CLOSE, &backing) < 0)
		log_debug("FUSE passthrough: id %d: %s", id, g_strerror(errno));
}

static void fuse_log_line(enum fuse_log_level level, const char *format, va_list args)
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

static struct fuse_session *new_session(struct server *server)
{
	/* fsname and subtype name the mount in /proc/mounts: "dmemfs on ... type fuse.dmemfs". */
	char *argv[] = { (char *)"dmemfsd", (char *)"-o",
		         (char *)"default_permissions,allow_other,fsname=dmemfs,subtype=dmemfs", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct fuse_session *session = fuse_session_new(&args, &ops_table, sizeof(ops_table), server);

	fuse_opt_free_args(&args);
	return session;
}

static gpointer serve(gpointer data)
{
	struct mount *mount = data;
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	fuse_loop_cfg_set_max_threads(config, mount->server->config->threads);
	fuse_loop_cfg_set_idle_threads(config, mount->server->config->threads);
	fuse_loop_cfg_set_clone_fd(config, 0);
	mount->result = fuse_session_loop_mt(mount->session, config);
	fuse_loop_cfg_destroy(config);
	mount->ended(mount->ended_data);
	return NULL;
}

/* A request through the mount: returns when a serving thread has answered it, or the mount is no more. */
static bool answers(const struct mount *mount)
{
	struct statfs figures;

	return statfs(mount->server->config->mountpoint, &figures) == 0;
}

static void free_mount(struct mount *mount)
{
	if (mount->session)
		fuse_session_destroy(mount->session);
	g_free(mount);
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

struct mount *mount_start(struct server *server, void (*ended)(void *data), void *data, GError **error)
{
	struct mount *mount = g_new0(struct mount, 1);
	const char *mountpoint = server->config->mountpoint;

	mount->server = server;
	mount->ended = ended;
	mount->ended_data = data;
	server->storage.backing_open = backing_open;
	server->storage.backing_close = backing_close;
	fuse_set_log_func(fuse_log_line);

	mount->session = new_session(server);
	if (!mount->session || fuse_session_mount(mount->session, mountpoint) < 0) {
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
		            "%s: cannot mount: is /dev/fuse there, and does the daemon run as root?", mountpoint);
		free_mount(mount);
		return NULL;
	}
	connection = fuse_session_fd(mount->session);
	mount->thread = g_thread_new("fuse", serve, mount);
	if (!answers(mount) || !check_features(mount, error)) {
		if (error && !*error)
			g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, "%s: the mount does not answer", mountpoint);
		mount_stop(mount);
		mount_finish(mount);
		return NULL;
	}
	return mount;
}

static gpointer wake(gpointer mount)
{
	answers(mount);
	return NULL;
}

/*
 * Threads that wait for a request do not see the flag: one request wakes one, and that one ends the rest. When they
 * have all ended before it comes, it is answered by the end of the connection: hence a thread of its own.
 */
void mount_stop(struct mount *mount)
{
	fuse_session_exit(mount->session);
	if (!mount->waker)
		mount->waker = g_thread_new("wake", wake, mount);
}

bool mount_finish(struct mount *mount)
{
	bool clean;

	g_thread_join(mount->thread);
	clean = mount->result == 0;
	fuse_session_unmount(mount->session);
	if (mount->waker)
		g_thread_join(mount->waker);
	free_mount(mount);
	return clean;
}
