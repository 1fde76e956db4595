// SPDX-License-Identifier: GPL-2.0-or-later
/* Takeover: a new daemon goes on with the FUSE connection of an earlier one. */
#include "connection/takeover.h"

#include <errno.h>
#include <linux/fuse.h>
#include <linux/major.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/boot_id.h"
#include "base/log.h"
#include "base/mountinfo.h"
#include "connection/passthrough.h"

/* /dev/fuse (Documentation/admin-guide/devices.txt). */
#define FUSE_MINOR 229

/* FUSE_NOTIFY_RESEND of Linux 6.9 and later. */
#define NOTIFY_RESEND 7

/*
 * How many of the latest backing ids takeover_sweep() tries. Ids rise by one with each registration. A registration
 * that is not on record was made by a request that was at work when the daemon died; only this many others can have
 * been made since.
 */
#define SWEEP_IDS 4096

static const char value_mount[] = "connection.mount";
static const char value_init[] = "connection.init";

/* A text that names a mount. It has the boot id in it, because device numbers are used again in the next boot. */
static char *describe(dev_t device)
{
	g_autofree char *boot = boot_id();

	return boot ? g_strdup_printf("%s %u:%u", boot, major(device), minor(device)) : NULL;
}

/* @known: the mount on record. */
static bool is_on_record(GBytes *known, dev_t device)
{
	g_autofree char *mounted = describe(device);
	gsize size = 0;
	const void *text = known ? g_bytes_get_data(known, &size) : NULL;

	return text && mounted && size == strlen(mounted) && memcmp(text, mounted, size) == 0;
}

bool takeover_is_alive(int fd)
{
	struct pollfd connection = { .fd = fd };
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(MISC_MAJOR, FUSE_MINOR) &&
	       poll(&connection, 1, 0) >= 0 && !(connection.revents & (POLLERR | POLLNVAL));
}

/* Fills in @takeover with @fd and the record's *@init, unless the connection is lost. */
static bool fill_in(struct takeover *takeover, GBytes **init, int fd)
{
	if (fd < 0)
		return false;
	if (!takeover_is_alive(fd)) {
		log_info("the FUSE connection that was kept is no more");
		return false;
	}
	if (!*init || g_bytes_get_size(*init) < sizeof(struct fuse_in_header))
		return false;
	takeover->init = g_steal_pointer(init);
	takeover->fd = fd;
	return true;
}

static enum takeover_state find(const char *mountpoint, struct store *store, int fd, struct takeover *takeover,
                                GError **error)
{
	g_autoptr(GBytes) known = NULL, init = NULL;

	if (!store_get_value(store, value_mount, &known, error) || !store_get_value(store, value_init, &init, error))
		return TAKEOVER_UNREADABLE;
	if (!mountinfo_find(mountpoint, &takeover->device))
		return TAKEOVER_NONE;
	if (!is_on_record(known, takeover->device))
		return TAKEOVER_FOREIGN;
	return fill_in(takeover, &init, fd) ? TAKEOVER_READY : TAKEOVER_DEAD;
}

enum takeover_state takeover_find(const char *mountpoint, struct store *store, int fd, struct takeover *takeover,
                                  GError **error)
{
	enum takeover_state state = find(mountpoint, store, fd, takeover, error);

	if (state != TAKEOVER_READY && fd >= 0)
		close(fd);
	return state;
}

void takeover_clear(struct takeover *takeover)
{
	if (takeover->fd >= 0)
		close(takeover->fd);
	takeover->fd = -1;
	g_clear_pointer(&takeover->init, g_bytes_unref);
}

int takeover_remember(const char *mountpoint, struct store *store, const void *init, size_t size)
{
	g_autofree char *mounted = NULL;
	dev_t device;

	if (mountinfo_find(mountpoint, &device))
		mounted = describe(device);
	store_begin(store);
	store_put_value(store, value_mount, mounted, mounted ? strlen(mounted) : 0);
	store_put_value(store, value_init, init, size);
	return store_commit(store);
}

bool takeover_ask_resend(int fd, GError **error)
{
	const struct fuse_out_header notification = { .len = sizeof(notification), .error = NOTIFY_RESEND };

	if (write(fd, &notification, sizeof(notification)) == (ssize_t)sizeof(notification))
		return true;
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
	            "the kernel does not send requests again: %s: dmemfs needs Linux 6.9 or later", g_strerror(errno));
	return false;
}

void takeover_sweep(int fd, GHashTable *known)
{
	int memory = memfd_create("dmemfsd", MFD_CLOEXEC);
	int next = memory < 0 ? -errno : passthrough_open(fd, memory);
	unsigned swept = 0;

	if (memory >= 0)
		close(memory);
	if (next < 0) {
		log_warning(
			"cannot find unused passthrough registrations of the earlier daemon: %s: they stay until the "
			"unmount",
			g_strerror(-next));
		return;
	}
	passthrough_close(fd, next);
	for (int id = MAX(1, next - SWEEP_IDS); id < next; id++) {
		if (!g_hash_table_contains(known, GINT_TO_POINTER(id)) && passthrough_close(fd, id) == 0)
			swept++;
	}
	if (swept)
		log_info("ended %u passthrough registrations of the earlier daemon that were not on record", swept);
}
