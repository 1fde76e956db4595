// SPDX-License-Identifier: GPL-2.0-or-later
/* One run of the daemon: starts all parts in order, serves, and stops them in reverse order. */
#include "daemon/daemon.h"

#include <fcntl.h>
#include <glib-unix.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/memmap_cmdline.h"
#include "base/caller_file.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "base/mountinfo.h"
#include "base/notify.h"
#include "base/page_order.h"
#include "connection/fd_store.h"
#include "daemon/daemonize.h"
#include "daemon/default_pages.h"
#include "daemon/metrics.h"
#include "daemon/reload.h"
#include "daemon/state_lock.h"
#include "daemon/watchdog.h"
#include "file/pins.h"
#include "file/unlinked_mapped.h"
#include "file/zeroer.h"
#include "lending/lender.h"
#include "namespace/fault_service.h"
#include "namespace/quota_setup.h"
#include "pool/pool_clean.h"
#include "pool/pool_lent.h"
#include "recovery/poison.h"
#include "recovery/recover.h"
#include "requests/mount.h"
#include "requests/mount_watch.h"

struct daemon {
	struct server server;
	struct mount *mount;
	struct fault_service *fault_service;
	struct lender *lender; /* NULL: nothing is lent */
	GMainLoop *loop;
	guint sources[6]; /* of the main loop: signals, backend, flush, watchdog */
	int lock;         /* descriptor of the state directory's lock */
	struct takeover takeover;
	struct reload_check *reload_check;
	struct pins_poll pins_poll;
	bool unmounted; /* no process can reach removed files any more */
	bool keep;      /* at the end the mount is left to the next daemon */
	bool ending;    /* SIGINT came: later signals cannot set @keep */
	bool stopping;  /* this run ends */
	bool reload;    /* the next daemon is this process, which executes the installed program */
};

static const struct backend_ops *const backends[] = {
	[BACKEND_MEMORY] = &backend_memory_ops,
	[BACKEND_PFN] = &backend_pfn_ops,
};

static void memory_is_idle(uint64_t id, void *storage)
{
	storage_idle(storage, id);
}

static void memory_is_poisoned(void *storage)
{
	poison_update(storage);
}

static gboolean flush(gpointer data)
{
	struct daemon *daemon = data;

	namespace_flush(daemon->server.ns);
	pins_poll(&daemon->server.storage, &daemon->pins_poll, g_get_monotonic_time());
	return G_SOURCE_CONTINUE;
}

static gboolean on_backend_event(gint fd, GIOCondition condition, gpointer data)
{
	const struct storage *storage = data;

	(void)fd;
	(void)condition;
	storage->ops->dispatch(storage->backend);
	return G_SOURCE_CONTINUE;
}

/* Serving ends when no request is at work any more: those that wait for lent memory end now, without an answer. */
static void stop_serving(struct daemon *daemon)
{
	mount_stop(daemon->mount);
	lender_leave(daemon->lender);
}

static gboolean stop(struct daemon *daemon, bool keep)
{
	daemon->keep = keep;
	daemon->stopping = true;
	notify_send("STOPPING=1");
	stop_serving(daemon);
	return G_SOURCE_CONTINUE;
}

/* SIGINT: unmounts. A service manager that stops the daemon sends SIGTERM after it, which must not undo this. */
static gboolean on_interrupt(gpointer data)
{
	struct daemon *daemon = data;

	daemon->ending = true;
	return stop(daemon, false);
}

/*
 * SIGTERM: may be the first half of a restart. If an fd store keeps the connection, leaves the mount to the next
 * daemon.
 */
static gboolean on_terminate(gpointer data)
{
	struct daemon *daemon = data;

	return stop(daemon, !daemon->ending && fd_store_exists());
}

static gboolean on_hangup(gpointer data)
{
	const struct daemon *daemon = data;

	if (!daemon->stopping)
		reload_check_ask(daemon->reload_check);
	return G_SOURCE_CONTINUE;
}

