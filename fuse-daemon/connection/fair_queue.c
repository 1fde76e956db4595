// SPDX-License-Identifier: GPL-2.0-or-later
/* Who is served when the threads are fewer than the requests. */
#include "connection/fair_queue.h"

#include <glib.h>
#include <string.h>

/* One that has requests here. */
struct user {
	uid_t uid;
	unsigned served; /* at the moment */
	GQueue waiting;  /* struct turns_request */
	size_t bytes;    /* that those cost */
};

struct turns {
	unsigned share; /* threads for one user */
	unsigned most;  /* for all of them */
	GMutex lock;    /* guards all below */
	unsigned served;
	size_t bytes;      /* that all that waits costs */
	GHashTable *users; /* by number: struct user, while it is served or waits */
	GQueue line;       /* of the users that have something waiting, the next one first */
};

static void free_user(gpointer data)
{
	struct user *user = data;

	g_queue_clear_full(&user->waiting, g_free);
	g_free(user);
}

struct turns *turns_new(unsigned threads)
{
	struct turns *turns = g_new0(struct turns, 1);

	turns->share = MAX(1, threads / 2);
	turns->most = MAX(1, threads - 1);
	g_mutex_init(&turns->lock);
	g_queue_init(&turns->line);
	turns->users = g_hash_table_new_full(NULL, NULL, NULL, free_user);
	return turns;
}

void turns_destroy(struct turns *turns)
{
	if (!turns)
		return;
	g_queue_clear(&turns->line);
	g_hash_table_unref(turns->users);
	g_mutex_clear(&turns->lock);
	g_free(turns);
}

static struct user *get_user(struct turns *turns, uid_t uid)
{
	struct user *user = g_hash_table_lookup(turns->users, GUINT_TO_POINTER(uid));

	if (!user) {
		user = g_new0(struct user, 1);
		user->uid = uid;
		g_queue_init(&user->waiting);
		g_hash_table_insert(turns->users, GUINT_TO_POINTER(uid), user);
	}
	return user;
}

static void drop_unless_needed(struct turns *turns, struct user *user)
{
	if (user->served == 0 && g_queue_is_empty(&user->waiting))
		g_hash_table_remove(turns->users, GUINT_TO_POINTER(user->uid));
}

static bool may_be_served(const struct turns *turns, const struct user *user)
{
	return turns->served < turns->most && user->served < turns->share;
}

static void serve(struct turns *turns, struct user *user)
{
	turns->served++;
	user->served++;
}

/* What a request of @size bytes costs while it waits, its user's share of the tables included. */
static size_t cost(size_t size)
{
	return sizeof(struct turns_request) + size + sizeof(GList) + sizeof(struct user);
}

static enum turn wait_in_line(struct turns *turns, struct user *user, const void *data, size_t size)
{
	struct turns_request *request;

	if (user->bytes + cost(size) > TURNS_WAITING_MAX - turns->bytes)
		return TURN_REFUSED;
	request = g_malloc(sizeof(*request) + size);
	request->uid = user->uid;
	request->size = size;
	memcpy(request->data, data, size);
	if (g_queue_is_empty(&user->waiting))
		g_queue_push_tail(&turns->line, user);
	g_queue_push_tail(&user->waiting, request);
	user->bytes += cost(size);
	turns->bytes += cost(size);
	return TURN_LATER;
}

enum turn turns_begin(struct turns *turns, uid_t uid, const void *request, size_t size)
{
	enum turn turn = TURN_NOW;

	if (uid == 0)
		return turn;
	g_mutex_lock(&turns->lock);
	struct user *user = get_user(turns, uid);

	if (may_be_served(turns, user))
		serve(turns, user);
	else
		turn = wait_in_line(turns, user, request, size);
	drop_unless_needed(turns, user); /* who was refused at once */
	g_mutex_unlock(&turns->lock);
	return turn;
}

/* The first in line that may be served, who then goes to its end. */
static struct turns_request *next_in_line(struct turns *turns)
{
	for (GList *at = turns->line.head; at; at = at->next) {
		struct user *user = at->data;
		struct turns_request *request;

		if (!may_be_served(turns, user))
			continue;
		g_queue_delete_link(&turns->line, at);
		request = g_queue_pop_head(&user->waiting);
		user->bytes -= cost(request->size);
		turns->bytes -= cost(request->size);
		if (!g_queue_is_empty(&user->waiting))
			g_queue_push_tail(&turns->line, user);
		serve(turns, user);
		return request;
	}
	return NULL;
}

struct turns_request *turns_end(struct turns *turns, uid_t uid)
{
	struct turns_request *request;

	if (uid == 0)
		return NULL;
	g_mutex_lock(&turns->lock);
	struct user *user = get_user(turns, uid);

	turns->served--;
	user->served--;
	request = next_in_line(turns);
	drop_unless_needed(turns, user);
	g_mutex_unlock(&turns->lock);
	return request;
}
