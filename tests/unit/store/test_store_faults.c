// SPDX-License-Identifier: GPL-2.0-or-later
/* The store on a disk that is full, fails or loses power, and without memory: it must not lose what was committed. */
#include <errno.h>
#include <glib/gstdio.h>
#include <sqlite3.h>
#include <string.h>

#include "unit/store/fault_vfs.h"
#include "unit/store/store_state.h"

#define CUTS 16

static int put_number(struct store *store, const char *name, unsigned number, size_t more)
{
	g_autofree char *bulk = g_malloc0(more + 1);

	store_begin(store);
	store_put_value(store, name, &number, sizeof(number));
	store_put_value(store, "bulk", bulk, more);
	return store_commit(store);
}

/* The number under @name; 0: there is none. */
static unsigned get_number(struct store *store, const char *name)
{
	g_autoptr(GBytes) value = NULL;
	g_autoptr(GError) error = NULL;
	unsigned number = 0;

	g_assert_true(store_get_value(store, name, &value, &error));
	g_assert_no_error(error);
	if (value)
		memcpy(&number, g_bytes_get_data(value, NULL), sizeof(number));
	return number;
}

/* Opens the store, makes one change and closes it, while something fails. Returns whether the change was committed. */
static bool live(const struct state *state, unsigned number)
{
	g_autoptr(GError) error = NULL;
	struct store *store = store_open(state->directory, 0, 0, &error);
	bool committed = false;

	if (store) {
		g_autoptr(GBytes) value = NULL;

		committed = put_number(store, "number", number, 3000) == 0;
		if (!store_get_value(store, "none", &value, &error))
			g_assert_error(error, STORE_ERROR, STORE_ERROR_IO);
		store_close(store);
	} else {
		/* Not "damaged": the remedy for that is to start empty, which would lose all names. */
		g_assert_error(error, STORE_ERROR, STORE_ERROR_IO);
		g_assert_nonnull(strstr(error->message, state->path));
		g_assert_nonnull(strstr(error->message, "nothing is lost"));
	}
	return committed;
}

struct fault {
	int code;
	bool writes;
};

/* Lets the accesses fail from the first one on, then from the second one on, and so forth. */
static void test_disk_that_fails(struct state *state, gconstpointer data)
{
	const struct fault *fault = data;
	unsigned last = 1, at = 1;
	bool failed = true;
	struct store *store = state_open_store(state);

	g_assert_cmpint(put_number(store, "number", last, 3000), ==, 0);
	store_close(store);
	for (; failed; at++) {
		fault_vfs_fail(at, fault->code, fault->writes);
		if (live(state, last + 1))
			last++;
		failed = fault_vfs_failed();
		fault_vfs_fail(0, 0, false);
		store = state_open_store(state);
		g_assert_cmpuint(get_number(store, "number"), ==, last);
		store_close(store);
	}
	g_assert_cmpuint(at, >, 5);
}

static void test_too_little_memory(struct state *state, gconstpointer data)
{
	struct store *store = state_open_store(state);
	unsigned last = 1, refused = 0;

	(void)data;
	g_assert_cmpint(put_number(store, "number", last, 3000), ==, 0);
	store_close(store);
	for (sqlite3_int64 limit = 8192; limit < 400000; limit += 9000) {
		bool committed;

		sqlite3_hard_heap_limit64(sqlite3_memory_used() + limit);
		committed = live(state, last + 1);
		sqlite3_hard_heap_limit64(0);
		last += committed;
		refused += !committed;
		store = state_open_store(state);
		g_assert_cmpuint(get_number(store, "number"), ==, last);
		store_close(store);
	}
	g_assert_cmpuint(refused, >, 3);
	g_assert_cmpuint(last, >, 3);
}

struct cut {
	const struct state *state;
	GRand *chance;
	unsigned number;            /* how many cuts there were */
	unsigned committed, synced; /* the number of the last change that was */
	unsigned least[CUTS], most[CUTS];
};

static struct state cut_state(const struct cut *cut, unsigned number)
{
	struct state saved = { .directory = g_strdup_printf("%s/cut%u", cut->state->directory, number) };

	saved.path = g_build_filename(saved.directory, STORE_FILE, NULL);
	saved.log = g_strconcat(saved.path, "-wal", NULL);
	return saved;
}

static void cut_power(void *data)
{
	struct cut *cut = data;
	struct state saved = cut_state(cut, cut->number);

	g_assert_cmpint(g_mkdir(saved.directory, 0700), ==, 0);
	g_assert_true(fault_vfs_save(cut->state->path, saved.path, cut->chance));
	fault_vfs_save(cut->state->log, saved.log, cut->chance);
	cut->least[cut->number] = cut->synced;
	cut->most[cut->number] = cut->committed + 1; /* the next one may be being committed */
	cut->number++;
	g_free(saved.directory);
	g_free(saved.path);
	g_free(saved.log);
}

/* After a power cut, the database is sound, and has all changes up to one of them, whichever sectors reached the disk. */
static void test_power_cut(struct state *state, gconstpointer data)
{
	struct cut cut = { .state = state, .chance = g_rand_new_with_seed(7) };
	struct store *store = state_open_store(state);

	(void)data;
	while (cut.number < CUTS) {
		unsigned before = cut.number;

		/* Every other cut happens during a checkpoint. */
		fault_vfs_cut((unsigned)g_rand_int_range(cut.chance, 1, before % 2 ? 20 : 600), before % 2, cut_power,
		              &cut);
		while (cut.number == before) {
			g_assert_cmpint(put_number(store, "number", cut.committed + 1,
			                           (gsize)g_rand_int_range(cut.chance, 1, 60000)),
			                ==, 0);
			cut.committed++;
			if (before > CUTS / 2)
				cut.synced = cut.committed;
		}
		if (before == CUTS / 2)
			g_assert_cmpint(store_sync(store), ==, 0);
	}
	fault_vfs_cut(0, false, NULL, NULL);
	store_close(store);
	for (unsigned i = 0; i < CUTS; i++) {
		struct state saved = cut_state(&cut, i);

		store = state_open_store(&saved);
		g_assert_cmpuint(get_number(store, "number"), >=, cut.least[i]);
		g_assert_cmpuint(get_number(store, "number"), <=, cut.most[i]);
		store_close(store);
		state_tear_down(&saved, NULL);
	}
	g_rand_free(cut.chance);
}

int main(int argc, char **argv)
{
	static const struct fault full = { SQLITE_FULL, true }, unwritable = { SQLITE_IOERR_WRITE, true };
	static const struct fault unreadable = { SQLITE_IOERR_READ, false };

	g_test_init(&argc, &argv, NULL);
	fault_vfs_install();
	g_test_add("/store-faults/full", struct state, &full, state_set_up, test_disk_that_fails, state_tear_down);
	g_test_add("/store-faults/unwritable", struct state, &unwritable, state_set_up, test_disk_that_fails,
	           state_tear_down);
	g_test_add("/store-faults/unreadable", struct state, &unreadable, state_set_up, test_disk_that_fails,
	           state_tear_down);
	g_test_add("/store-faults/memory", struct state, NULL, state_set_up, test_too_little_memory, state_tear_down);
	g_test_add("/store-faults/power", struct state, NULL, state_set_up, test_power_cut, state_tear_down);
	return g_test_run();
}
