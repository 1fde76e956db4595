// SPDX-License-Identifier: GPL-2.0-or-later
/* Inodes and names: links, renames, lifetimes, attributes, listing. */
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "file/unlinked_mapped.h"
#include "unit/namespace/world.h"

#define ROOT STORE_ROOT_INO

static int look(struct world *world, uint64_t parent, const char *name, struct stat *attr)
{
	int err = namespace_lookup(world->ns, parent, name, attr);

	if (!err)
		namespace_forget(world->ns, attr->st_ino, 1);
	return err;
}

static uint64_t ino_of(struct world *world, uint64_t parent, const char *name)
{
	struct stat attr;
	int err = look(world, parent, name, &attr);

	return err ? 0 : attr.st_ino;
}

static nlink_t links(struct world *world, uint64_t ino)
{
	struct stat attr;

	g_assert_cmpint(namespace_getattr(world->ns, ino, &attr), ==, 0);
	return attr.st_nlink;
}

static void made_inodes_belong_to_the_caller(struct world *world, gconstpointer data)
{
	struct stat attr;

	(void)data;
	world_make(world, ROOT, "file", S_IFREG | 0640);
	g_assert_cmpint(look(world, ROOT, "file", &attr), ==, 0);
	g_assert_cmpuint(attr.st_uid, ==, world_caller.uid);
	g_assert_cmpuint(attr.st_gid, ==, world_caller.gid);
	g_assert_cmphex(attr.st_mode, ==, S_IFREG | 0640);
	g_assert_cmpint(namespace_make(world->ns, ROOT, "file", S_IFREG, NULL, world_caller, &attr), ==, -EEXIST);
	g_assert_cmpint(namespace_make(world->ns, ROOT, "dev", S_IFBLK, NULL, world_caller, &attr), ==, -EPERM);
	g_assert_cmpint(namespace_make(world->ns, ROOT, "dev", S_IFCHR, NULL, world_caller, &attr), ==, -EPERM);
	g_assert_cmpint(namespace_make(world->ns, attr.st_ino + 99, "x", S_IFREG, NULL, world_caller, &attr), ==,
	                -ENOENT);
}

static void names_end_at_255_bytes(struct world *world, gconstpointer data)
{
	g_autofree char *fits = g_strnfill(255, 'n'), *too_long = g_strnfill(256, 'n');
	struct stat attr;

	(void)data;
	world_make(world, ROOT, fits, S_IFREG);
	g_assert_cmpint(look(world, ROOT, fits, &attr), ==, 0);
	g_assert_cmpint(namespace_make(world->ns, ROOT, too_long, S_IFREG, NULL, world_caller, &attr), ==,
	                -ENAMETOOLONG);
	g_assert_cmpint(look(world, ROOT, too_long, &attr), ==, -ENAMETOOLONG);
	g_assert_cmpint(namespace_rename(world->ns, ROOT, fits, ROOT, too_long, 0), ==, -ENAMETOOLONG);
	g_assert_cmpint(look(world, ROOT, fits, &attr), ==, 0);
}

static void set_group_id_directories_hand_down_their_group(struct world *world, gconstpointer data)
{
	struct stat attr = { .st_mode = S_ISGID | 0777, .st_gid = 77 };
	uint64_t dir = world_make(world, ROOT, "dir", S_IFDIR | 0755);

	(void)data;
	namespace_setattr(world->ns, dir, FUSE_SET_ATTR_MODE | FUSE_SET_ATTR_GID, &attr);
	world_make(world, dir, "file", S_IFREG | 0644);
	world_make(world, dir, "sub", S_IFDIR | 0755);
	g_assert_cmpint(look(world, dir, "file", &attr), ==, 0);
	g_assert_cmpuint(attr.st_gid, ==, 77);
	g_assert_cmphex(attr.st_mode & S_ISGID, ==, 0);
	g_assert_cmpint(look(world, dir, "sub", &attr), ==, 0);
	g_assert_cmpuint(attr.st_gid, ==, 77);
	g_assert_cmphex(attr.st_mode & S_ISGID, ==, S_ISGID);
}

