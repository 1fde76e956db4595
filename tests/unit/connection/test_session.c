// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The request loop with a socket in place of /dev/fuse: which requests are served, wait or are refused, and their
 * numbers.
 */
#include <errno.h>
#include <glib.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "connection/fair_queue.h"
#include "connection/session.h"

enum { ROOT = 0, ALICE = 1000, BOB = 1001, THREADS = 4 };

#define RESENT (UINT64_C(1) << 63)
/* A GETATTR of this node is not answered until the gate opens. */
#define SLOW  2
#define LARGE ((size_t)64 * 1024)

struct world {
	int kernel; /* the other end */
	struct fuse_session *fuse;
	struct session *session;
	GMainLoop *loop;
	GMutex lock; /* of those below */
	GCond changed;
	bool open;
	bool replayed;
	unsigned waiting; /* at the gate */
};

static void getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct world *world = fuse_req_userdata(req);

	(void)fi;
	g_mutex_lock(&world->lock);
	world->waiting++;
	g_cond_broadcast(&world->changed);
	while (ino == SLOW && !world->open)
		g_cond_wait(&world->changed, &world->lock);
	g_mutex_unlock(&world->lock);
	fuse_reply_err(req, ENOENT);
}

static void setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value, size_t size, int flags)
{
	(void)ino, (void)name, (void)value, (void)size, (void)flags;
	fuse_reply_err(req, EPERM);
}

static const struct fuse_lowlevel_ops ops = { .getattr = getattr, .setxattr = setxattr };

static void on_init(const void *request, size_t size, void *data)
{
	(void)request, (void)size, (void)data;
}

static void on_began(void *data)
{
	(void)data;
}

static void on_replayed(void *data)
{
	struct world *world = data;

	g_mutex_lock(&world->lock);
	g_assert_false(world->replayed);
	world->replayed = true;
	g_cond_broadcast(&world->changed);
	g_mutex_unlock(&world->lock);
}

static gboolean quit(gpointer loop)
{
	g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

static void on_ended(void *data)
{
	const struct world *world = data;

	g_idle_add(quit, world->loop);
}

static const struct session_events events = {
	.init = on_init,
	.began = on_began,
	.replayed = on_replayed,
	.ended = on_ended,
};

static void begin(struct world *world, bool takeover)
{
	char *argv[] = { (char *)"test", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, argv);
	g_autofree char *name = NULL;
	struct {
		struct fuse_in_header in;
		struct fuse_init_in init;
	} init = {
		.in = { .len = sizeof(init), .opcode = FUSE_INIT, .unique = 1 },
		.init = { .major = 7, .minor = 31, .max_readahead = 131072 },
	};
	char reply[4096];
	int ends[2];

	*world = (struct world){ .loop = g_main_loop_new(NULL, FALSE) };
	g_assert_cmpint(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), ==, 0);
	world->kernel = ends[0];
	name = g_strdup_printf("/dev/fd/%d", ends[1]);
	world->fuse = fuse_session_new(&args, &ops, sizeof(ops), world);
	g_assert_cmpint(fuse_session_mount(world->fuse, name), ==, 0);
	session_feed_init(world->fuse, &init, sizeof(init));
	g_assert_cmpint(recv(world->kernel, reply, sizeof(reply), 0), >, 0);
	world->session = session_start(world->fuse, THREADS, takeover, &events, world);
	fuse_opt_free_args(&args);
}

static void end(struct world *world)
{
	session_stop(world->session);
	g_main_loop_run(world->loop);
	g_assert_cmpint(session_finish(world->session), ==, 0);
	fuse_session_destroy(world->fuse);
	close(world->kernel);
	g_main_loop_unref(world->loop);
}

static void ask(const struct world *world, uint64_t unique, uid_t uid, uint64_t node)
{
	struct {
		struct fuse_in_header in;
		struct fuse_getattr_in getattr;
	} request = {
		.in = { .len = sizeof(request), .opcode = FUSE_GETATTR, .unique = unique, .nodeid = node, .uid = uid },
	};

	g_assert_cmpint(send(world->kernel, &request, sizeof(request), 0), ==, sizeof(request));
}

/* Sends a request of the largest size. */
static void ask_large(const struct world *world, uint64_t unique, uid_t uid)
{
	static char request[LARGE];
	struct fuse_in_header in = {
		.len = sizeof(request),
		.opcode = FUSE_SETXATTR,
		.unique = unique,
		.nodeid = 3,
		.uid = uid,
	};
	struct fuse_setxattr_in arguments = { .size = sizeof(request) - 100 };

	memcpy(request, &in, sizeof(in));
	memcpy(request + sizeof(in), &arguments, FUSE_COMPAT_SETXATTR_IN_SIZE);
	memcpy(request + sizeof(in) + FUSE_COMPAT_SETXATTR_IN_SIZE, "user.x", 7);
	g_assert_cmpint(send(world->kernel, request, sizeof(request), 0), ==, sizeof(request));
}

