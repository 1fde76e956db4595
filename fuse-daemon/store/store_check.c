// SPDX-License-Identifier: GPL-2.0-or-later
/* Verifies that the rows of a database are consistent. Changes nothing. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "store/store_internal.h"

#define PROBLEMS_MAX 100
#define ALIGNMENT    4096 /* of memory: the smallest page */

struct checked_inode {
	int64_t ino;
	mode_t mode;
	uint64_t size;
	uint64_t covered;                /* regular files: bytes from offset 0 on that have memory */
	bool demand;                     /* demand allocation: the file may have holes */
	int64_t parent;                  /* directories: 0 when none was found */
	unsigned entries;                /* how many entries name this inode */
	bool reached;                    /* directories: was found to be under the root, or reported as not */
	const struct checked_inode *met; /* directories: where the latest walk to the root that passed here began */
};

struct check {
	sqlite3 *db;
	int failed; /* SQLite's code of a failed read; nothing more is read after it */
	GPtrArray *problems;
	GHashTable *inodes; /* &ino -> struct checked_inode, owned */
	struct extent *regions;
	size_t region_count;
};

G_GNUC_PRINTF(2, 3)
static void problem(struct check *check, const char *format, ...)
{
	va_list args;

	if (check->problems->len >= PROBLEMS_MAX)
		return;
	va_start(args, format);
	g_ptr_array_add(check->problems, g_strdup_vprintf(format, args));
	va_end(args);
}

/* Calls @row for each row of the query. */
static void scan(struct check *check, const char *text,
                 void (*row)(struct check *check, sqlite3_stmt *query, void *data), void *data)
{
	sqlite3_stmt *query = NULL;
	int result;

	if (check->failed)
		return;
	result = sqlite3_prepare_v2(check->db, text, -1, &query, NULL);
	while (result == SQLITE_OK || result == SQLITE_ROW) {
		result = sqlite3_step(query);
		if (result == SQLITE_ROW)
			row(check, query, data);
	}
	if (store_is_damage(result))
		problem(check, "%s", sqlite3_errmsg(check->db));
	else if (result != SQLITE_DONE)
		check->failed = result;
	sqlite3_finalize(query);
}

static struct checked_inode *find(struct check *check, int64_t ino)
{
	return g_hash_table_lookup(check->inodes, &ino);
}

static void check_page_row(struct check *check, sqlite3_stmt *query, void *data)
{
	const char *text = (const char *)sqlite3_column_text(query, 0);
	const char *code = text ? strstr(text, "error code=") : NULL;
	int result = code ? atoi(code + strlen("error code=")) : SQLITE_CORRUPT;

	(void)data;
	if (!text)
		check->failed = SQLITE_NOMEM;
	else if (!store_is_damage(result)) /* a page that cannot be read */
		check->failed = result;
	else if (strcmp(text, "ok") != 0)
		problem(check, "%s", text);
}

