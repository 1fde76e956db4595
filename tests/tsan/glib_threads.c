// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * GLib's mutexes and conditions on those of pthreads, for the build with ThreadSanitizer only: GLib's own are made of
 * futexes, in a library that is not instrumented, so that it would see neither who holds what nor in which order. What the
 * main loop is given by other threads goes through such a mutex, too.
 *
 * They replace GLib's in the program alone; GLib itself is linked to call its own.
 */
#include <dlfcn.h>
#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>

/* Of the sanitizer's library, in no header of it. */
void __tsan_acquire(void *);
void __tsan_release(void *);
void __tsan_ignore_thread_begin(void);
void __tsan_ignore_thread_end(void);

/* A GMutex in memory that is zero is good to use: what it stands for is made by the first who does. */
static pthread_mutex_t *mutex_of(GMutex *mutex)
{
	pthread_mutex_t *made, *found = __atomic_load_n((pthread_mutex_t **)&mutex->p, __ATOMIC_ACQUIRE);

	if (found)
		return found;
	made = g_new(pthread_mutex_t, 1);
	pthread_mutex_init(made, NULL);
	if (__atomic_compare_exchange_n((pthread_mutex_t **)&mutex->p, &found, made, false, __ATOMIC_ACQ_REL,
	                                __ATOMIC_ACQUIRE))
		return made;
	pthread_mutex_destroy(made);
	g_free(made);
	return found;
}

void g_mutex_init(GMutex *mutex)
{
	mutex->p = NULL;
}

void g_mutex_clear(GMutex *mutex)
{
	pthread_mutex_t *made = mutex_of(mutex);

	if (pthread_mutex_destroy(made) != 0)
		g_error("a mutex that is held was cleared");
	g_free(made);
	mutex->p = NULL;
}

void g_mutex_lock(GMutex *mutex)
{
	pthread_mutex_lock(mutex_of(mutex));
}

gboolean g_mutex_trylock(GMutex *mutex)
{
	return pthread_mutex_trylock(mutex_of(mutex)) == 0;
}

void g_mutex_unlock(GMutex *mutex)
{
	pthread_mutex_unlock(mutex_of(mutex));
}

static pthread_cond_t *new_condition(void)
{
	pthread_cond_t *made = g_new(pthread_cond_t, 1);
	pthread_condattr_t attributes;

	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* g_get_monotonic_time() */
	pthread_cond_init(made, &attributes);
	pthread_condattr_destroy(&attributes);
	return made;
}

static pthread_cond_t *condition_of(GCond *condition)
{
	pthread_cond_t *made, *found = __atomic_load_n((pthread_cond_t **)&condition->p, __ATOMIC_ACQUIRE);

	if (found)
		return found;
	made = new_condition();
	if (__atomic_compare_exchange_n((pthread_cond_t **)&condition->p, &found, made, false, __ATOMIC_ACQ_REL,
	                                __ATOMIC_ACQUIRE))
		return made;
	pthread_cond_destroy(made);
	g_free(made);
	return found;
}

void g_cond_init(GCond *condition)
{
	condition->p = NULL;
}

void g_cond_clear(GCond *condition)
{
	pthread_cond_t *made = condition_of(condition);

	pthread_cond_destroy(made);
	g_free(made);
	condition->p = NULL;
}

void g_cond_wait(GCond *condition, GMutex *mutex)
{
	pthread_cond_wait(condition_of(condition), mutex_of(mutex));
}

gboolean g_cond_wait_until(GCond *condition, GMutex *mutex, gint64 end_time)
{
	const struct timespec until = {
		.tv_sec = end_time / G_USEC_PER_SEC,
		.tv_nsec = end_time % G_USEC_PER_SEC * 1000,
	};

	return pthread_cond_timedwait(condition_of(condition), mutex_of(mutex), &until) != ETIMEDOUT;
}

void g_cond_signal(GCond *condition)
{
	pthread_cond_signal(condition_of(condition));
}

void g_cond_broadcast(GCond *condition)
{
	pthread_cond_broadcast(condition_of(condition));
}

/* The loop's own memory, from one thread to another under a mutex of GLib's: no race, and no business of ours. */
guint g_idle_add(GSourceFunc function, gpointer data)
{
	guint id;

	__tsan_ignore_thread_begin();
	id = g_idle_add_full(G_PRIORITY_DEFAULT_IDLE, function, data, NULL);
	__tsan_ignore_thread_end();
	return id;
}

/*
 * Thread pools hand work over, and wait for its end, inside of GLib. The sanitizer is told: what was done before a push is
 * seen by who works, and what was done at work by who has waited for the pool.
 */
static char pushed, worked;

struct worker {
	GFunc work;
	gpointer data;
};

static void work_in_order(gpointer item, gpointer data)
{
	const struct worker *worker = data;

	__tsan_acquire(&pushed);
	worker->work(item, worker->data);
	__tsan_release(&worked);
}

GThreadPool *g_thread_pool_new(GFunc work, gpointer data, gint most, gboolean exclusive, GError **error)
{
	GThreadPool *(*real)(GFunc, gpointer, gint, gboolean, GError **) = dlsym(RTLD_NEXT, "g_thread_pool_new");
	struct worker *worker = g_new(struct worker, 1); /* as long as the pool, of which a process has one or two */

	*worker = (struct worker){ work, data };
	__tsan_release(&pushed);
	return real(work_in_order, worker, most, exclusive, error);
}

gboolean g_thread_pool_push(GThreadPool *pool, gpointer item, GError **error)
{
	gboolean (*real)(GThreadPool *, gpointer, GError **) = dlsym(RTLD_NEXT, "g_thread_pool_push");

	__tsan_release(&pushed);
	return real(pool, item, error);
}

void g_thread_pool_free(GThreadPool *pool, gboolean immediate, gboolean wait)
{
	void (*real)(GThreadPool *, gboolean, gboolean) = dlsym(RTLD_NEXT, "g_thread_pool_free");

	real(pool, immediate, wait);
	__tsan_acquire(&worked);
}
