// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Checkpoints: committed pages move from the write-ahead log into the database. They wait for the disk, so they run on
 * a thread and a connection of their own, beside the transactions.
 */
#include <sys/stat.h>

#include "log.h"
#include "store_internal.h"

/*
 * Pages in the log: so many new ones are moved at a time, and with so many in all transactions wait until the log begins
 * anew. It does so by itself after a commit that found all of them moved.
 */
#define LOG_PAGES_SOFT 4000
#define LOG_PAGES_HARD 64000

struct store_checkpointer {
	sqlite3 *writer; /* the connection whose log is watched */
	sqlite3 *db;
	GThread *thread;
	GMutex lock; /* guards pages and stopping */
	GCond wanted;
	int pages; /* in the log, as of the latest commit */
	int moved; /* of those: there when the latest checkpoint began */
	bool stopping;
};

static bool is_due(const struct store_checkpointer *self)
{
	return self->pages - self->moved >= LOG_PAGES_SOFT;
}

static gpointer checkpoint(gpointer data)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	struct store_checkpointer *self = data;

	g_mutex_lock(&self->lock);
	while (!self->stopping) {
		if (!is_due(self)) {
			g_cond_wait(&self->wanted, &self->lock);
			continue;
		}

		int mode = self->pages < LOG_PAGES_HARD ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_RESTART;

		self->moved = self->pages;
		g_mutex_unlock(&self->lock);
		if (sqlite3_wal_checkpoint_v2(self->db, NULL, mode, NULL, NULL) != SQLITE_OK)
			log_limited(&limit, LOG_LEVEL_WARNING, "metadata: checkpoint: %s", sqlite3_errmsg(self->db));
		g_mutex_lock(&self->lock);
	}
	g_mutex_unlock(&self->lock);
	return NULL;
}

/* After each commit, on its thread. */
static int on_commit(void *data, sqlite3 *db, const char *name, int pages)
{
	struct store_checkpointer *self = data;

	(void)db;
	(void)name;
	g_mutex_lock(&self->lock);
	if (pages < self->pages)
		self->moved = 0; /* the log has begun anew */
	self->pages = pages;
	if (is_due(self))
		g_cond_signal(&self->wanted);
	g_mutex_unlock(&self->lock);
	return SQLITE_OK;
}

void store_checkpoint_left_log(sqlite3 *db, const char *path)
{
	g_autofree char *log = g_strconcat(path, "-wal", NULL);
	struct stat st;

	if (stat(log, &st) < 0 || st.st_size < LOG_PAGES_SOFT * STORE_PAGE_SIZE)
		return;
	if (sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL) != SQLITE_OK)
		log_warning("metadata: checkpoint: %s", sqlite3_errmsg(db));
}

struct store_checkpointer *store_checkpointer_start(sqlite3 *db, const char *path, GError **error)
{
	sqlite3 *own = store_connect(path, SQLITE_OPEN_READWRITE, error);

	if (!own)
		return NULL;

	struct store_checkpointer *self = g_new0(struct store_checkpointer, 1);

	g_mutex_init(&self->lock);
	g_cond_init(&self->wanted);
	self->writer = db;
	self->db = own;
	sqlite3_wal_hook(db, on_commit, self);
	self->thread = g_thread_new("checkpoint", checkpoint, self);
	return self;
}

void store_checkpointer_stop(struct store_checkpointer *self)
{
	if (!self)
		return;
	sqlite3_wal_hook(self->writer, NULL, NULL);
	g_mutex_lock(&self->lock);
	self->stopping = true;
	g_cond_signal(&self->wanted);
	g_mutex_unlock(&self->lock);
	g_thread_join(self->thread);
	sqlite3_close(self->db);
	g_cond_clear(&self->wanted);
	g_mutex_clear(&self->lock);
	g_free(self);
}