static void check_inode(struct check *check, sqlite3_stmt *query, void *next_ino)
{
	struct checked_inode inode = {
		.ino = sqlite3_column_int64(query, 0),
		.mode = (mode_t)sqlite3_column_int64(query, 1),
		.size = (uint64_t)sqlite3_column_int64(query, 2),
	};
	bool has_target = sqlite3_column_type(query, 3) != SQLITE_NULL;
	int64_t owners = sqlite3_column_int64(query, 4) | sqlite3_column_int64(query, 5);
	int64_t times =
		sqlite3_column_int64(query, 6) | sqlite3_column_int64(query, 7) | sqlite3_column_int64(query, 8);

	if (inode.ino < 1 || (uint64_t)inode.ino >= *(uint64_t *)next_ino)
		problem(check, "inode %" PRId64 ": the number was never assigned", inode.ino);
	if (sqlite3_column_int64(query, 1) < 0 || sqlite3_column_int64(query, 1) > 0177777 ||
	    !(S_ISREG(inode.mode) || S_ISDIR(inode.mode) || S_ISLNK(inode.mode) || S_ISFIFO(inode.mode) ||
	      S_ISSOCK(inode.mode)))
		problem(check, "inode %" PRId64 ": mode 0%o", inode.ino, inode.mode);
	if (owners < 0 || owners > UINT32_MAX)
		problem(check, "inode %" PRId64 ": owner or group out of range", inode.ino);
	if (times < 0 || times >= (INT64_C(1) << 30))
		problem(check, "inode %" PRId64 ": nanoseconds out of range", inode.ino);
	if (inode.size > INT64_MAX || (inode.size && !S_ISREG(inode.mode)))
		problem(check, "inode %" PRId64 ": size %" PRIu64, inode.ino, inode.size);
	if (has_target != S_ISLNK(inode.mode) ||
	    (has_target && memchr(sqlite3_column_blob(query, 3) ?: "", 0, (size_t)sqlite3_column_bytes(query, 3))))
		problem(check, "inode %" PRId64 ": invalid link target", inode.ino);

	struct checked_inode *owned = g_memdup2(&inode, sizeof(inode));

	g_hash_table_replace(check->inodes, &owned->ino, owned);
}

static bool name_is_valid(const char *name, int length)
{
	if (!name || length < 1 || length > STORE_NAME_MAX || memchr(name, '/', (size_t)length) ||
	    memchr(name, 0, (size_t)length))
		return false;
	return !(length == 1 && name[0] == '.') && !(length == 2 && name[0] == '.' && name[1] == '.');
}

static void check_entry(struct check *check, sqlite3_stmt *query, void *data)
{
	int64_t parent = sqlite3_column_int64(query, 0), cookie = sqlite3_column_int64(query, 1);
	int64_t ino = sqlite3_column_int64(query, 3);
	const struct checked_inode *dir = find(check, parent);
	struct checked_inode *inode = find(check, ino);
	g_autofree char *what = g_strdup_printf("entry %" PRId64 " of directory %" PRId64, cookie, parent);

	(void)data;
	if (!dir || !S_ISDIR(dir->mode))
		problem(check, "%s: no such directory", what);
	if (!name_is_valid(sqlite3_column_blob(query, 2), sqlite3_column_bytes(query, 2)))
		problem(check, "%s: invalid name", what);
	if (cookie < STORE_COOKIE_FIRST)
		problem(check, "%s: invalid position", what);
	if (!inode || ino == STORE_ROOT_INO) {
		problem(check, "%s: no inode %" PRId64, what, ino);
		return;
	}
	inode->entries++;
	if (S_ISDIR(inode->mode)) {
		if (inode->entries > 1)
			problem(check, "%s: directory %" PRId64 " has a second name", what, ino);
		inode->parent = parent;
	}
}

static void check_double_name(struct check *check, sqlite3_stmt *query, void *data)
{
	(void)data;
	problem(check, "directory %" PRId64 ": two entries of the same name", (int64_t)sqlite3_column_int64(query, 0));
}

static void check_reference(struct check *check, sqlite3_stmt *query, void *table)
{
	const struct checked_inode *inode = find(check, sqlite3_column_int64(query, 0));

	if (!inode || (strcmp(table, "backing") == 0 && !S_ISREG(inode->mode)))
		problem(check, "%s of inode %" PRId64 ": no such inode", (const char *)table,
		        (int64_t)sqlite3_column_int64(query, 0));
}

static void note_demand(struct check *check, sqlite3_stmt *query, void *data)
{
	struct checked_inode *inode = find(check, sqlite3_column_int64(query, 0));

	(void)data;
	if (inode)
		inode->demand = true;
}

static bool in_a_region(const struct check *check, uint64_t start, uint64_t length)
{
	for (size_t i = 0; i < check->region_count; i++) {
		const struct extent *region = &check->regions[i];

		if (start >= region->start && length <= region->length &&
		    start - region->start <= region->length - length)
			return true;
	}
	return check->region_count == 0; /* no daemon has recorded its regions yet */
}