static void links_are_counted(struct world *world, gconstpointer data)
{
	uint64_t ino = world_make(world, ROOT, "a", S_IFREG), dir = world_make(world, ROOT, "dir", S_IFDIR);
	struct stat attr;

	(void)data;
	g_assert_cmpuint(links(world, ROOT), ==, 3);
	g_assert_cmpint(namespace_link(world->ns, ino, dir, "b", &attr), ==, 0);
	namespace_forget(world->ns, ino, 1);
	g_assert_cmpuint(attr.st_nlink, ==, 2);
	g_assert_cmpuint(ino_of(world, dir, "b"), ==, ino);
	g_assert_cmpint(namespace_link(world->ns, ino, dir, "b", &attr), ==, -EEXIST);
	g_assert_cmpint(namespace_link(world->ns, dir, ROOT, "c", &attr), ==, -EPERM);
	g_assert_cmpint(namespace_unlink(world->ns, ROOT, "a"), ==, 0);
	g_assert_cmpuint(links(world, ino), ==, 1);
	g_assert_cmpint(namespace_rmdir(world->ns, ROOT, "dir"), ==, -ENOTEMPTY);
	g_assert_cmpint(namespace_unlink(world->ns, dir, "b"), ==, 0);
	g_assert_cmpint(namespace_getattr(world->ns, ino, &attr), ==, -ENOENT);
	g_assert_cmpint(namespace_unlink(world->ns, ROOT, "dir"), ==, -EISDIR);
	g_assert_cmpint(namespace_rmdir(world->ns, ROOT, "dir"), ==, 0);
	g_assert_cmpuint(links(world, ROOT), ==, 2);
}

static void removed_files_live_while_they_are_known(struct world *world, gconstpointer data)
{
	struct stat attr;
	struct file *file;

	(void)data;
	g_assert_cmpint(namespace_make(world->ns, ROOT, "f", S_IFREG, NULL, world_caller, &attr), ==, 0);

	uint64_t ino = attr.st_ino;

	g_assert_cmpint(namespace_unlink(world->ns, ROOT, "f"), ==, 0);
	g_assert_cmpint(namespace_get_file(world->ns, ino, &file), ==, 0);
	g_assert_cmpint(file_truncate(file, DMEMFS_PAGE_2M), ==, 0);
	namespace_forget(world->ns, ino, 1);
	/* Now only the pin keeps the inode alive. */
	g_assert_cmpuint(links(world, ino), ==, 0);
	g_assert_cmpuint(file_size(file), ==, DMEMFS_PAGE_2M);
	namespace_put_file(world->ns, ino);
	g_assert_cmpint(namespace_getattr(world->ns, ino, &attr), ==, -ENOENT);
	g_assert_cmpuint(fake_free_bytes(world->fake), ==, 16 * DMEMFS_PAGE_2M);
}

static void nameless_files_can_be_given_a_name(struct world *world, gconstpointer data)
{
	struct stat attr;

	(void)data;
	g_assert_cmpint(namespace_make(world->ns, ROOT, NULL, S_IFREG | 0600, NULL, world_caller, &attr), ==, 0);
	g_assert_cmpuint(attr.st_nlink, ==, 0);
	g_assert_cmpint(namespace_link(world->ns, attr.st_ino, ROOT, "named", &attr), ==, 0);
	g_assert_cmpuint(attr.st_nlink, ==, 1);
	namespace_forget(world->ns, attr.st_ino, 2);
	g_assert_cmpuint(ino_of(world, ROOT, "named"), ==, attr.st_ino);
}

static void rename_replaces(struct world *world, gconstpointer data)
{
	uint64_t a = world_make(world, ROOT, "a", S_IFREG), b = world_make(world, ROOT, "b", S_IFREG);
	struct stat attr;

	(void)data;
	g_assert_cmpint(namespace_rename(world->ns, ROOT, "a", ROOT, "b", RENAME_NOREPLACE), ==, -EEXIST);
	g_assert_cmpint(namespace_rename(world->ns, ROOT, "a", ROOT, "b", 0), ==, 0);
	g_assert_cmpuint(ino_of(world, ROOT, "a"), ==, 0);
	g_assert_cmpuint(ino_of(world, ROOT, "b"), ==, a);
	g_assert_cmpint(namespace_getattr(world->ns, b, &attr), ==, -ENOENT);
	g_assert_cmpint(namespace_rename(world->ns, ROOT, "none", ROOT, "b", 0), ==, -ENOENT);
	g_assert_cmpint(namespace_rename(world->ns, ROOT, "b", ROOT, "c", RENAME_EXCHANGE), ==, -ENOENT);
	g_assert_cmpint(namespace_rename(world->ns, ROOT, "b", ROOT, "c", RENAME_NOREPLACE), ==, 0);
	g_assert_cmpint(namespace_rename(world->ns, ROOT, "c", ROOT, "d", RENAME_WHITEOUT), ==, -EINVAL);
	g_assert_cmpuint(ino_of(world, ROOT, "c"), ==, a);
}

