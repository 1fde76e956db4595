// SPDX-License-Identifier: GPL-2.0-or-later
/* The contents of a file: sizes, memory, zeroing, shortage, opens. The fake backend asserts that it is used correctly. */
#include <errno.h>
#include <linux/falloc.h>
#include <string.h>
#include <unistd.h>

#include "base/current_request.h"
#include "unit/backend/fake_backend.h"

#define UNIT DMEMFS_PAGE_2M

static void assert_zero(struct file *file, uint64_t offset, size_t length)
{
	g_autofree char *bytes = g_malloc(length);

	memset(bytes, 1, length);
	g_assert_cmpint(file_read(file, bytes, length, offset), ==, (ssize_t)length);
	for (size_t i = 0; i < length; i++)
		g_assert_cmpint(bytes[i], ==, 0);
}

static void sizes_are_exact_and_memory_is_in_units(void)
{
	struct fake *fake = fake_new(16 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2);

	g_assert_cmpint(file_truncate(file, 1), ==, 0);
	g_assert_cmpuint(file_size(file), ==, 1);
	g_assert_cmpuint(file_allocated(file), ==, UNIT);
	g_assert_cmpint(file_truncate(file, UNIT + 1), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, 2 * UNIT);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 14 * UNIT);
	g_assert_cmpint(file_truncate(file, 0), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, 0);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 16 * UNIT);
	file_destroy(file);
	fake_destroy(fake);
}

static void shortage_is_enospc_and_changes_nothing(void)
{
	struct fake *fake = fake_new(4 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2);

	g_assert_cmpint(file_truncate(file, UNIT), ==, 0);
	g_assert_cmpint(file_truncate(file, 4 * UNIT + 1), ==, -ENOSPC);
	g_assert_cmpint(file_truncate(file, INT64_MAX), ==, -ENOSPC);
	g_assert_cmpint(file_allocate(file, 0, UNIT, 4 * UNIT), ==, -ENOSPC);
	g_assert_cmpint(file_allocate(file, FALLOC_FL_KEEP_SIZE, INT64_MAX - 4096, 4096), ==, -EFBIG);
	g_assert_cmpuint(file_size(file), ==, UNIT);
	g_assert_cmpuint(file_allocated(file), ==, UNIT);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 3 * UNIT);
	g_assert_cmpint(file_truncate(file, 4 * UNIT), ==, 0);
	file_destroy(file);
	fake_destroy(fake);
}

/* The backend may have no memory although the pool has: then all memory that it was given is taken back. */
static void backend_failure_is_rolled_back(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2), *other = file_new(&fake->storage, 3);

	/* Memory in the middle leaves two gaps, so that two runs are given. */
	g_assert_cmpint(file_allocate(file, FALLOC_FL_KEEP_SIZE, UNIT, UNIT), ==, 0);
	fake->fail_give_in = 2;
	g_assert_cmpint(file_truncate(file, 3 * UNIT), ==, -ENOSPC);
	g_assert_cmpuint(file_size(file), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, UNIT);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 7 * UNIT);
	g_assert_cmpint(file_truncate(file, 3 * UNIT), ==, 0);
	file_destroy(other);
	file_destroy(file);
	fake_destroy(fake);
}

static void write_grows_and_reads_back(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2);
	int id;
	char text[5];

	g_assert_cmpint(file_open(file, fake, &id), ==, 0);
	g_assert_cmpint(file_write(file, "hello", 5, UNIT - 2), ==, 5);
	g_assert_cmpuint(file_size(file), ==, UNIT + 3);
	g_assert_cmpint(file_read(file, text, 5, UNIT - 2), ==, 5);
	g_assert_cmpmem(text, 5, "hello", 5);
	assert_zero(file, 0, UNIT - 2);
	g_assert_cmpint(file_read(file, text, 5, UNIT), ==, 3);
	g_assert_cmpint(file_read(file, text, 5, UNIT + 3), ==, 0);
	file_destroy(file);
	fake_destroy(fake);
}

static void write_at_the_end_of_memory_is_short(void)
{
	struct fake *fake = fake_new(2 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2);
	g_autofree char *data = g_malloc0(2 * UNIT);
	int id;

	g_assert_cmpint(file_open(file, fake, &id), ==, 0);
	g_assert_cmpint(file_truncate(file, UNIT), ==, 0);
	g_assert_cmpint(file_write(file, data, 2 * UNIT, UNIT / 2), ==, UNIT * 3 / 2);
	g_assert_cmpint(file_write(file, data, 1, 2 * UNIT), ==, -ENOSPC);
	g_assert_cmpuint(file_size(file), ==, 2 * UNIT);
	file_destroy(file);
	fake_destroy(fake);
}