/* Called in the order of inode and offset. @data: the last row's inode, and where its run ended in the file. */
static void check_file_extent(struct check *check, sqlite3_stmt *query, void *data)
{
	int64_t *last = data; /* inode, end */
	int64_t ino = sqlite3_column_int64(query, 0), offset = sqlite3_column_int64(query, 1);
	int64_t start = sqlite3_column_int64(query, 2), length = sqlite3_column_int64(query, 3);
	struct checked_inode *inode = find(check, ino);
	g_autofree char *what = g_strdup_printf("inode %" PRId64 ": memory at offset %" PRId64, ino, offset);

	if (!inode || !S_ISREG(inode->mode)) {
		problem(check, "%s: no such file", what);
		return;
	}
	if (offset < 0 || start < 0 || length <= 0 || (offset | start | length) % ALIGNMENT ||
	    offset > INT64_MAX - length || start > INT64_MAX - length) {
		problem(check, "%s: malformed: 0x%" PRIx64 "+0x%" PRIx64, what, start, length);
		return;
	}
	if (!in_a_region(check, (uint64_t)start, (uint64_t)length))
		problem(check, "%s: 0x%" PRIx64 "+0x%" PRIx64 " lies in no region", what, start, length);
	if (last[0] == ino && offset < last[1])
		problem(check, "%s: overlaps the memory before it", what);
	if ((uint64_t)offset == inode->covered)
		inode->covered += (uint64_t)length;
	last[0] = ino;
	last[1] = offset + length;
}

/* Called in the order of addresses. @data: the inode whose memory ended last, and the address of that end. */
static void check_memory(struct check *check, sqlite3_stmt *query, void *data)
{
	int64_t *last = data; /* inode, end */
	int64_t ino = sqlite3_column_int64(query, 0), start = sqlite3_column_int64(query, 1);
	int64_t end = start + sqlite3_column_int64(query, 2);

	if (start < last[1])
		problem(check, "memory at 0x%" PRIx64 " belongs to inode %" PRId64 " and to inode %" PRId64, start,
		        last[0], ino);
	if (end > last[1]) {
		last[0] = ino;
		last[1] = end;
	}
}

/* A table of runs of memory, clean, poison or held, and what has been seen of it. */
struct checked_runs {
	const char *what;
	bool in_regions; /* must each run be in a region? */
	int64_t last;    /* the address at which the last run ended */
};

/* Called in the order of addresses. */
static void check_run(struct check *check, sqlite3_stmt *query, void *data)
{
	struct checked_runs *runs = data;
	int64_t start = sqlite3_column_int64(query, 0), length = sqlite3_column_int64(query, 1);

	if (start < 0 || length <= 0 || (start | length) % ALIGNMENT || start > INT64_MAX - length) {
		problem(check, "%s memory: malformed: 0x%" PRIx64 "+0x%" PRIx64, runs->what, start, length);
		return;
	}
	if (runs->in_regions && !in_a_region(check, (uint64_t)start, (uint64_t)length))
		problem(check, "%s memory at 0x%" PRIx64 "+0x%" PRIx64 " lies in no region", runs->what, start, length);
	if (start < runs->last)
		problem(check, "%s memory at 0x%" PRIx64 " is on record twice", runs->what, start);
	runs->last = start + length;
}

/* Called for both tables in the order of addresses. @data: where the last run of each ended. */
static void check_clean_is_free(struct check *check, sqlite3_stmt *query, void *data)
{
	int64_t *ends = data; /* [0]: of memory of files, [1]: of clean memory */
	int64_t is_clean = sqlite3_column_int64(query, 0) != 0, start = sqlite3_column_int64(query, 1);
	int64_t end = start + sqlite3_column_int64(query, 2);

	if (start < ends[!is_clean])
		problem(check, "memory at 0x%" PRIx64 " is on record as clean, and as a file's", start);
	ends[is_clean] = MAX(ends[is_clean], end);
}