static void reload_is_safe(void *data)
{
	struct daemon *daemon = data;

	if (daemon->stopping) /* another signal came during the check */
		return;
	log_info("reloading");
	notify_reloading();
	daemon->keep = daemon->reload = daemon->stopping = true;
	stop_serving(daemon);
}

static gboolean quit(gpointer loop)
{
	g_main_loop_quit(loop);
	return G_SOURCE_REMOVE;
}

/* Called on a serving thread. The main thread does the rest. */
static void on_mount_ended(void *loop)
{
	g_idle_add(quit, loop);
}

/*
 * Raises the soft limit of descriptors, which is low for programs that use select(2). config_load_for_host() checks the
 * hard one.
 */
static void raise_limits(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static bool open_store(struct storage *storage, const struct config *config, GError **error)
{
	/* Without it there are no ranges to compare with: the backend reports that it cannot be read. */
	g_autoptr(GArray) reserved = config->backend == BACKEND_PFN ? memmap_cmdline_read(NULL) : NULL;

	storage->store = store_open(config->state_dir, getuid(), getgid(), error);
	if (!storage->store)
		return false;
	for (guint i = 0; i < config->regions->len; i++) {
		struct region_config *region = g_ptr_array_index(config->regions, i);

		if (region->any_order && !default_pages_fit(config, region, reserved, storage->store, error))
			return false;
	}
	return true;
}

static bool open_storage(struct daemon *daemon, const struct config *config, GError **error)
{
	struct storage *storage = &daemon->server.storage;
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(struct memory_region));

	storage->ops = backends[config->backend];
	storage->max_metadata = config->max_metadata;
	storage->demand_extent = config->demand_extent;
	storage->demand = config->alloc == ALLOC_DEMAND;
	storage->unlinked_mapped = unlinked_mapped_new();
	if (!open_store(storage, config, error))
		return false;
	storage->backend = storage->ops->open(config, regions, error);
	if (!storage->backend)
		return false;
	/*
	 * Limits how many threads can wait for memory and for quota. At least one thread never waits: it serves the
	 * requests that give memory and quota back.
	 */
	storage->pool = pool_new(regions, config->threads - config->threads / 4 - 1, error);
	if (!storage->pool)
		return false;
	storage->order = pool_largest_order(storage->pool);
	/* The default follows the pages that regions have got, which may be smaller than the configuration knows. */
	storage->page_size = config->any_page_size ? page_order_default_unit(storage->order) : config->page_size;
	if (storage->ops->needs_zeroing && storage->ops->needs_zeroing(storage->backend))
		pool_need_zeroing(storage->pool);
	pool_set_overcommit(storage->pool, config->overcommit);
	if (storage->ops->lend_unit)
		pool_set_lend_unit(storage->pool, storage->ops->lend_unit(storage->backend));
	storage->quotas = quotas_new(config->threads / 4);
	storage->zeroer = zeroer_new(storage);
	storage->ops->set_idle_callback(storage->backend, memory_is_idle, storage);
	if (storage->ops->set_poison)
		storage->ops->set_poison(storage->backend, memory_is_poisoned, storage);
	store_set_deleted_callback(storage->store, storage_deleted, storage);
	return true;
}

static uint64_t capacity(const struct storage *storage)
{
	struct pool_usage usage;

	pool_get_usage(storage->pool, &usage);
	return usage.capacity;
}

static void close_storage(struct daemon *daemon)
{
	struct storage *storage = &daemon->server.storage;

	/* What is lent stays so for the next daemon, unless nobody may come. */
	lender_stop(daemon->lender, daemon->unmounted);
	if (storage->zeroer)
		zeroer_stop(storage->zeroer);
	fault_service_stop(daemon->fault_service);
	namespace_destroy(daemon->server.ns, daemon->unmounted);
	unlinked_mapped_destroy(storage->unlinked_mapped);
	zeroer_destroy(storage->zeroer);
	store_close(storage->store);
	if (storage->backend)
		storage->ops->close(storage->backend);
	pool_destroy(storage->pool);
	quotas_destroy(storage->quotas);
	if (daemon->lock >= 0)
		close(daemon->lock);
}

