// SPDX-License-Identifier: GPL-2.0-or-later
/* Demand allocation: what touching, punching and sizing change in memory, promises, quotas and the record. */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>

#include "base/current_request.h"
#include "file/unlinked_mapped.h"
#include "pool/pool_clean.h"
#include "pool/pool_lent.h"
#include "unit/backend/fake_backend.h"

#define UNIT DMEMFS_PAGE_2M

static struct file *new_file(struct fake *fake, uint64_t ino)
{
	struct file *file = file_new(&fake->storage, ino);

	g_assert_cmpint(file_set_demand(file, true), ==, 0);
	return file;
}

static int touch(struct file *file, uint64_t offset)
{
	const struct backend_fault fault = { .offset = offset / UNIT * UNIT, .length = UNIT, .node = -1 };

	return file_demand_fault(file, &fault, &(struct pool_wait){ 0 });
}

static void sizing_takes_no_memory(void)
{
	struct fake *fake = fake_new(16 * UNIT, UNIT);
	struct file *file = new_file(fake, 2);

	g_assert_cmpint(file_truncate(file, 5 * UNIT + 1), ==, 0);
	g_assert_cmpuint(file_size(file), ==, 5 * UNIT + 1);
	g_assert_cmpuint(file_allocated(file), ==, 0);
	g_assert_cmpuint(file_charged(file), ==, 6 * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 6 * UNIT);
	g_assert_cmpuint(fake->mode, ==, BACKEND_DEMAND);
	g_assert_cmpint(file_set_demand(file, false), ==, -EBUSY);
	g_assert_cmpint(file_seek(file, 0, SEEK_HOLE), ==, 0);
	g_assert_cmpint(file_seek(file, 0, SEEK_DATA), ==, -ENXIO);
	g_assert_cmpint(file_truncate(file, 1), ==, 0);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, UNIT);
	file_destroy(file);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 0);
	fake_destroy(fake);
}

static void a_touch_brings_a_unit(void)
{
	struct fake *fake = fake_new(16 * UNIT, UNIT);
	struct file *file = new_file(fake, 2);

	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	g_assert_cmpint(touch(file, UNIT + 5), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, UNIT);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 15 * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 3 * UNIT);
	g_assert_cmpint(touch(file, UNIT), ==, -EEXIST);
	g_assert_cmpint(touch(file, 4 * UNIT), ==, -EEXIST);
	g_assert_cmpint(file_seek(file, 0, SEEK_DATA), ==, UNIT);
	g_assert_cmpint(file_seek(file, UNIT, SEEK_HOLE), ==, 2 * UNIT);
	file_destroy(file);
	fake_destroy(fake);
}

/* Touches at the same time: what happens while the first one has its memory zeroed. */
static struct {
	struct backend_ops ops;
	struct file *file, *other;
	int (*clean)(struct backend *backend, struct extent extent);
} meanwhile;

static int touch_meanwhile(struct backend *backend, struct extent extent)
{
	const struct backend_fault next = { .offset = DMEMFS_PAGE_4K, .length = DMEMFS_PAGE_4K, .node = -1 };

	meanwhile.ops.clean = meanwhile.clean;
	/* The process repeats its access. */
	g_assert_cmpint(file_demand_fault(meanwhile.file, &next, &(struct pool_wait){ 0 }), ==, -EEXIST);
	g_assert_cmpint(file_allocate(meanwhile.file, 0, 0, UNIT), ==, -ENOSPC);
	/* What was promised is there. */
	g_assert_cmpint(touch(meanwhile.other, 0), ==, 0);
	return meanwhile.clean(backend, extent);
}

static void two_touches_take_no_memory_of_other_files(void)
{
	struct fake *fake = fake_new(2 * UNIT, DMEMFS_PAGE_4K);
	const struct backend_fault first = { .offset = 0, .length = DMEMFS_PAGE_4K, .node = -1 };

	fake->storage.demand_extent = UNIT;
	meanwhile.ops = *fake->storage.ops;
	meanwhile.clean = meanwhile.ops.clean;
	meanwhile.file = new_file(fake, 2);
	meanwhile.other = new_file(fake, 3);
	g_assert_cmpint(file_truncate(meanwhile.file, UNIT), ==, 0);
	g_assert_cmpint(file_truncate(meanwhile.other, UNIT), ==, 0);
	meanwhile.ops.clean = touch_meanwhile;
	fake->storage.ops = &meanwhile.ops;
	g_assert_cmpint(file_demand_fault(meanwhile.file, &first, &(struct pool_wait){ 0 }), ==, 0);
	g_assert_cmpuint(file_allocated(meanwhile.file), ==, UNIT);
	g_assert_cmpuint(file_allocated(meanwhile.other), ==, UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 0);
	file_destroy(meanwhile.file);
	file_destroy(meanwhile.other);
	fake_destroy(fake);
}

