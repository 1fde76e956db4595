// SPDX-License-Identifier: GPL-2.0-or-later
/* Which request is served next when there are more requests than threads. */
#include "connection/fair_queue.h"

#include <glib.h>
#include <string.h>

/* A user that has requests here. */
struct user {
	uid_t uid;
	unsigned served; /* requests that threads serve now */
	GQueue waiting;  /* struct fair_queue_request */
	size_t bytes;    /* cost() of the waiting requests */
};

struct fair_queue {
	unsigned share; /* the most threads for one user */
	unsigned most;  /* the most threads for all users but root */
	GMutex lock;    /* guards all below */
	unsigned served;
	size_t bytes;      /* cost() of all waiting requests */
	GHashTable *users; /* uid -> struct user: users with requests that are served or wait */
	GQueue line;       /* struct user: users with waiting requests, the next one first */
};

static void free_user(gpointer data)
{
	struct user *user = data;

	g_queue_clear_full(&user->waiting, g_free);
	g_free(user);
}

struct fair_queue *fair_queue_new(unsigned threads)
{
	struct fair_queue *queue = g_new0(struct fair_queue, 1);

	queue->share = MAX(1, threads / 2);
	queue->most = MAX(1, threads - 1);
	g_mutex_init(&queue->lock);
	g_queue_init(&queue->line);
	queue->users = g_hash_table_new_full(NULL, NULL, NULL, free_user);
	return queue;
}

void fair_queue_destroy(struct fair_queue *queue)
{
	if (!queue)
		return;
	g_queue_clear(&queue->line);
	g_hash_table_unref(queue->users);
	g_mutex_clear(&queue->lock);
	g_free(queue);
}

static struct user *get_user(struct fair_queue *queue, uid_t uid)
{
	struct user *user = g_hash_table_lookup(queue->users, GUINT_TO_POINTER(uid));

	if (!user) {
		user = g_new0(struct user, 1);
		user->uid = uid;
		g_queue_init(&user->waiting);
		g_hash_table_insert(queue->users, GUINT_TO_POINTER(uid), user);
	}
	return user;
}

static void drop_unless_needed(struct fair_queue *queue, struct user *user)
{
	if (user->served == 0 && g_queue_is_empty(&user->waiting))
		g_hash_table_remove(queue->users, GUINT_TO_POINTER(user->uid));
}

static bool may_be_served(const struct fair_queue *queue, const struct user *user)
{
	return queue->served < queue->most && user->served < queue->share;
}

static void serve(struct fair_queue *queue, struct user *user)
{
	queue->served++;
	user->served++;
}

/* The bytes of memory that a request of @size bytes takes while it waits, with the table entry of its user. */
static size_t cost(size_t size)
{
	return sizeof(struct fair_queue_request) + size + sizeof(GList) + sizeof(struct user);
}

static enum turn wait_in_line(struct fair_queue *queue, struct user *user, const void *data, size_t size)
{
	struct fair_queue_request *request;

	if (user->bytes + cost(size) > FAIR_QUEUE_WAITING_MAX - queue->bytes)
		return TURN_REFUSED;
	request = g_malloc(sizeof(*request) + size);
	request->uid = user->uid;
	request->size = size;
	memcpy(request->data, data, size);
	if (g_queue_is_empty(&user->waiting))
		g_queue_push_tail(&queue->line, user);
	g_queue_push_tail(&user->waiting, request);
	user->bytes += cost(size);
	queue->bytes += cost(size);
	return TURN_LATER;
}

enum turn fair_queue_begin(struct fair_queue *queue, uid_t uid, const void *request, size_t size)
{
	enum turn turn = TURN_NOW;

	if (uid == 0)
		return turn;
	g_mutex_lock(&queue->lock);
	struct user *user = get_user(queue, uid);

	if (may_be_served(queue, user))
		serve(queue, user);
	else
		turn = wait_in_line(queue, user, request, size);
	drop_unless_needed(queue, user); /* get_user() may have made it for a request that was refused */
	g_mutex_unlock(&queue->lock);
	return turn;
}

/* Takes a request of the first user in line that may be served; that user then goes to the end of the line. */
static struct fair_queue_request *next_in_line(struct fair_queue *queue)
{
	for (GList *at = queue->line.head; at; at = at->next) {
		struct user *user = at->data;
		struct fair_queue_request *request;

		if (!may_be_served(queue, user))
			continue;
		g_queue_delete_link(&queue->line, at);
		request = g_queue_pop_head(&user->waiting);
		user->bytes -= cost(request->size);
		queue->bytes -= cost(request->size);
		if (!g_queue_is_empty(&user->waiting))
			g_queue_push_tail(&queue->line, user);
		serve(queue, user);
		return request;
	}
	return NULL;
}

struct fair_queue_request *fair_queue_end(struct fair_queue *queue, uid_t uid)
{
	struct fair_queue_request *request;

	if (uid == 0)
		return NULL;
	g_mutex_lock(&queue->lock);
	struct user *user = get_user(queue, uid);

	queue->served--;
	user->served--;
	request = next_in_line(queue);
	drop_unless_needed(queue, user);
	g_mutex_unlock(&queue->lock);
	return request;
}