static void check_clean_is_good(struct check *check, sqlite3_stmt *query, void *data)
{
	(void)data;
	problem(check, "memory at 0x%" PRIx64 " is on record as clean, and as bad",
	        (int64_t)sqlite3_column_int64(query, 0));
}

/* From a directory, parents must lead to the root: otherwise no path leads to what is in it. */
static void check_reachable(struct check *check, struct checked_inode *dir)
{
	g_autoptr(GPtrArray) path = g_ptr_array_new();
	struct checked_inode *at = dir;

	while (at && !at->reached && at->met != dir) {
		at->met = dir;
		g_ptr_array_add(path, at);
		at = at->parent ? find(check, at->parent) : NULL;
	}
	if (!at || !at->reached)
		problem(check, "directory %" PRId64 ": does not lie under the root", dir->ino);
	for (guint i = 0; i < path->len; i++)
		((struct checked_inode *)g_ptr_array_index(path, i))->reached = true;
}

static void check_tree(struct check *check)
{
	struct checked_inode *root = find(check, STORE_ROOT_INO);
	GHashTableIter iter;
	gpointer value;

	if (!root || !S_ISDIR(root->mode)) {
		problem(check, "no root directory");
		return;
	}
	root->reached = true;
	g_hash_table_iter_init(&iter, check->inodes);
	while (g_hash_table_iter_next(&iter, NULL, &value)) {
		struct checked_inode *inode = value;

		/* A directory without a name was removed, and the next daemon deletes its inode. */
		if (S_ISDIR(inode->mode) && inode->entries)
			check_reachable(check, inode);
		if (S_ISREG(inode->mode) && !inode->demand && inode->covered < inode->size)
			problem(check, "inode %" PRId64 ": no memory from offset %" PRIu64 " on, of a size of %" PRIu64,
			        inode->ino, inode->covered, inode->size);
	}
}

static void check_orphan_parent(struct check *check, sqlite3_stmt *query, void *data)
{
	const struct checked_inode *dir = find(check, sqlite3_column_int64(query, 0));

	(void)data;
	if (dir && dir->ino != STORE_ROOT_INO && !dir->entries)
		problem(check, "directory %" PRId64 ": was removed with entries in it", dir->ino);
}

static void check_sum(struct check *check, sqlite3_stmt *query, void *table)
{
	problem(check, "%s %s: the row does not match its checksum", (const char *)table,
	        (const char *)sqlite3_column_text(query, 0));
}

/* Compares checksums: of every column, in the order in which they were written (store_rows.c, store_schema.c). */
static void check_sums(struct check *check)
{
	scan(check, "SELECT name FROM value WHERE sum != crc(name, value)", check_sum, (void *)"value");
	scan(check,
	     "SELECT ino FROM inode WHERE sum != crc(ino, mode, uid, gid, size, atime, atime_ns, mtime, mtime_ns,"
	     " ctime, ctime_ns, target)",
	     check_sum, (void *)"inode");
	scan(check, "SELECT parent FROM entry WHERE sum != crc(parent, cookie, name, ino)", check_sum,
	     (void *)"entry of directory");
	scan(check, "SELECT ino FROM xattr WHERE sum != crc(ino, name, value)", check_sum, (void *)"xattr of inode");
	scan(check, "SELECT ino FROM extent WHERE sum != crc(ino, offset, start, length)", check_sum,
	     (void *)"extent of inode");
	scan(check, "SELECT start FROM clean WHERE sum != crc(start, length)", check_sum, (void *)"clean memory at");
	scan(check, "SELECT start FROM poison WHERE sum != crc(start, length)", check_sum, (void *)"bad memory at");
	scan(check, "SELECT start FROM held WHERE sum != crc(start, length, since, ino, pid, name, trees)", check_sum,
	     (void *)"held memory at");
	scan(check, "SELECT ino FROM backing WHERE sum != crc(ino, id)", check_sum, (void *)"backing of inode");
	scan(check, "SELECT slot FROM done WHERE sum != crc(slot, unique_id, ino)", check_sum, (void *)"done");
}

