// SPDX-License-Identifier: GPL-2.0-or-later
/* A mount as its daemon describes it. */
#include "dmemfsctl/view.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/mountinfo.h"
#include "base/mounts.h"
#include "base/page_order.h"
#include "config/config.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/earlier_mounts.h"

static void fail_to_read(const char *path, const char *name, int err, GError **error)
{
	switch (err) {
	case ENOTCONN:
	case ECONNABORTED:
		command_fail(error, STATUS_DAEMON, "%s: the daemon of this mount has died: start it again", path);
		break;
	case ENODATA:
	case EOPNOTSUPP:
		command_fail(error, STATUS_FAILED,
		             "%s: has no attribute %s: it is not on a mounted dmemfs, or its daemon is "
		             "of another release",
		             path, name);
		break;
	case E2BIG:
	case ERANGE:
		command_fail(error, STATUS_FAILED, "%s: %s: is longer than the 64 KiB that the kernel passes on", path,
		             name);
		break;
	case EPERM:
		command_fail(error, STATUS_FAILED, "%s: %s: only root may see where memory lies: run as root", path,
		             name);
		break;
	default:
		command_fail(error, STATUS_FAILED, "%s: %s: %s%s", path, name, g_strerror(err), command_as_root(err));
	}
}

char *view_read_attribute(const char *path, const char *name, GError **error)
{
	size_t room = 4096;

	/* The kernel's limit is 64 KiB (XATTR_SIZE_MAX). */
	for (;;) {
		g_autofree char *value = g_malloc(room + 1);
		ssize_t length = lgetxattr(path, name, value, room);

		if (length >= 0) {
			value[length] = '\0';
			return g_steal_pointer(&value);
		}
		if (errno == ERANGE && room < (1 << 16)) {
			room *= 2;
			continue;
		}
		fail_to_read(path, name, errno, error);
		return NULL;
	}
}

static void figure_clear(gpointer figure)
{
	g_free(((struct view_figure *)figure)->name);
}

static void parse_figures(GArray *figures, const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (char **line = lines; *line; line++) {
		char *value = strchr(*line, ' ');

		if (value) {
			struct view_figure figure = { g_strndup(*line, (gsize)(value - *line)),
				                      g_ascii_strtoull(value, NULL, 10) };

			g_array_append_val(figures, figure);
		}
	}
}

static void parse_daemon(GHashTable *daemon, const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (char **line = lines; *line; line++) {
		char *value = strchr(*line, ' ');

		if (value)
			g_hash_table_insert(daemon, g_strndup(*line, (gsize)(value - *line)), g_strdup(value + 1));
	}
}

static void parse_regions(GArray *regions, const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (char **line = lines; *line; line++) {
		struct view_region region = { 0 };
		char pages[8] = "";
		unsigned order;

		if (sscanf(*line, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %d %7s %15s",
		           &region.extent.start, &region.extent.length, &region.free, &region.node, pages,
		           region.kernel) < 4)
			continue;
		region.pages = page_order_parse(pages, &order) ? page_order_name(order) : NULL;
		g_array_append_val(regions, region);
	}
}

static void pin_clear(gpointer pin)
{
	g_free(((struct view_pin *)pin)->name);
}

/* Parses lines "START LENGTH SINCE INODE PID NAME" with escapes in the name. */
static void parse_pins(GArray *pins, const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (char **line = lines; *line; line++) {
		struct view_pin pin = { 0 };
		int end = 0;

		if (sscanf(*line,
		           "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT " %" G_GUINT64_FORMAT
		           " %d%n",
		           &pin.extent.start, &pin.extent.length, &pin.since, &pin.inode, &pin.pid, &end) < 5)
			continue;
		pin.name = g_strcompress(*line + end + ((*line)[end] == ' '));
		g_array_append_val(pins, pin);
	}
}

static void parse_lent(GArray *lent, const char *text)
{
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

	for (char **line = lines; *line; line++) {
		struct view_lent unit = { 0 };

		if (sscanf(*line, "%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %15s", &unit.extent.start,
		           &unit.extent.length, unit.state) == 3)
			g_array_append_val(lent, unit);
	}
}

/* Fills in @view with the daemon's answers. */
static bool fill(struct view *view, GError **error)
{
	g_autofree char *figures = view_read_attribute(view->root, "dmemfs.stats", error);
	g_autofree char *daemon = figures ? view_read_attribute(view->root, "dmemfs.daemon", error) : NULL;
	g_autofree char *page_size = daemon ? view_read_attribute(view->root, "dmemfs.page_size", error) : NULL;
	bool root = geteuid() == 0;
	g_autofree char *regions = page_size && root ? view_read_attribute(view->root, "dmemfs.regions", error) : NULL;

	/* Older daemons do not have these attributes. */
	g_autofree char *pins = regions ? view_read_attribute(view->root, "dmemfs.pinned", NULL) : NULL;
	g_autofree char *lent = regions ? view_read_attribute(view->root, "dmemfs.lent", NULL) : NULL;

	view->alloc = regions || (page_size && !root) ? view_read_attribute(view->root, "dmemfs.alloc", error) : NULL;
	if (!view->alloc || !config_parse_size(page_size, &view->page_size, error))
		return false;
	parse_figures(view->figures, figures);
	parse_daemon(view->daemon, daemon);
	view->earlier = earlier_mounts_parse(g_hash_table_lookup(view->daemon, "earlier_devices"), view->device);
	if (regions)
		parse_regions(view->regions, regions);
	if (pins)
		parse_pins(view->pins, pins);
	if (lent)
		parse_lent(view->lent, lent);
	return true;
}

