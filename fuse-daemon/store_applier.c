// SPDX-License-Identifier: GPL-2.0-or-later
#include "store_applier.h"

#include "log.h"
#include "store_internal.h"
#include "store_redo.h"

/* Microseconds: how long transactions gather before they are applied, unless they fill half of their half of the log. */
#define GATHER (G_USEC_PER_SEC / 2)
/* Microseconds between two tries when the database cannot be written. */
#define RETRY G_USEC_PER_SEC

struct store_applier {
	struct store *store;
	GThread *thread;

	GMutex lock; /* taken under the store's, guards all below */
	GCond changed;
	struct redo *redo;
	uint64_t last;        /* number of the last transaction */
	GByteArray *fresh;    /* rows in the half of the log that is appended to; empty: there are none */
	GByteArray *batch;    /* rows in the other half, the same; not touched while @applying, which goes on without the lock */
	uint64_t batch_last;  /* number of the last of them */
	gint64 due;           /* when fresh ones are to be applied, or the batch tried again */
	int error;            /* why the batch could not be applied */
	bool applying;
	bool bypass;
	bool stopping;
};

/* Those that are fresh become the batch. There is none, and nobody is applying. */
static void begin_batch(struct store_applier *self)
{
	GByteArray *empty = self->batch;

	self->batch = self->fresh;
	self->batch_last = self->last;
	self->fresh = empty;
	redo_switch(self->redo);
}

static void apply_batch(struct store_applier *self)
{
	int err;

	self->applying = true;
	g_mutex_unlock(&self->lock);
	err = store_apply(self->store, self->batch, self->batch_last);
	g_mutex_lock(&self->lock);
	self->applying = false;
	self->error = err;
	if (err)
		self->due = g_get_monotonic_time() + RETRY;
	else
		g_byte_array_set_size(self->batch, 0);
	g_cond_broadcast(&self->changed);
}

static int drain(struct store_applier *self)
{
	while (self->applying)
		g_cond_wait(&self->changed, &self->lock);
	if (self->batch->len > 0)
		apply_batch(self);
	if (self->batch->len == 0 && self->fresh->len > 0) {
		begin_batch(self);
		apply_batch(self);
	}
	return self->error;
}

int store_applier_drain(struct store_applier *self)
{
	int err;

	g_mutex_lock(&self->lock);
	err = drain(self);
	g_mutex_unlock(&self->lock);
	return err;
}

/* The half that is appended to has room for @size bytes, which is less than a half has. */
static int make_room(struct store_applier *self, size_t size)
{
	while (!redo_fits(self->redo, size)) {
		while (self->applying)
			g_cond_wait(&self->changed, &self->lock);
		if (self->batch->len > 0)
			apply_batch(self);
		if (self->error)
			return self->error;
		begin_batch(self);
		g_cond_broadcast(&self->changed);
	}
	return 0;
}

/* Too large for the log, or not wanted there. */
static int apply_directly(struct store_applier *self, const GByteArray *rows)
{
	int err = drain(self);

	if (!err)
		err = store_apply(self->store, rows, self->last + 1);
	if (!err)
		self->last++;
	return err;
}

static int append(struct store_applier *self, const GByteArray *rows)
{
	int err = make_room(self, rows->len);

	if (!err)
		err = redo_append(self->redo, self->last + 1, rows);
	if (err)
		return err;
	self->last++;
	if (self->fresh->len == 0)
		self->due = g_get_monotonic_time() + GATHER;
	if (self->fresh->len == 0 || (redo_is_busy(self->redo) && self->batch->len == 0))
		g_cond_broadcast(&self->changed);
	g_byte_array_append(self->fresh, rows->data, rows->len);
	return 0;
}

int store_applier_commit(struct store_applier *self, const GByteArray *rows)
{
	int err;

	g_mutex_lock(&self->lock);
	err = self->error ? drain(self) : 0;
	if (!err && (self->bypass || !redo_could_fit(rows->len)))
		err = apply_directly(self, rows);
	else if (!err)
		err = append(self, rows);
	g_mutex_unlock(&self->lock);
	return err;
}

void store_applier_bypass(struct store_applier *self)
{
	g_mutex_lock(&self->lock);
	self->bypass = true;
	g_mutex_unlock(&self->lock);
}

/* Is there something to apply, now? */
static bool is_due(const struct store_applier *self)
{
	if (self->batch->len > 0 && !self->error)
		return true;
	if (self->batch->len == 0 && self->fresh->len == 0)
		return false;
	return (!self->error && redo_is_busy(self->redo)) || g_get_monotonic_time() >= self->due;
}

static gpointer apply(gpointer data)
{
	struct store_applier *self = data;

	g_mutex_lock(&self->lock);
	while (!self->stopping) {
		if (!self->applying && is_due(self)) {
			if (self->batch->len == 0)
				begin_batch(self);
			apply_batch(self);
		} else if (self->applying || (self->batch->len == 0 && self->fresh->len == 0)) {
			g_cond_wait(&self->changed, &self->lock);
		} else {
			g_cond_wait_until(&self->changed, &self->lock, self->due);
		}
	}
	g_mutex_unlock(&self->lock);
	return NULL;
}

struct store_applier *store_applier_start(struct store *store, struct redo *redo, uint64_t applied)
{
	struct store_applier *self = g_new0(struct store_applier, 1);

	g_mutex_init(&self->lock);
	g_cond_init(&self->changed);
	self->store = store;
	self->redo = redo;
	self->last = applied;
	self->fresh = g_byte_array_new();
	self->batch = g_byte_array_new();
	self->thread = g_thread_new("apply", apply, self);
	return self;
}

void store_applier_stop(struct store_applier *self)
{
	int err;

	if (!self)
		return;
	g_mutex_lock(&self->lock);
	self->stopping = true;
	g_cond_broadcast(&self->changed);
	g_mutex_unlock(&self->lock);
	g_thread_join(self->thread);
	err = store_applier_drain(self);
	if (err)
		log_error("%s: %s: the last changes stay in its redo log, for the next start", self->store->path, g_strerror(-err));
	redo_close(self->redo, err != 0);
	g_byte_array_unref(self->fresh);
	g_byte_array_unref(self->batch);
	g_cond_clear(&self->changed);
	g_mutex_clear(&self->lock);
	g_free(self);
}
