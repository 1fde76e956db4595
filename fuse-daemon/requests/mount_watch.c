// SPDX-License-Identifier: GPL-2.0-or-later
/* Watches whether the mount still exists in the daemon's mount namespace. */
#include "requests/mount_watch.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mountinfo.h"
#include "base/notify.h"
#include "connection/takeover.h"

struct mount_watch {
	const char *mountpoint;
	dev_t device;
	int connection; /* descriptor of /dev/fuse; the owner's */
	int fd;         /* of mountinfo */
	guint source;   /* waits for a change, or for the delay after one; 0: the mount is gone */
};

static void await_change(struct mount_watch *watch);

static void say_gone(const struct mount_watch *watch)
{
	g_autofree char *state =
		g_strdup_printf("STATUS=Unmounted from %s, serving processes that still use it", watch->mountpoint);

	notify_send(state);
	log_warning(
		"%s: unmounted here, but a process still has files open, or another mount namespace has a copy of the "
		"mount: serving until the last of them is gone (grep -l ' %u:%u ' /proc/[0-9]*/mountinfo finds the copies)",
		watch->mountpoint, major(watch->device), minor(watch->device));
}

static gboolean look(gpointer data)
{
	struct mount_watch *watch = data;

	watch->source = 0;
	if (mountinfo_has(watch->device))
		await_change(watch);
	else if (takeover_is_alive(watch->connection)) /* else the daemon ends, and this loop was busy meanwhile */
		say_gone(watch);
	return G_SOURCE_REMOVE;
}

static gboolean on_change(gint fd, GIOCondition condition, gpointer data)
{
	struct mount_watch *watch = data;

	(void)fd;
	(void)condition;
	watch->source = g_timeout_add(MOUNT_WATCH_DELAY_MS, look, watch);
	return G_SOURCE_REMOVE;
}

static void await_change(struct mount_watch *watch)
{
	watch->source = g_unix_fd_add(watch->fd, G_IO_PRI | G_IO_ERR, on_change, watch);
}

struct mount_watch *mount_watch_start(const char *mountpoint, dev_t device, int connection)
{
	int fd = open(MOUNTINFO_FILE, O_RDONLY | O_CLOEXEC); /* the kernel reports changes after this open to poll(2) */
	struct mount_watch *watch;

	if (fd < 0)
		return NULL;
	watch = g_new(struct mount_watch, 1);
	*watch = (struct mount_watch){ .mountpoint = mountpoint, .device = device, .connection = connection, .fd = fd };
	await_change(watch);
	return watch;
}

void mount_watch_stop(struct mount_watch *watch)
{
	if (!watch)
		return;
	if (watch->source)
		g_source_remove(watch->source);
	close(watch->fd);
	g_free(watch);
}