static void assert_answer(const struct world *world, uint64_t unique, int err)
{
	struct fuse_out_header out;

	g_assert_cmpint(recv(world->kernel, &out, sizeof(out), 0), ==, sizeof(out));
	g_assert_cmpuint(out.unique, ==, unique);
	g_assert_cmpint(out.error, ==, -err);
}

static void wait_for_gate(struct world *world, unsigned count)
{
	g_mutex_lock(&world->lock);
	while (world->waiting < count)
		g_cond_wait(&world->changed, &world->lock);
	g_mutex_unlock(&world->lock);
}

static void open_gate(struct world *world)
{
	g_mutex_lock(&world->lock);
	world->open = true;
	g_cond_broadcast(&world->changed);
	g_mutex_unlock(&world->lock);
}

/* Users occupy all threads that they may have, and more of their requests wait. Root's requests are still answered. */
static void test_root_is_served(void)
{
	struct world world;

	begin(&world, false);
	for (unsigned i = 0; i < 10 * THREADS; i++)
		ask(&world, 2 * (i + 1), ALICE + i % 3, SLOW);
	wait_for_gate(&world, THREADS - 1);
	for (unsigned i = 0; i < 100; i++) {
		ask(&world, 1000 + 2 * i, ROOT, 3);
		assert_answer(&world, 1000 + 2 * i, ENOENT);
	}
	open_gate(&world);
	for (unsigned i = 0; i < 10 * THREADS; i++) {
		struct fuse_out_header out;

		g_assert_cmpint(recv(world.kernel, &out, sizeof(out), 0), ==, sizeof(out));
		g_assert_cmpint(out.error, ==, -ENOENT);
	}
	end(&world);
}

/* How many requests of ask_large() one user can have waiting. */
static unsigned how_many_wait(void)
{
	struct fair_queue *queue = fair_queue_new(1);
	g_autofree char *request = g_malloc0(LARGE);
	unsigned waiting = 0;

	g_assert_cmpint(fair_queue_begin(queue, ALICE, request, LARGE), ==, TURN_NOW);
	while (fair_queue_begin(queue, ALICE, request, LARGE) == TURN_LATER)
		waiting++;
	fair_queue_destroy(queue);
	return waiting;
}

/*
 * Resent requests have a bit in their number, and the kernel expects that bit in the answer. One user has more resent
 * requests than may wait; each is answered once, and then the replay is over.
 */
static void test_refused_under_its_own_number(void)
{
	g_autoptr(GHashTable) expected = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, NULL);
	struct fuse_out_header out;
	struct world world;
	unsigned sent = how_many_wait() + 20, refused = 20;
	uint64_t unique = RESENT;

	begin(&world, true);
	for (unsigned i = 0; i < THREADS / 2; i++)
		ask(&world, unique += 2, ALICE, SLOW);
	wait_for_gate(&world, THREADS / 2);
	while (sent-- > 0)
		ask_large(&world, unique += 2, ALICE);
	for (uint64_t one = RESENT + 2; one <= unique; one += 2)
		g_hash_table_add(expected, g_memdup2(&one, sizeof(one)));
	while (refused-- > 0) {
		g_assert_cmpint(recv(world.kernel, &out, sizeof(out), 0), ==, sizeof(out));
		g_assert_cmpint(out.error, ==, -ENOMEM);
		g_assert_true(g_hash_table_remove(expected, &out.unique));
	}
	ask(&world, RESENT | 1000000, BOB, 3); /* nobody else is refused */
	assert_answer(&world, RESENT | 1000000, ENOENT);
	ask(&world, 1000002, ROOT, 3); /* the first that does not come again */
	assert_answer(&world, 1000002, ENOENT);
	g_assert_false(world.replayed);
	open_gate(&world);
	while (g_hash_table_size(expected) > 0) {
		g_assert_cmpint(recv(world.kernel, &out, sizeof(out), 0), ==, sizeof(out));
		g_assert_cmpint(out.error, !=, -ENOMEM);
		g_assert_true(g_hash_table_remove(expected, &out.unique));
	}
	g_mutex_lock(&world.lock);
	while (!world.replayed)
		g_cond_wait(&world.changed, &world.lock);
	g_mutex_unlock(&world.lock);
	end(&world);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/session/root-is-served", test_root_is_served);
	g_test_add_func("/session/refused-under-its-own-number", test_refused_under_its_own_number);
	return g_test_run();
}