static void rename_moves_directories_with_their_links(struct world *world, gconstpointer data)
{
	uint64_t left = world_make(world, ROOT, "left", S_IFDIR), right = world_make(world, ROOT, "right", S_IFDIR);
	uint64_t sub = world_make(world, left, "sub", S_IFDIR), deep = world_make(world, sub, "deep", S_IFDIR);

	(void)data;
	world_make(world, ROOT, "file", S_IFREG);
	g_assert_cmpint(namespace_rename(world->ns, sub, "deep", ROOT, "left", 0), ==, -ENOTEMPTY);
	g_assert_cmpint(namespace_rename(world->ns, sub, "deep", ROOT, "file", 0), ==, -ENOTDIR);
	g_assert_cmpint(namespace_rename(world->ns, ROOT, "file", ROOT, "left", 0), ==, -EISDIR);

	g_assert_cmpint(namespace_rename(world->ns, left, "sub", ROOT, "right", 0), ==, 0);
	g_assert_cmpuint(ino_of(world, ROOT, "right"), ==, sub);
	g_assert_cmpuint(links(world, left), ==, 2);
	g_assert_cmpuint(links(world, sub), ==, 3);
	g_assert_cmpuint(links(world, ROOT), ==, 4);
	(void)right;

	/* A directory is exchanged with a file: its ".." counts in the other parent now. */
	g_assert_cmpint(namespace_rename(world->ns, sub, "deep", ROOT, "file", RENAME_EXCHANGE), ==, 0);
	g_assert_cmpuint(ino_of(world, ROOT, "file"), ==, deep);
	g_assert_cmpuint(links(world, sub), ==, 2);
	g_assert_cmpuint(links(world, ROOT), ==, 5);
}

static void rename_between_names_of_one_inode_does_nothing(struct world *world, gconstpointer data)
{
	uint64_t ino = world_make(world, ROOT, "a", S_IFREG);
	struct stat attr;

	(void)data;
	g_assert_cmpint(namespace_link(world->ns, ino, ROOT, "b", &attr), ==, 0);
	namespace_forget(world->ns, ino, 1);
	g_assert_cmpint(namespace_rename(world->ns, ROOT, "a", ROOT, "b", 0), ==, 0);
	g_assert_cmpuint(ino_of(world, ROOT, "a"), ==, ino);
	g_assert_cmpuint(ino_of(world, ROOT, "b"), ==, ino);
	g_assert_cmpuint(links(world, ino), ==, 2);
}

static void removed_directories_take_nothing_in(struct world *world, gconstpointer data)
{
	struct stat attr;

	(void)data;
	g_assert_cmpint(namespace_make(world->ns, ROOT, "dir", S_IFDIR, NULL, world_caller, &attr), ==, 0);
	g_assert_cmpint(namespace_rmdir(world->ns, ROOT, "dir"), ==, 0);

	uint64_t dir = attr.st_ino;

	g_assert_cmpint(namespace_make(world->ns, dir, "f", S_IFREG, NULL, world_caller, &attr), ==, -ENOENT);
	namespace_forget(world->ns, dir, 1);
}

static bool add_name(const char *name, uint64_t cookie, const struct stat *attr, bool demand, void *data)
{
	(void)cookie;
	(void)attr;
	(void)demand;
	g_string_append_printf(data, "%s ", name);
	return true;
}

static void listing_starts_with_dot_and_dotdot_and_the_newest(struct world *world, gconstpointer data)
{
	g_autoptr(GString) names = g_string_new(NULL);

	(void)data;
	world_make(world, ROOT, "b", S_IFREG);
	world_make(world, ROOT, "a", S_IFLNK);
	g_assert_cmpint(namespace_readdir(world->ns, ROOT, 0, false, add_name, names), ==, 0);
	g_assert_cmpstr(names->str, ==, ". .. a b ");
}

/* With full attributes each entry counts a lookup, which the kernel forgets later. */
static void full_listing_counts_lookups(struct world *world, gconstpointer data)
{
	g_autoptr(GString) names = g_string_new(NULL);
	uint64_t ino = world_make(world, ROOT, "f", S_IFREG);
	struct stat attr;

	(void)data;
	g_assert_cmpint(namespace_readdir(world->ns, ROOT, 0, true, add_name, names), ==, 0);
	g_assert_cmpint(namespace_unlink(world->ns, ROOT, "f"), ==, 0);
	g_assert_cmpint(namespace_getattr(world->ns, ino, &attr), ==, 0);
	namespace_forget(world->ns, ino, 1);
	g_assert_cmpint(namespace_getattr(world->ns, ino, &attr), ==, -ENOENT);
}