/*
 * Called before the mount is made, so that a signal during the start waits for the main loop and does not kill the
 * process.
 */
static void add_sources(struct daemon *daemon)
{
	struct storage *storage = &daemon->server.storage;
	int fd = storage->ops->event_fd(storage->backend);

	daemon->reload_check = reload_check_new(daemon->server.config->file, reload_is_safe, daemon);
	daemon->sources[0] = g_unix_signal_add(SIGTERM, on_terminate, daemon);
	daemon->sources[1] = g_unix_signal_add(SIGINT, on_interrupt, daemon);
	daemon->sources[2] = g_unix_signal_add(SIGHUP, on_hangup, daemon);
	daemon->sources[3] = g_unix_fd_add(fd, G_IO_IN, on_backend_event, storage);
	daemon->sources[4] = g_timeout_add_seconds(NAMESPACE_FLUSH_PERIOD, flush, daemon);
}

static void remove_sources(struct daemon *daemon)
{
	for (size_t i = 0; i < G_N_ELEMENTS(daemon->sources); i++) {
		if (daemon->sources[i])
			g_source_remove(daemon->sources[i]);
	}
	reload_check_free(daemon->reload_check);
}

/*
 * Fills in daemon->takeover when @connection, which it owns, can be taken over. Else unmounts a dead mount of this
 * record and checks that the mountpoint can be used.
 */
static bool prepare_mountpoint(struct daemon *daemon, int connection, GError **error)
{
	const struct config *config = daemon->server.config;

	switch (takeover_find(config->mountpoint, daemon->server.storage.store, connection, &daemon->takeover, error)) {
	case TAKEOVER_READY:
		return true;
	case TAKEOVER_UNREADABLE:
		return false;
	case TAKEOVER_DEAD:
		log_info("%s: the connection of an earlier daemon's mount is lost: unmounted the dead mount",
		         config->mountpoint);
		mountinfo_unmount(config->mountpoint, daemon->takeover.device);
		break;
	case TAKEOVER_NONE:
	case TAKEOVER_FOREIGN:
		break;
	}
	return config_check_mountpoint(config, error);
}

/* Before requests are served: they may need what is lent. */
static void start_lender(struct daemon *daemon)
{
	const struct config *config = daemon->server.config;
	const struct lend_rules rules = {
		.on = config->lend == LEND_ON,
		.reserve = config->lend_reserve,
		.idle = config->lend_idle * G_TIME_SPAN_SECOND,
	};

	daemon->lender = lender_start(&daemon->server.storage, &rules, config->take_timeout);
}

static bool start(struct daemon *daemon, const struct config *config, int connection, GError **error)
{
	const struct storage *storage = &daemon->server.storage;
	bool inherited;

	daemon->server.config = config;
	caller_file_init();
	daemon->lock = state_lock_take(config->state_dir, STATE_LOCK_PATIENCE, error);
	if (daemon->lock < 0 || !open_storage(daemon, config, error)) {
		if (connection >= 0)
			close(connection);
		return false;
	}
	if (!prepare_mountpoint(daemon, connection, error))
		return false;
	inherited = daemon->takeover.fd >= 0;
	daemon->server.earlier = takeover_earlier(storage->store, inherited ? daemon->takeover.device : 0);
	daemon->server.ns = namespace_new(storage);
	daemon->fault_service =
		fault_service_start(daemon->server.ns, storage, config->threads, FAULT_SERVICE_PATIENCE);
	if (daemon->fault_service)
		daemon->pins_poll =
			(struct pins_poll){ .unpinned = fault_service_unpinned, .data = daemon->fault_service };
	add_sources(daemon);
	reload_unblock_signals();
	if (!recover(daemon->server.ns, storage, inherited, config->lost_contents == LOST_REMOVE, error))
		return false;
	quota_setup(daemon->server.ns, config);
	start_lender(daemon);
	daemon->mount = mount_start(&daemon->server, &daemon->takeover, on_mount_ended, daemon->loop, error);
	if (!daemon->mount)
		return false;
	namespace_settle(daemon->server.ns);
	if (!inherited)
		fd_store_add(mount_fd(daemon->mount), config->mountpoint); /* an inherited one is still in the store */
	log_info("%s %s: %" G_GUINT64_FORMAT " MiB, backend %s", inherited ? "took over the mount at" : "mounted at",
	         config->mountpoint, capacity(storage) >> 20, storage->ops->name);
	return true;
}