static void a_touch_may_bring_more(void)
{
	struct fake *fake = fake_new(2 * DMEMFS_PAGE_1G, DMEMFS_PAGE_4K);
	struct file *file = new_file(fake, 2);
	const struct backend_fault first = { .offset = 5 * DMEMFS_PAGE_4K, .length = DMEMFS_PAGE_4K, .node = -1 };
	const struct backend_fault last = { .offset = 2 * UNIT, .length = DMEMFS_PAGE_4K, .node = -1 };

	fake->storage.demand_extent = DMEMFS_PAGE_1G;
	g_assert_cmpint(file_truncate(file, 2 * UNIT + 1), ==, 0);
	g_assert_cmpint(file_demand_fault(file, &first, &(struct pool_wait){ 0 }), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, UNIT);
	/* Never past the size. */
	g_assert_cmpint(file_demand_fault(file, &last, &(struct pool_wait){ 0 }), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, UNIT + DMEMFS_PAGE_4K);
	file_destroy(file);
	fake_destroy(fake);
}

/* Lent memory that a whole page of 2 MiB needs does not come back. */
static void a_small_page_is_better_than_lent_memory(void)
{
	struct fake *fake = fake_new(2 * UNIT, DMEMFS_PAGE_4K);
	struct file *file = new_file(fake, 2), *other = file_new(&fake->storage, 3);
	struct backend_fault fault = { .length = DMEMFS_PAGE_4K, .node = -1 };
	const struct extent all = { UINT64_C(4) << 30, 2 * UNIT }, unit = { all.start + UNIT, UNIT };
	struct pool *pool = fake->storage.pool;
	g_autoptr(GArray) believed = extents_new();
	struct pool_wait wait = { 0 };
	int err;

	fake->storage.demand_extent = UNIT;
	fake_allow_lending(fake, UNIT);
	memset(fake->dirty->data, 0, fake->dirty->len);
	pool_believe(pool, all, believed);
	g_assert_cmpint(file_truncate(file, UNIT), ==, 0);
	g_assert_cmpint(file_truncate(other, DMEMFS_PAGE_4K), ==, 0);
	g_assert_true(pool_lend_begin(pool, unit));
	pool_open_lending(pool, G_TIME_SPAN_SECOND);
	g_assert_cmpint(file_demand_fault(file, &fault, &wait), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, DMEMFS_PAGE_4K);
	g_assert_cmpint(wait.since, ==, 0);
	/* Only the page for which nothing is free needs it. */
	pool_close_lending(pool);
	do {
		fault.offset += DMEMFS_PAGE_4K;
		err = file_demand_fault(file, &fault, &(struct pool_wait){ 0 });
	} while (!err);
	g_assert_cmpint(err, ==, -ERESTART);
	g_assert_cmpuint(file_allocated(file), ==, UNIT - DMEMFS_PAGE_4K);
	pool_take_back(pool, unit);
	file_destroy(file);
	file_destroy(other);
	fake_destroy(fake);
}

/* The memory of a removed file, which a process still maps, may come back. Requests for the touched file do not wait meanwhile. */
static void a_touch_waits_for_a_removed_file_without_the_lock(void)
{
	struct fake *fake = fake_new(4 * UNIT, UNIT);
	struct file *file, *other = file_new(&fake->storage, 3);
	const struct backend_fault fault = { .length = UNIT, .node = -1 };
	struct pool_wait wait = { 0 };
	gint64 start;
	int err;

	pool_set_overcommit(fake->storage.pool, 2);
	file = new_file(fake, 2);
	g_assert_cmpint(file_truncate(file, UNIT), ==, 0);
	g_assert_cmpint(file_truncate(other, 4 * UNIT), ==, 0);
	fake->hold = true;
	start = g_get_monotonic_time();
	file_destroy(other);
	g_assert_cmpint(file_demand_fault(file, &fault, &wait), ==, -EALREADY);
	while ((err = file_demand_fault(file, &fault, &wait)) == -EALREADY)
		;
	g_assert_cmpint(err, ==, -ENOSPC);
	g_assert_cmpint(g_get_monotonic_time() - start, >=, POOL_PATIENCE_MS * G_TIME_SPAN_MILLISECOND);
	fake_release_held(fake);
	g_assert_cmpint(file_demand_fault(file, &fault, &wait), ==, 0);
	file_destroy(file);
	fake_release_held(fake);
	fake_destroy(fake);
}