static void read_value(struct check *check, sqlite3_stmt *query, void *data)
{
	GBytes **value = data;

	(void)check;
	*value = g_bytes_new(sqlite3_column_blob(query, 0), (gsize)sqlite3_column_bytes(query, 0));
}

/* Checks the rows, after SQLite has found its pages in order and the checksums were right. */
static void check_rows(struct check *check)
{
	g_autoptr(GBytes) next = NULL, regions = NULL;
	uint64_t next_ino = 0;
	int64_t file[2] = { 0, 0 }, memory[2] = { 0, 0 }, ends[2] = { 0, 0 };
	struct checked_runs clean = { "clean", true, 0 }, poison = { "bad", false, 0 }, held = { "held", false, 0 };

	scan(check, "SELECT value FROM value WHERE name = 'next_ino'", read_value, &next);
	scan(check, "SELECT value FROM value WHERE name = 'regions'", read_value, &regions);
	if (next && g_bytes_get_size(next) == sizeof(next_ino))
		memcpy(&next_ino, g_bytes_get_data(next, NULL), sizeof(next_ino));
	else
		problem(check, "next_ino is missing or malformed");
	if (regions) {
		check->regions = g_bytes_unref_to_data(g_steal_pointer(&regions), &check->region_count);
		check->region_count /= sizeof(struct extent);
	}
	scan(check, "SELECT ino, mode, size, target, uid, gid, atime_ns, mtime_ns, ctime_ns FROM inode", check_inode,
	     &next_ino);
	scan(check, "SELECT parent, cookie, name, ino FROM entry", check_entry, NULL);
	scan(check, "SELECT parent FROM entry GROUP BY parent, name HAVING count(*) > 1", check_double_name, NULL);
	scan(check, "SELECT DISTINCT parent FROM entry", check_orphan_parent, NULL);
	scan(check, "SELECT DISTINCT ino FROM xattr", check_reference, (void *)"xattr");
	scan(check,
	     "SELECT ino FROM xattr WHERE CAST(name AS TEXT) = 'dmemfs.alloc' AND CAST(value AS TEXT) = 'demand'",
	     note_demand, NULL);
	scan(check, "SELECT ino FROM backing", check_reference, (void *)"backing");
	scan(check, "SELECT ino, offset, start, length FROM extent ORDER BY ino, offset", check_file_extent, file);
	scan(check, "SELECT ino, start, length FROM extent ORDER BY start", check_memory, memory);
	scan(check, "SELECT start, length FROM clean ORDER BY start", check_run, &clean);
	scan(check, "SELECT 0, start, length FROM extent UNION ALL SELECT 1, start, length FROM clean ORDER BY 2",
	     check_clean_is_free, ends);
	scan(check, "SELECT start, length FROM poison ORDER BY start", check_run, &poison);
	scan(check, "SELECT start, length FROM held ORDER BY start", check_run, &held);
	scan(check,
	     "SELECT poison.start FROM poison JOIN clean ON clean.start < poison.start + poison.length"
	     " AND poison.start < clean.start + clean.length",
	     check_clean_is_good, NULL);
	check_tree(check);
}

GPtrArray *store_check_database(sqlite3 *db, const char *path, GError **error)
{
	struct check check = {
		.db = db,
		.problems = g_ptr_array_new_with_free_func(g_free),
		.inodes = g_hash_table_new_full(g_int64_hash, g_int64_equal, NULL, g_free),
	};

	scan(&check, "PRAGMA quick_check(20)", check_page_row, NULL);
	if (check.problems->len == 0)
		check_sums(&check);
	if (check.problems->len == 0)
		check_rows(&check);
	if (!check.failed)
		store_name_inodes(db, check.problems);
	g_hash_table_unref(check.inodes);
	g_free(check.regions);
	if (check.failed) {
		store_fail(error, path, db, check.failed, "cannot check");
		g_clear_pointer(&check.problems, g_ptr_array_unref);
	}
	return check.problems;
}