static void extended_attributes(struct world *world, gconstpointer data)
{
	uint64_t ino = world_make(world, ROOT, "f", S_IFREG);
	g_autofree char *big = g_malloc0(65536);
	g_autofree void *value = NULL;
	char list[64];
	size_t size;

	(void)data;
	g_assert_cmpint(namespace_setxattr(world->ns, ino, "user.a", "1\0002", 3, 0), ==, 0);
	g_assert_cmpint(namespace_setxattr(world->ns, ino, "user.a", "", 0, XATTR_CREATE), ==, -EEXIST);
	g_assert_cmpint(namespace_setxattr(world->ns, ino, "user.b", "", 0, XATTR_REPLACE), ==, -ENODATA);
	g_assert_cmpint(namespace_getxattr(world->ns, ino, "user.a", &value, &size), ==, 0);
	g_assert_cmpmem(value, size, "1\0002", 3);
	g_assert_cmpint(namespace_setxattr(world->ns, ino, "user.big", big, 65536, 0), ==, 0);
	g_assert_cmpint(namespace_setxattr(world->ns, ino, "user.big2", big, 65536, 0), ==, -ENOSPC);
	g_assert_cmpint(namespace_setxattr(world->ns, ino, "system.posix_acl_access", "", 0, 0), ==, -EOPNOTSUPP);
	g_assert_cmpint(namespace_setxattr(world->ns, ino, "user.", "", 0, 0), ==, -EOPNOTSUPP);
	g_assert_cmpint(namespace_removexattr(world->ns, ino, "user.big"), ==, 0);
	g_assert_cmpint(namespace_removexattr(world->ns, ino, "user.big"), ==, -ENODATA);
	g_assert_cmpint(namespace_listxattr(world->ns, ino, false, NULL, 0), ==, 7);
	g_assert_cmpint(namespace_listxattr(world->ns, ino, false, list, 6), ==, -ERANGE);
	g_assert_cmpint(namespace_listxattr(world->ns, ino, false, list, sizeof(list)), ==, 7);
	g_assert_cmpstr(list, ==, "user.a");
}

/* A file that leaves the namespace while another thread asks for it. */
static struct {
	struct world *world;
	uint64_t ino;
	GThread *toucher;
	void (*backing_close)(int id);
} leaving;

static gpointer find_owner(gpointer data)
{
	struct unlinked_mapped *unlinked_mapped = leaving.world->fake->storage.unlinked_mapped;
	struct file *file;

	(void)data;
	g_assert_cmpint(namespace_get_file(leaving.world->ns, leaving.ino, &file), ==, -ENOENT);
	unlinked_mapped_lock(unlinked_mapped);
	g_assert_nonnull(unlinked_mapped_find(unlinked_mapped, leaving.ino));
	unlinked_mapped_unlock(unlinked_mapped);
	return NULL;
}

/* Called after the file has left the namespace and before it is in unlinked_mapped. */
static void look_for_it(int id)
{
	leaving.backing_close(id);
	leaving.toucher = g_thread_new("toucher", find_owner, NULL);
	g_usleep(50 * G_TIME_SPAN_MILLISECOND);
}

static void removed_demand_files_always_have_an_owner(struct world *world, gconstpointer data)
{
	struct fake *fake = world->fake;
	struct file *file;
	int id;

	(void)data;
	leaving.world = world;
	leaving.ino = world_make(world, ROOT, "f", S_IFREG);
	g_assert_cmpint(namespace_set_alloc(world->ns, leaving.ino, 0, "demand", 0), ==, 0);
	g_assert_cmpint(namespace_get_file(world->ns, leaving.ino, &file), ==, 0);
	g_assert_cmpint(file_truncate(file, DMEMFS_PAGE_2M), ==, 0);
	g_assert_cmpint(file_open(file, fake, &id), ==, 0);
	namespace_put_file(world->ns, leaving.ino);
	leaving.backing_close = fake->storage.backing_close;
	fake->storage.backing_close = look_for_it;
	fake->hold = true;
	g_assert_cmpint(namespace_unlink(world->ns, ROOT, "f"), ==, 0);
	g_thread_join(leaving.toucher);
	fake->storage.backing_close = leaving.backing_close;
	fake_release_held(fake);
}