static void promises_end_at_the_factor(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *eager = file_new(&fake->storage, 2), *file = new_file(fake, 3), *other = new_file(fake, 4);

	g_assert_cmpint(file_truncate(eager, 2 * UNIT), ==, 0);
	g_assert_cmpint(file_truncate(file, 7 * UNIT), ==, -ENOSPC);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	/* Promised memory is not available to other files. */
	g_assert_cmpint(file_truncate(eager, 5 * UNIT), ==, -ENOSPC);
	g_assert_cmpint(file_truncate(eager, 4 * UNIT), ==, 0);
	for (uint64_t at = 0; at < 4 * UNIT; at += UNIT)
		g_assert_cmpint(touch(file, at), ==, 0);

	pool_set_overcommit(fake->storage.pool, 1.5);
	g_assert_cmpint(file_truncate(other, 5 * UNIT), ==, -ENOSPC);
	g_assert_cmpint(file_truncate(other, 4 * UNIT), ==, 0);
	g_assert_cmpint(touch(other, 0), ==, -ENOSPC);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 4 * UNIT);
	g_assert_cmpint(file_truncate(eager, 3 * UNIT), ==, 0);
	g_assert_cmpint(touch(other, 0), ==, 0);
	file_destroy(eager);
	file_destroy(file);
	file_destroy(other);
	fake_destroy(fake);
}

static void writing_brings_what_it_needs(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = new_file(fake, 2);
	char byte = 0;

	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	g_assert_cmpint(file_write(file, "ab", 2, 2 * UNIT - 1), ==, 2);
	g_assert_cmpuint(file_allocated(file), ==, 2 * UNIT);
	g_assert_cmpint(file_write(file, "c", 1, 6 * UNIT), ==, 1);
	g_assert_cmpuint(file_size(file), ==, 6 * UNIT + 1);
	g_assert_cmpuint(file_allocated(file), ==, 3 * UNIT);
	g_assert_cmpint(file_write(file, "d", 1, 8 * UNIT), ==, -ENOSPC);
	g_assert_cmpuint(file_size(file), ==, 6 * UNIT + 1);
	g_assert_cmpint(file_read(file, &byte, 1, 2 * UNIT), ==, 1);
	g_assert_cmpint(byte, ==, 'b');
	file_destroy(file);
	fake_destroy(fake);
}

static void fallocate_in_its_modes(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = new_file(fake, 2);

	g_assert_cmpint(file_allocate(file, 0, UNIT, 3 * UNIT), ==, 0);
	g_assert_cmpuint(file_size(file), ==, 4 * UNIT);
	g_assert_cmpuint(file_allocated(file), ==, 3 * UNIT);
	g_assert_cmpint(file_allocate(file, FALLOC_FL_KEEP_SIZE, 4 * UNIT, UNIT), ==, -EOPNOTSUPP);
	/* Half of a unit, one, and half of one. */
	g_assert_cmpint(file_allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, UNIT + UNIT / 2, 2 * UNIT), ==,
	                0);
	g_assert_cmpuint(file_allocated(file), ==, 2 * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 2 * UNIT);
	g_assert_cmpint(file_seek(file, UNIT, SEEK_HOLE), ==, 2 * UNIT);
	g_assert_cmpint(file_seek(file, 2 * UNIT, SEEK_DATA), ==, 3 * UNIT);
	g_assert_cmpint(touch(file, 2 * UNIT), ==, 0);
	g_assert_cmpint(file_allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 9 * UNIT), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, 0);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 8 * UNIT);
	file_destroy(file);
	fake_destroy(fake);
}

static void what_a_process_punches_comes_back(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = new_file(fake, 2);

	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	g_assert_cmpint(file_allocate(file, 0, 0, 4 * UNIT), ==, 0);
	fake_punch(fake, UNIT, 2 * UNIT);
	g_assert_cmpint(file_demand_punched(file, 0, 2 * UNIT), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, 2 * UNIT);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 6 * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 2 * UNIT);
	/* A fault may be served before the punch is reported. */
	fake_punch(fake, 3 * UNIT, UNIT);
	g_assert_cmpint(touch(file, 3 * UNIT), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, 2 * UNIT);
	g_assert_cmpint(file_demand_punched(file, 0, 4 * UNIT), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, 2 * UNIT);
	/* The file may also shrink before that. */
	fake_punch(fake, 3 * UNIT, UNIT);
	g_assert_cmpint(file_truncate(file, UNIT), ==, 0);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 7 * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 0);
	file_destroy(file);
	fake_destroy(fake);
}