/* The question to and the answer of a thread that may never end. */
struct inquiry {
	GMutex lock;
	GCond answered;
	bool done;
	bool good;
	struct view *view;
	GError *error;
};

static gpointer inquire(gpointer data)
{
	struct inquiry *inquiry = data;
	bool good = fill(inquiry->view, &inquiry->error);

	g_mutex_lock(&inquiry->lock);
	inquiry->good = good;
	inquiry->done = true;
	g_cond_signal(&inquiry->answered);
	g_mutex_unlock(&inquiry->lock);
	return NULL;
}

static struct view *view_new(const struct mount_point *mount)
{
	struct view *view = g_new0(struct view, 1);

	view->root = g_strdup(mount->path);
	view->device = mount->device;
	view->daemon = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
	view->figures = g_array_new(FALSE, FALSE, sizeof(struct view_figure));
	g_array_set_clear_func(view->figures, figure_clear);
	view->regions = g_array_new(FALSE, FALSE, sizeof(struct view_region));
	view->pins = g_array_new(FALSE, FALSE, sizeof(struct view_pin));
	g_array_set_clear_func(view->pins, pin_clear);
	view->lent = g_array_new(FALSE, FALSE, sizeof(struct view_lent));
	return view;
}

/*
 * System calls on a mount whose daemon hangs or restarts do not return, and a thread leaves them only when the
 * process ends. So a thread asks the daemon; when it does not answer in time, it is left behind with all memory that
 * it may still use.
 */
static struct view *ask(const struct mount_point *mount, GError **error)
{
	if (!mount->is_whole) {
		command_fail(error, STATUS_FAILED,
		             "%s: is a bind mount of a part of a dmemfs whose root directory is not mounted here: run "
		             "dmemfsctl where it is, outside of the container",
		             mount->path);
		return NULL;
	}

	struct inquiry *inquiry = g_new0(struct inquiry, 1);
	gint64 until = g_get_monotonic_time() + VIEW_PATIENCE * G_TIME_SPAN_SECOND;
	GThread *thread;
	struct view *view;
	bool done = true;

	inquiry->view = view_new(mount);
	thread = g_thread_new("inquiry", inquire, inquiry);
	g_mutex_lock(&inquiry->lock);
	while (!inquiry->done && done)
		done = g_cond_wait_until(&inquiry->answered, &inquiry->lock, until);
	done = inquiry->done;
	g_mutex_unlock(&inquiry->lock);
	if (!done) {
		command_fail(error, STATUS_DAEMON,
		             "%s: its daemon has not answered for %d s: see its log, or restart it", mount->path,
		             VIEW_PATIENCE);
		g_thread_unref(thread);
		return NULL;
	}
	g_thread_join(thread);
	view = inquiry->view;
	if (!inquiry->good) {
		g_propagate_error(error, inquiry->error);
		g_clear_pointer(&view, view_destroy);
	}
	g_mutex_clear(&inquiry->lock);
	g_cond_clear(&inquiry->answered);
	g_free(inquiry);
	return view;
}

/* @found: those of @mounts that can be seen. */
static bool check_some(const GPtrArray *found, const GPtrArray *mounts, GError **error)
{
	if (found->len > 0)
		return true;
	for (guint i = 0; i < mounts->len; i++) {
		const struct mount_point *mount = g_ptr_array_index(mounts, i), *seen;

		if (!mount->is_dmemfs)
			continue;
		seen = mounts_of_path(mounts, mount->path);
		command_fail(error, STATUS_DAEMON,
		             "%s: this dmemfs is hidden by what is mounted over %s (%s): unmount that", mount->path,
		             seen->path, seen->type);
		return false;
	}
	command_fail(error, STATUS_DAEMON, "no dmemfs is mounted: start dmemfsd --config FILE");
	return false;
}

/* The mount that shows the root directory of the dmemfs that @part, a bind mount, shows a part of; else a bind mount. */
static const struct mount_point *whole_of(const GPtrArray *mounts, const struct mount_point *part)
{
	g_autoptr(GPtrArray) found = mounts_of_dmemfs(mounts);

	for (guint i = 0; i < found->len; i++) {
		const struct mount_point *mount = g_ptr_array_index(found, i);

		if (mount->device == part->device)
			return mount;
	}
	return part;
}