static void writes_take_privileges_away(struct world *world, gconstpointer data)
{
	uint64_t ino = world_make(world, ROOT, "f", S_IFREG | S_ISUID | S_ISGID | 0755);
	struct stat attr;

	(void)data;
	g_assert_cmpint(namespace_setxattr(world->ns, ino, "security.capability", "x", 1, 0), ==, 0);
	g_assert_cmpint(namespace_kill_privileges(world->ns, ino, false), ==, 0);
	g_assert_cmpint(namespace_listxattr(world->ns, ino, true, NULL, 0), ==, 0);
	namespace_getattr(world->ns, ino, &attr);
	g_assert_cmphex(attr.st_mode, ==, S_IFREG | S_ISUID | S_ISGID | 0755);
	g_assert_cmpint(namespace_kill_privileges(world->ns, ino, true), ==, 0);
	namespace_getattr(world->ns, ino, &attr);
	g_assert_cmphex(attr.st_mode, ==, S_IFREG | 0755);
}

/* A file without memory, for which the kernel has a reference. */
static uint64_t make_demand(struct world *world)
{
	struct file *file;
	struct stat attr;

	g_assert_cmpint(namespace_make(world->ns, ROOT, "vm", S_IFREG | 0600, NULL, world_caller, &attr), ==, 0);
	g_assert_cmpint(namespace_get_file(world->ns, attr.st_ino, &file), ==, 0);
	g_assert_cmpint(file_set_demand(file, true), ==, 0);
	g_assert_cmpint(file_truncate(file, DMEMFS_PAGE_2M), ==, 0);
	namespace_put_file(world->ns, attr.st_ino);
	return attr.st_ino;
}

/* The next daemon has a region with other pages, but a process still maps the file's object. */
static void next_region_has_other_pages(struct world *world)
{
	namespace_destroy(world->ns, false);
	fake_restart(world->fake);
	world->fake->attach_error = -ETXTBSY;
}

static void a_start_with_other_pages_names_what_is_in_use(struct world *world, gconstpointer data)
{
	g_autoptr(GError) error = NULL;
	g_autofree char *expected = NULL;

	(void)data;
	expected = g_strdup_printf("inode %" G_GUINT64_FORMAT
	                           " (/vm): its memory cannot be made ready: a process still maps it",
	                           make_demand(world));
	next_region_has_other_pages(world);
	world->ns = namespace_new(&world->fake->storage);
	g_assert_true(namespace_load(world->ns, true, false, NULL));
	g_assert_false(namespace_attach(world->ns, &error));
	g_assert_true(g_str_has_prefix(error->message, expected));
	world->fake->attach_error = 0;
	world_restart(world);
}

static void a_start_with_other_pages_drops_removed_files_in_use(struct world *world, gconstpointer data)
{
	(void)data;
	make_demand(world);
	g_assert_cmpint(namespace_unlink(world->ns, ROOT, "vm"), ==, 0);
	next_region_has_other_pages(world);
	world->fake->hold = true;
	world_start(world);
	g_assert_cmpuint(world->fake->held->len, ==, 1);
	fake_release_held(world->fake);
	world->fake->attach_error = 0;
	world->fake->hold = false;
}

#define TEST(path, function) g_test_add("/namespace/" path, struct world, NULL, world_set_up, function, world_tear_down)

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	TEST("make", made_inodes_belong_to_the_caller);
	TEST("names", names_end_at_255_bytes);
	TEST("set-group-id", set_group_id_directories_hand_down_their_group);
	TEST("links", links_are_counted);
	TEST("lifetime", removed_files_live_while_they_are_known);
	TEST("tmpfile", nameless_files_can_be_given_a_name);
	TEST("rename/replace", rename_replaces);
	TEST("rename/directories", rename_moves_directories_with_their_links);
	TEST("rename/same-inode", rename_between_names_of_one_inode_does_nothing);
	TEST("removed-directory", removed_directories_take_nothing_in);
	TEST("list", listing_starts_with_dot_and_dotdot_and_the_newest);
	TEST("list/full", full_listing_counts_lookups);
	TEST("xattr", extended_attributes);
	TEST("lifetime/demand", removed_demand_files_always_have_an_owner);
	TEST("privilege", writes_take_privileges_away);
	TEST("other-pages", a_start_with_other_pages_names_what_is_in_use);
	TEST("other-pages/removed", a_start_with_other_pages_drops_removed_files_in_use);
	return g_test_run();
}
