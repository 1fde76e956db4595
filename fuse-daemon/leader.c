// SPDX-License-Identifier: GPL-2.0-or-later
/* Which threads read requests. */
#include "leader.h"

#include <glib.h>
#include <stdint.h>

struct leader {
	GMutex lock; /* guards all below */
	GCond lead;  /* for followers: somebody is to lead */
	GCond look;  /* for the watch: the same, or the leaders have something to do */
	unsigned leaders;
	unsigned readers;   /* leaders that read; the others serve */
	unsigned followers; /* that wait for @lead */
	uint64_t served;    /* requests, by all leaders */
	bool wanted;        /* one more leader is */
	bool watched;       /* somebody waits for @look */
	bool dozes;         /* that one, with no limit of time */
	bool ended;
};

struct leader *leader_new(void)
{
	struct leader *self = g_new0(struct leader, 1);

	g_mutex_init(&self->lock);
	g_cond_init(&self->lead);
	g_cond_init(&self->look);
	return self;
}

void leader_free(struct leader *self)
{
	if (!self)
		return;
	g_cond_clear(&self->look);
	g_cond_clear(&self->lead);
	g_mutex_clear(&self->lock);
	g_free(self);
}

/* One look: leaders that are still at the same requests get one more. */
static void watch(struct leader *self)
{
	uint64_t served = self->served;
	bool busy = self->readers == 0;

	self->watched = true;
	self->dozes = !busy;
	if (busy)
		g_cond_wait_until(&self->look, &self->lock, g_get_monotonic_time() + LEADER_PATIENCE);
	else
		g_cond_wait(&self->look, &self->lock);
	self->watched = self->dozes = false;
	if (busy && self->readers == 0 && self->served == served)
		self->wanted = true;
}

static bool needs_leader(const struct leader *self)
{
	return self->leaders == 0 || self->wanted;
}

/* Somebody is to lead. */
static void wake(struct leader *self)
{
	g_cond_signal(self->followers > 0 ? &self->lead : &self->look);
}

bool leader_follow(struct leader *self)
{
	bool leads;

	g_mutex_lock(&self->lock);
	while (!needs_leader(self) && !self->ended) {
		if (self->watched) {
			self->followers++;
			g_cond_wait(&self->lead, &self->lock);
			self->followers--;
		} else {
			watch(self);
		}
	}
	leads = !self->ended;
	if (leads) {
		self->leaders++;
		self->readers++;
		self->wanted = false;
		/* A watch that leads needs a successor. */
		if (!self->watched && self->followers > 0)
			g_cond_signal(&self->lead);
	}
	g_mutex_unlock(&self->lock);
	return leads;
}

void leader_serves(struct leader *self, bool more)
{
	g_mutex_lock(&self->lock);
	self->readers--;
	self->served++;
	if (more && !self->wanted && (self->followers > 0 || self->watched)) {
		self->wanted = true;
		wake(self);
	} else if (self->dozes && self->readers == 0) {
		g_cond_signal(&self->look);
	}
	g_mutex_unlock(&self->lock);
}

void leader_hand_over(struct leader *self, bool reads)
{
	g_mutex_lock(&self->lock);
	self->leaders--;
	self->readers -= reads;
	if (self->readers == 0) {
		self->wanted = true; /* other leaders may be at something that takes long as well */
		wake(self);
	}
	g_mutex_unlock(&self->lock);
}

bool leader_others_read(struct leader *self)
{
	bool read;

	g_mutex_lock(&self->lock);
	read = self->readers > 0;
	g_mutex_unlock(&self->lock);
	return read;
}

bool leader_goes_on(struct leader *self, bool more)
{
	bool leads;

	g_mutex_lock(&self->lock);
	leads = (self->readers == 0 || more) && !self->ended;
	if (!leads) {
		self->leaders--;
	} else {
		self->readers++;
		self->wanted = self->wanted && more;
	}
	g_mutex_unlock(&self->lock);
	return leads;
}

void leader_end(struct leader *self)
{
	g_mutex_lock(&self->lock);
	self->ended = true;
	g_cond_broadcast(&self->lead);
	g_cond_broadcast(&self->look);
	g_mutex_unlock(&self->lock);
}
