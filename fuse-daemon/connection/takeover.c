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
static const char value_earlier[] = "connection.earlier";

/* How many mounts before the last one stay on record. */
#define EARLIER_MOUNTS 32

static char *device_text(dev_t device)
{
	return g_strdup_printf("%u:%u", major(device), minor(device));
}

/* Names mounts on record: @devices after the boot id, because device numbers are used again in the next boot. NULL on failure. */
static char *describe(const char *devices)
{
	g_autofree char *boot = boot_id();

	return boot ? g_strdup_printf("%s %s", boot, devices) : NULL;
}

/* The devices in such a text, if it is of this boot, else none. */
static char **read_devices(struct store *store, const char *name)
{
	g_autoptr(GBytes) value = NULL;
	g_autofree char *start = describe("");
	g_autofree char *text = NULL;

	if (store_get_value(store, name, &value, NULL) && value)
		text = g_strndup(g_bytes_get_data(value, NULL), g_bytes_get_size(value));
	return g_strsplit(text && start && g_str_has_prefix(text, start) ? text + strlen(start) : "", " ", -1);
}

/* @known: the mount on record. */
static bool is_on_record(GBytes *known, dev_t device)
{
	g_autofree char *number = device_text(device);
	g_autofree char *mounted = describe(number);
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

char *takeover_earlier(struct store *store, dev_t current)
{
	static const char *const names[] = { value_earlier, value_mount };
	g_autofree char *but = device_text(current);
	g_autoptr(GPtrArray) devices = g_ptr_array_new_with_free_func(g_free);

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_auto(GStrv) found = read_devices(store, names[i]);

		for (char **device = found; *device; device++) {
			guint before;

			/* The same number again is another mount: the kernel uses a number again when the last user is gone. */
			if (g_ptr_array_find_with_equal_func(devices, *device, g_str_equal, &before))
				g_ptr_array_remove_index(devices, before);
			if (**device && strcmp(*device, but) != 0)
				g_ptr_array_add(devices, g_strdup(*device));
		}
	}
	if (devices->len > EARLIER_MOUNTS)
		g_ptr_array_remove_range(devices, 0, devices->len - EARLIER_MOUNTS);
	g_ptr_array_add(devices, NULL);
	return g_strjoinv(" ", (char **)devices->pdata);
}

int takeover_remember(const char *mountpoint, struct store *store, const char *earlier, const void *init, size_t size)
{
	g_autofree char *mounted = NULL;
	g_autofree char *before = *earlier ? describe(earlier) : NULL;
	dev_t device;

	if (mountinfo_find(mountpoint, &device)) {
		g_autofree char *number = device_text(device);

		mounted = describe(number);
	}
	store_begin(store);
	store_put_value(store, value_earlier, before, before ? strlen(before) : 0);
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