static void a_failure_changes_nothing(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = new_file(fake, 2);

	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	fake->fail_give_in = 1;
	g_assert_cmpint(touch(file, 0), ==, -ENOSPC);
	g_assert_cmpuint(file_allocated(file), ==, 0);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 4 * UNIT);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 8 * UNIT);
	fake->fail_give_in = 1;
	g_assert_cmpint(file_write(file, "x", 1, 5 * UNIT), ==, -ENOSPC);
	g_assert_cmpuint(file_size(file), ==, 4 * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 4 * UNIT);
	g_assert_cmpint(touch(file, 0), ==, 0);
	file_destroy(file);
	fake_destroy(fake);
}

/* A process still maps a removed file, and touches it. */
static void a_removed_file_still_gets_memory(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = new_file(fake, 2);

	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	g_assert_cmpint(touch(file, 0), ==, 0);
	fake->hold = true;
	file_destroy(file);
	file = unlinked_mapped_find(fake->storage.unlinked_mapped, 2);
	g_assert_nonnull(file);
	g_assert_cmpint(touch(file, UNIT), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, 2 * UNIT);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 2 * UNIT);
	g_assert_cmpuint(unlinked_mapped_bytes(fake->storage.unlinked_mapped), ==, 2 * UNIT);
	fake_release_held(fake);
	g_assert_cmpuint(unlinked_mapped_bytes(fake->storage.unlinked_mapped), ==, 0);
	g_assert_null(unlinked_mapped_find(fake->storage.unlinked_mapped, 2));
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 0);
	fake_destroy(fake);
}

static void the_quota_is_charged_at_sizing(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = new_file(fake, 2);

	quota_set_limit(fake->storage.quotas, quotas_root(fake->storage.quotas), QUOTA_BYTES, 4 * UNIT);
	quota_assign(fake->storage.quotas, file_account(file), quotas_root(fake->storage.quotas), 0);
	g_assert_cmpint(file_truncate(file, 5 * UNIT), ==, -EDQUOT);
	g_assert_cmpint(file_truncate(file, 3 * UNIT + 1), ==, 0);
	g_assert_cmpuint(file_account(file)->bytes, ==, 4 * UNIT);
	g_assert_cmpint(touch(file, 3 * UNIT), ==, 0);
	g_assert_cmpuint(file_account(file)->bytes, ==, 4 * UNIT);
	g_assert_cmpint(file_truncate(file, UNIT), ==, 0);
	g_assert_cmpuint(file_account(file)->bytes, ==, UNIT);
	quota_assign(fake->storage.quotas, file_account(file), NULL, 0);
	file_destroy(file);
	fake_destroy(fake);
}

/* A process still maps it, and an earlier daemon dropped its object. */
static void a_removed_file_keeps_its_promise(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2);

	file_restore(file, 4 * UNIT);
	file_restore_alloc(file, true, false);
	fake->attach_error = -ESTALE;
	fake->hold = true;
	g_assert_cmpint(file_attach(file), ==, -ESTALE);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 4 * UNIT);
	file_destroy(file);
	g_assert_true(unlinked_mapped_find(fake->storage.unlinked_mapped, 2) == file);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 4 * UNIT);
	g_assert_cmpint(touch(file, UNIT), ==, 0);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 3 * UNIT);
	fake_release_held(fake);
	g_assert_cmpuint(fake_promised_bytes(fake), ==, 0);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 8 * UNIT);
	fake_destroy(fake);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/file-demand/sizing", sizing_takes_no_memory);
	g_test_add_func("/file-demand/touch", a_touch_brings_a_unit);
	g_test_add_func("/file-demand/touch/more", a_touch_may_bring_more);
	g_test_add_func("/file-demand/touch/lent", a_small_page_is_better_than_lent_memory);
	g_test_add_func("/file-demand/touch/removed", a_touch_waits_for_a_removed_file_without_the_lock);
	g_test_add_func("/file-demand/at-once", two_touches_take_no_memory_of_other_files);
	g_test_add_func("/file-demand/overcommit", promises_end_at_the_factor);
	g_test_add_func("/file-demand/write", writing_brings_what_it_needs);
	g_test_add_func("/file-demand/fallocate", fallocate_in_its_modes);
	g_test_add_func("/file-demand/punched", what_a_process_punches_comes_back);
	g_test_add_func("/file-demand/failure", a_failure_changes_nothing);
	g_test_add_func("/file-demand/removed", a_removed_file_still_gets_memory);
	g_test_add_func("/file-demand/removed/restart", a_removed_file_keeps_its_promise);
	g_test_add_func("/file-demand/quota", the_quota_is_charged_at_sizing);
	return g_test_run();
}