static struct view *open_only(const GPtrArray *mounts, GError **error)
{
	g_autoptr(GPtrArray) found = mounts_of_dmemfs(mounts);
	const struct mount_point *mount;

	if (!check_some(found, mounts, error))
		return NULL;
	mount = g_ptr_array_index(found, 0);
	if (found->len == 1)
		return ask(mount, error);
	command_fail(error, STATUS_USAGE, "%u dmemfs are mounted: name a path on one of them, such as %s", found->len,
	             mount->path);
	return NULL;
}

/* The first dmemfs on the way to @path, which is absolute. Sends no request to it. NULL: there is none. */
static const struct mount_point *first_dmemfs(const GPtrArray *mounts, const char *path)
{
	for (guint i = 0; i < mounts->len; i++) {
		struct mount_point *mount = g_ptr_array_index(mounts, i);

		mount->may_block = mount->is_dmemfs;
	}
	return mounts_blocking(mounts, path);
}

static struct view *ask_whole(const GPtrArray *mounts, const struct mount_point *mount, GError **error)
{
	return ask(mount->is_whole ? mount : whole_of(mounts, mount), error);
}

struct view *view_open(const char *path, GError **error)
{
	g_autoptr(GPtrArray) mounts = mountinfo_read(error);
	const struct mount_point *first, *mount;
	g_autofree char *absolute = path ? g_canonicalize_filename(path, NULL) : NULL;
	g_autoptr(view_t) view = NULL;
	char real[PATH_MAX];

	if (!mounts)
		return NULL;
	if (!path)
		return open_only(mounts, error);

	/* Before realpath(3) sends it a request, and waits for the answer for ever. */
	first = first_dmemfs(mounts, absolute);
	view = first ? ask_whole(mounts, first, error) : NULL;
	if (first && !view)
		return NULL;
	if (realpath(absolute, real)) {
		mount = mounts_of_path(mounts, real);
	} else if (view && errno != ENOENT) {
		mount = first; /* this user may not go all the way */
	} else {
		command_fail(error, STATUS_FAILED, "%s: %s: name a file or a directory on dmemfs", path,
		             g_strerror(errno));
		return NULL;
	}
	if (view && mount && mount->device == view->device)
		return g_steal_pointer(&view);
	if (mount && mount->is_dmemfs)
		return ask_whole(mounts, mount, error);
	command_fail(error, STATUS_DAEMON, "%s: is not on a mounted dmemfs: name another path, or start dmemfsd", path);
	return NULL;
}

bool view_answers(const char *path, GError **error)
{
	g_autoptr(GPtrArray) mounts = mountinfo_read(error);
	g_autofree char *absolute = g_canonicalize_filename(path, NULL);
	const struct mount_point *first = mounts ? first_dmemfs(mounts, absolute) : NULL;
	g_autoptr(view_t) view = first ? ask_whole(mounts, first, error) : NULL;

	return mounts && (!first || view);
}

static void take_error(GPtrArray *errors, GError *error)
{
	if (error)
		g_ptr_array_add(errors, error);
}

GPtrArray *view_open_all(GPtrArray *errors)
{
	GError *error = NULL;
	g_autoptr(GPtrArray) mounts = mountinfo_read(&error);
	g_autoptr(GPtrArray) found = mounts ? mounts_of_dmemfs(mounts) : g_ptr_array_new();
	GPtrArray *views = g_ptr_array_new_with_free_func((GDestroyNotify)view_destroy);

	if (mounts)
		check_some(found, mounts, &error);
	take_error(errors, error);
	for (guint i = 0; i < found->len; i++) {
		struct view *view;

		error = NULL;
		view = ask(g_ptr_array_index(found, i), &error);
		if (view)
			g_ptr_array_add(views, view);
		take_error(errors, error);
	}
	return views;
}

void view_destroy(struct view *view)
{
	if (!view)
		return;
	g_free(view->root);
	g_free(view->alloc);
	g_hash_table_unref(view->daemon);
	g_array_unref(view->figures);
	g_clear_pointer(&view->earlier, g_array_unref);
	g_array_unref(view->regions);
	g_array_unref(view->pins);
	g_array_unref(view->lent);
	g_free(view);
}

uint64_t view_figure(const struct view *view, const char *name)
{
	for (guint i = 0; i < view->figures->len; i++) {
		const struct view_figure *figure = &g_array_index(view->figures, struct view_figure, i);

		if (strcmp(figure->name, name) == 0)
			return figure->value;
	}
	return 0;
}

int view_find_region(const struct view *view, uint64_t address)
{
	for (guint i = 0; i < view->regions->len; i++) {
		const struct extent *extent = &g_array_index(view->regions, struct view_region, i).extent;

		if (address >= extent->start && address - extent->start < extent->length)
			return (int)i;
	}
	return -1;
}

const char *view_pages_at(const struct view *view, uint64_t address)
{
	int index = view_find_region(view, address);
	const char *pages = index < 0 ? NULL : g_array_index(view->regions, struct view_region, index).pages;

	return pages ? pages : "?";
}
