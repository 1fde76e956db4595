// SPDX-License-Identifier: GPL-2.0-or-later
/* A namespace on the fake backend, and its description as text. */
#include "unit/namespace/world.h"

#include <string.h>

#include "file/pins.h"

#define ROOT STORE_ROOT_INO

const struct namespace_caller world_caller = { 1000, 1001 };

/* The cookie of "..": a listing that starts after it has the entries only. */
#define DIRECTORY_DOTS 2

void world_start(struct world *world)
{
	GError *error = NULL;

	world->ns = namespace_new(&world->fake->storage);
	g_assert_cmpint(pins_load(&world->fake->storage), ==, 0);
	g_assert_true(namespace_load(world->ns, true, false, &error));
	g_assert_no_error(error);
	g_assert_true(namespace_attach(world->ns, &error));
	g_assert_no_error(error);
	g_assert_cmpint(pins_load(&world->fake->storage), ==, 0);
	g_assert_cmpint(pins_record(&world->fake->storage), ==, 0);
	g_assert_cmpint(namespace_count_pinned(world->ns), ==, 0);
	namespace_settle(world->ns);
}

void world_set_up(struct world *world, gconstpointer data)
{
	(void)data;
	world->fake = fake_new(16 * DMEMFS_PAGE_2M, DMEMFS_PAGE_2M);
	world_start(world);
}

/* Describes all that a client can see below @ino, in the order of a listing. */
static void describe(struct namespace *ns, uint64_t ino, GString *text);

static bool describe_entry(const char *name, uint64_t cookie, const struct stat *attr, bool demand, void *data)
{
	(void)demand;
	g_ptr_array_add(data, g_strdup_printf("%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %s", cookie,
	                                      (guint64)attr->st_ino, name));
	return true;
}

static void describe_xattrs(struct namespace *ns, uint64_t ino, GString *text)
{
	char names[4096];
	ssize_t length = namespace_listxattr(ns, ino, true, names, sizeof(names));

	for (ssize_t at = 0; at < length; at += (ssize_t)strlen(names + at) + 1) {
		g_autofree void *value = NULL;
		size_t size;

		g_assert_cmpint(namespace_getxattr(ns, ino, names + at, &value, &size), ==, 0);
		g_string_append_printf(text, " %s=%.*s", names + at, (int)size, (char *)value);
	}
}

static void describe_inode(struct namespace *ns, uint64_t ino, GString *text)
{
	g_autofree char *target = NULL;
	struct file *file = NULL;
	struct quota_usage quota;
	bool demand, discard;
	struct stat attr;

	g_assert_cmpint(namespace_getattr(ns, ino, &attr), ==, 0);
	g_string_append_printf(text,
	                       "%" G_GUINT64_FORMAT ": 0%o %u links %u:%u %ld bytes %ld blocks, %ld.%09ld %ld.%09ld "
	                       "%ld.%09ld",
	                       ino, attr.st_mode, (unsigned)attr.st_nlink, attr.st_uid, attr.st_gid, attr.st_size,
	                       attr.st_blocks, attr.st_atim.tv_sec, attr.st_atim.tv_nsec, attr.st_mtim.tv_sec,
	                       attr.st_mtim.tv_nsec, attr.st_ctim.tv_sec, attr.st_ctim.tv_nsec);
	if (S_ISLNK(attr.st_mode) && namespace_readlink(ns, ino, &target) == 0)
		g_string_append_printf(text, " -> %s", target);
	if (S_ISREG(attr.st_mode) && namespace_get_file(ns, ino, &file) == 0) {
		g_autofree char *extents = file_describe_extents(file);

		g_string_append_printf(text, " [%s]", extents);
		namespace_put_file(ns, ino);
	}
	describe_xattrs(ns, ino, text);
	if (namespace_get_quota(ns, ino, &quota) == 0)
		g_string_append_printf(text,
		                       " quota %" G_GUINT64_FORMAT "/%" G_GUINT64_FORMAT " bytes %" G_GUINT64_FORMAT
		                       "/%" G_GUINT64_FORMAT " files",
		                       quota.used.of[QUOTA_BYTES], quota.max.of[QUOTA_BYTES],
		                       quota.used.of[QUOTA_FILES], quota.max.of[QUOTA_FILES]);
	if (namespace_get_alloc(ns, ino, &demand, &discard) == 0)
		g_string_append_printf(text, " demand %d discard %d", demand, discard);
	g_string_append_c(text, '\n');
	if (S_ISDIR(attr.st_mode))
		describe(ns, ino, text);
}

static void describe(struct namespace *ns, uint64_t ino, GString *text)
{
	g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func(g_free);

	g_assert_cmpint(namespace_readdir(ns, ino, DIRECTORY_DOTS, false, describe_entry, entries), ==, 0);
	for (guint i = 0; i < entries->len; i++) {
		const char *entry = g_ptr_array_index(entries, i);

		g_string_append_printf(text, "%s\n", entry);
		describe_inode(ns, g_ascii_strtoull(strchr(entry, ' '), NULL, 10), text);
	}
}

char *world_description(struct world *world)
{
	g_autofree char *drift = namespace_check_quotas(world->ns);
	GString *text = g_string_new(NULL);
	uint64_t there, room;

	describe_inode(world->ns, ROOT, text);
	namespace_get_inodes(world->ns, &there, &room);
	g_string_append_printf(text,
	                       "%" G_GUINT64_FORMAT " inodes, room for %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT
	                       " bytes free\n",
	                       there, room, fake_free_bytes(world->fake));
	g_assert_cmpstr(drift, ==, NULL);
	return g_string_free(text, FALSE);
}

void world_restart(struct world *world)
{
	namespace_destroy(world->ns, true);
	fake_restart(world->fake);
	world_start(world);
}

void world_tear_down(struct world *world, gconstpointer data)
{
	g_autofree char *before = world_description(world);
	g_autofree char *after = NULL;

	(void)data;
	world_restart(world);
	after = world_description(world);
	g_assert_cmpstr(after, ==, before);
	namespace_destroy(world->ns, true);
	fake_destroy(world->fake);
}

uint64_t world_make(struct world *world, uint64_t parent, const char *name, mode_t mode)
{
	struct stat attr;

	g_assert_cmpint(namespace_make(world->ns, parent, name, mode, "target", world_caller, &attr), ==, 0);
	namespace_forget(world->ns, attr.st_ino, 1);
	return attr.st_ino;
}