static void shrink_and_grow_shows_no_old_bytes(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2);
	g_autofree char *data = g_strnfill(3 * UNIT, 'x');
	int id;

	g_assert_cmpint(file_open(file, fake, &id), ==, 0);
	g_assert_cmpint(file_write(file, data, 3 * UNIT, 0), ==, 3 * UNIT);
	g_assert_cmpint(file_truncate(file, 100), ==, 0);
	g_assert_cmpint(file_truncate(file, 3 * UNIT), ==, 0);
	assert_zero(file, 100, 3 * UNIT - 100);
	file_destroy(file);
	fake_destroy(fake);
}

static void keep_size_is_there_to_grow_into(void)
{
	struct fake *fake = fake_new(4 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2), *other = file_new(&fake->storage, 3);

	g_assert_cmpint(file_allocate(file, FALLOC_FL_KEEP_SIZE, 0, 3 * UNIT), ==, 0);
	g_assert_cmpuint(file_size(file), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, 3 * UNIT);
	g_assert_cmpint(file_truncate(other, 2 * UNIT), ==, -ENOSPC);
	g_assert_cmpint(file_truncate(file, 3 * UNIT), ==, 0);
	/* Setting the size frees the memory past it, as on ext4. */
	g_assert_cmpint(file_allocate(file, FALLOC_FL_KEEP_SIZE, 3 * UNIT, UNIT), ==, 0);
	g_assert_cmpint(file_truncate(file, 3 * UNIT), ==, 0);
	g_assert_cmpuint(file_allocated(file), ==, 3 * UNIT);
	file_destroy(other);
	file_destroy(file);
	fake_destroy(fake);
}

static void holes_read_zero_and_keep_their_memory(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2);
	g_autofree char *data = g_strnfill(3 * UNIT, 'x');
	char edge[2];
	int id;

	g_assert_cmpint(file_open(file, fake, &id), ==, 0);
	g_assert_cmpint(file_write(file, data, 3 * UNIT, 0), ==, 3 * UNIT);
	g_assert_cmpint(file_allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 2 * UNIT), ==, 0);
	assert_zero(file, 10, 2 * UNIT);
	g_assert_cmpint(file_read(file, edge, 1, 9), ==, 1);
	g_assert_cmpint(file_read(file, edge + 1, 1, 10 + 2 * UNIT), ==, 1);
	g_assert_cmpmem(edge, 2, "xx", 2);
	g_assert_cmpuint(file_allocated(file), ==, 3 * UNIT);
	/* Far past the end: has no effect, and must not fail. */
	g_assert_cmpint(file_allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * UNIT, INT64_MAX / 2), ==,
	                0);
	g_assert_cmpint(file_allocate(file, FALLOC_FL_ZERO_RANGE, 2 * UNIT, 2 * UNIT), ==, 0);
	g_assert_cmpuint(file_size(file), ==, 4 * UNIT);
	assert_zero(file, 2 * UNIT, 2 * UNIT);
	g_assert_cmpint(file_allocate(file, FALLOC_FL_COLLAPSE_RANGE, 0, UNIT), ==, -EOPNOTSUPP);
	file_destroy(file);
	fake_destroy(fake);
}

static void seek_finds_data_and_the_hole_at_the_end(void)
{
	struct fake *fake = fake_new(8 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2);

	g_assert_cmpint(file_seek(file, 0, SEEK_DATA), ==, -ENXIO);
	g_assert_cmpint(file_truncate(file, UNIT + 5), ==, 0);
	g_assert_cmpint(file_seek(file, 7, SEEK_DATA), ==, 7);
	g_assert_cmpint(file_seek(file, 7, SEEK_HOLE), ==, UNIT + 5);
	g_assert_cmpint(file_seek(file, UNIT + 5, SEEK_HOLE), ==, -ENXIO);
	g_assert_cmpint(file_seek(file, 0, 99), ==, -EINVAL);
	file_destroy(file);
	fake_destroy(fake);
}

static void opens_share_one_registration(void)
{
	struct fake *fake = fake_new(UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2);
	int first, second;

	g_assert_cmpint(file_open(file, fake, &first), ==, 0);
	g_assert_cmpint(file_open(file, fake, &second), ==, 0);
	g_assert_cmpint(first, ==, second);
	g_assert_cmpuint(fake->registrations, ==, 1);
	g_assert_cmpuint(fake->registrations, ==, 1);
	g_assert_cmpint(file_open(file, fake, &second), ==, 0);
	g_assert_cmpint(first, ==, second);
	g_assert_cmpuint(fake->registrations, ==, 1);
	file_destroy(file);
	g_assert_cmpuint(fake->registrations, ==, 0);
	fake_destroy(fake);
}