static void say_ready(const struct daemon *daemon)
{
	const struct storage *storage = &daemon->server.storage;
	g_autofree char *size = g_format_size_full(capacity(storage), G_FORMAT_SIZE_IEC_UNITS);
	g_autofree char *state = g_strdup_printf("READY=1\nSTATUS=Serving %s: %s, backend %s",
	                                         daemon->server.config->mountpoint, size, storage->ops->name);

	notify_send(state);
}

static bool is_alive(void *data, int64_t limit)
{
	const struct daemon *daemon = data;

	return mount_is_alive(daemon->mount, limit);
}

/* Serves until the end. *@connection: the descriptor for a reload; unchanged without one. */
static bool serve(struct daemon *daemon, int *connection)
{
	const char *mountpoint = daemon->server.config->mountpoint;
	g_autofree char *config_file = reload_absolute(daemon->server.config->file);
	struct mount_watch *watch;
	struct metrics *metrics;
	bool clean;

	crash_point_serving();
	/* Before READY=1, so that dmemfsctl wait-clean finds the zeroing threads at work. */
	if (daemon->server.config->zero_in_advance)
		zeroer_start(daemon->server.storage.zeroer, daemon->server.config->zero_rate);
	state_lock_ready(daemon->lock, mount_device(daemon->mount), config_file);
	say_ready(daemon);
	daemon->sources[5] = watchdog_start(is_alive, daemon);
	daemonize_ready();
	metrics = metrics_start(&daemon->server, daemon->mount);
	watch = mount_watch_start(mountpoint, mount_device(daemon->mount), mount_fd(daemon->mount));
	g_main_loop_run(daemon->loop);
	mount_watch_stop(watch);

	/* If the file system was unmounted in the meantime, there is no mount to leave. */
	daemon->keep = daemon->keep && takeover_is_alive(mount_fd(daemon->mount));
	if (daemon->keep && daemon->reload) {
		reload_block_signals();
		*connection = fcntl(mount_fd(daemon->mount), F_DUPFD_CLOEXEC, FD_STORE_FIRST_FD);
	}
	metrics_stop(metrics, !daemon->keep);
	lender_leave(daemon->lender);
	clean = mount_finish(daemon->mount, daemon->keep);
	if (daemon->keep) {
		log_info("left the mount at %s to the next daemon", mountpoint);
	} else {
		daemon->unmounted = true;
		fd_store_remove();
		log_info("unmounted from %s", mountpoint);
	}
	return clean;
}

bool daemon_run(const struct config *config, int *connection, GError **error)
{
	struct daemon daemon = { .lock = -1, .loop = g_main_loop_new(NULL, FALSE), .takeover.fd = -1 };
	int inherited = *connection;
	bool done;

	*connection = -1;
	raise_limits();
	done = start(&daemon, config, inherited, error) && serve(&daemon, connection);
	takeover_clear(&daemon.takeover);
	remove_sources(&daemon);
	close_storage(&daemon);
	g_free(daemon.server.earlier);
	g_main_loop_unref(daemon.loop);
	return done;
}
