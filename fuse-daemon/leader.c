// SPDX-License-Identifier: GPL-2.0-or-later
/* Which thread reads the next request. */
#include "leader.h"

#include <glib.h>

struct leader {
	GMutex lock; /* guards all below */
	GCond free;  /* for followers: there is no leader */
	GCond look;  /* for the watch: the same, or the leader has something to do */
	uint64_t term;   /* of the last one to lead */
	uint64_t served; /* requests, by all leaders */
	unsigned followers; /* that wait for @free */
	bool led;
	bool serving; /* the leader is */
	bool watched; /* somebody waits for @look */
	bool dozes;   /* that one, with no limit of time */
	bool ended;
};

struct leader *leader_new(void)
{
	struct leader *self = g_new0(struct leader, 1);

	g_mutex_init(&self->lock);
	g_cond_init(&self->free);
	g_cond_init(&self->look);
	return self;
}

void leader_free(struct leader *self)
{
	if (!self)
		return;
	g_cond_clear(&self->look);
	g_cond_clear(&self->free);
	g_mutex_clear(&self->lock);
	g_free(self);
}

/* One look at the leader, who has no place any more if it is still at the same request. */
static void watch(struct leader *self)
{
	uint64_t served = self->served;
	bool serving = self->serving;

	self->watched = true;
	self->dozes = !serving;
	if (serving)
		g_cond_wait_until(&self->look, &self->lock, g_get_monotonic_time() + LEADER_PATIENCE);
	else
		g_cond_wait(&self->look, &self->lock);
	self->watched = self->dozes = false;
	if (serving && self->serving && self->served == served)
		self->led = false;
}

uint64_t leader_follow(struct leader *self)
{
	uint64_t term = 0;

	g_mutex_lock(&self->lock);
	while (self->led && !self->ended) {
		if (self->watched) {
			self->followers++;
			g_cond_wait(&self->free, &self->lock);
			self->followers--;
		} else {
			watch(self);
		}
	}
	if (!self->ended) {
		self->led = true;
		self->serving = false;
		term = ++self->term;
		/* The watch that has become the leader needs a successor. */
		if (!self->watched && self->followers > 0)
			g_cond_signal(&self->free);
	}
	g_mutex_unlock(&self->lock);
	return term;
}

static bool leads(const struct leader *self, uint64_t term)
{
	return self->led && self->term == term;
}

void leader_serves(struct leader *self, uint64_t term)
{
	g_mutex_lock(&self->lock);
	if (leads(self, term)) {
		self->serving = true;
		self->served++;
		if (self->dozes)
			g_cond_signal(&self->look);
	}
	g_mutex_unlock(&self->lock);
}

void leader_hand_over(struct leader *self, uint64_t term)
{
	g_mutex_lock(&self->lock);
	if (leads(self, term)) {
		self->led = false;
		g_cond_signal(self->followers > 0 ? &self->free : &self->look);
	}
	g_mutex_unlock(&self->lock);
}

bool leader_goes_on(struct leader *self, uint64_t term)
{
	bool still;

	g_mutex_lock(&self->lock);
	still = leads(self, term) && !self->ended;
	if (still)
		self->serving = false;
	g_mutex_unlock(&self->lock);
	return still;
}

void leader_end(struct leader *self)
{
	g_mutex_lock(&self->lock);
	self->ended = true;
	g_cond_broadcast(&self->free);
	g_cond_broadcast(&self->look);
	g_mutex_unlock(&self->lock);
}