static void memory_of_a_mapped_file_waits(void)
{
	struct fake *fake = fake_new(2 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2), *other = file_new(&fake->storage, 3);

	g_assert_cmpint(file_truncate(file, 2 * UNIT), ==, 0);
	fake->hold = true;
	file_destroy(file);
	fake->hold = false;
	g_assert_cmpuint(fake_free_bytes(fake), ==, 0);
	g_assert_cmpint(file_truncate(other, UNIT), ==, -ENOSPC);
	fake_release_held(fake);
	g_assert_cmpint(file_truncate(other, 2 * UNIT), ==, 0);
	file_destroy(other);
	fake_destroy(fake);
}

static gpointer release_soon(gpointer fake)
{
	g_usleep(50000);
	fake_release_held(fake);
	return NULL;
}

/* "rm big; create big": the second waits for the memory of the first instead of failing. */
static void shortage_waits_for_memory_on_its_way_back(void)
{
	struct fake *fake = fake_new(2 * UNIT, UNIT);
	struct file *file = file_new(&fake->storage, 2), *other = file_new(&fake->storage, 3);
	GThread *thread;

	g_assert_cmpint(file_truncate(file, 2 * UNIT), ==, 0);
	fake->hold = true;
	file_destroy(file);
	fake->hold = false;
	thread = g_thread_new("release", release_soon, fake);
	g_assert_cmpint(file_truncate(other, 2 * UNIT), ==, 0);
	g_thread_join(thread);
	file_destroy(other);
	fake_destroy(fake);
}

static bool is_interrupted(void *data)
{
	(void)data;
	return true;
}

static const struct backend_ops *real;

/* Slow, so that the helpers have not done everything before the request has done its first piece. */
static int clean_slowly(struct backend *backend, struct extent extent)
{
	g_usleep(5 * G_TIME_SPAN_MILLISECOND);
	return real->clean(backend, extent);
}

/* A request that gets a signal while it zeroes or waits for memory ends with -EINTR, and the file gets no memory. */
static void a_signal_ends_sizing(void)
{
	static const struct current_request none;
	struct fake *fake = fake_new(64 * UNIT, UNIT);
	struct file *former = file_new(&fake->storage, 2), *file = file_new(&fake->storage, 3);
	struct backend_ops slow = *fake->storage.ops;

	real = fake->storage.ops;
	slow.clean = clean_slowly;
	fake->storage.ops = &slow;
	g_assert_cmpint(file_truncate(former, 64 * UNIT), ==, 0);
	g_assert_cmpint(file_truncate(former, 0), ==, 0);
	current_request_allow_interrupt(is_interrupted, NULL);
	g_assert_cmpint(file_truncate(file, 64 * UNIT), ==, -EINTR);
	g_assert_cmpuint(file_size(file) + file_allocated(file), ==, 0);
	g_assert_cmpuint(fake_free_bytes(fake), ==, 64 * UNIT);
	current_request_set(&none);
	g_assert_cmpint(file_truncate(file, 64 * UNIT), ==, 0);
	fake->hold = true;
	file_destroy(file);
	current_request_allow_interrupt(is_interrupted, NULL);
	pool_expect(fake->storage.pool);
	g_assert_cmpint(file_truncate(former, UNIT), ==, -EINTR);
	g_assert_cmpuint(file_size(former), ==, 0);
	current_request_set(&none);
	fake_release_held(fake);
	file_destroy(former);
	fake->storage.ops = real;
	fake_destroy(fake);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/file/size", sizes_are_exact_and_memory_is_in_units);
	g_test_add_func("/file/shortage", shortage_is_enospc_and_changes_nothing);
	g_test_add_func("/file/rollback", backend_failure_is_rolled_back);
	g_test_add_func("/file/write/grow", write_grows_and_reads_back);
	g_test_add_func("/file/write/short", write_at_the_end_of_memory_is_short);
	g_test_add_func("/file/regrow", shrink_and_grow_shows_no_old_bytes);
	g_test_add_func("/file/keep-size", keep_size_is_there_to_grow_into);
	g_test_add_func("/file/punch", holes_read_zero_and_keep_their_memory);
	g_test_add_func("/file/seek", seek_finds_data_and_the_hole_at_the_end);
	g_test_add_func("/file/open", opens_share_one_registration);
	g_test_add_func("/file/mapped", memory_of_a_mapped_file_waits);
	g_test_add_func("/file/interrupt", a_signal_ends_sizing);
	g_test_add_func("/file/patience", shortage_waits_for_memory_on_its_way_back);
	return g_test_run();
}
