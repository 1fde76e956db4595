// SPDX-License-Identifier: GPL-2.0-or-later
/* Metrics for Prometheus, as a text file. */
#include "daemon/metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "connection/request_count.h"
#include "file/pins.h"
#include "file/zeroer.h"
#include "pool/pool_lent.h"
#include "requests/sizing.h"

struct metrics {
	struct server *server;
	struct mount *mount;
	GThread *thread;
	double started; /* s since the epoch */
	char *labels;   /* the labels of every sample: mountpoint="..." */
	bool failed;    /* the last write failed, and the log says so */
	GMutex lock;    /* guards @stop */
	GCond changed;
	bool stop;
};

static double now(void)
{
	return (double)g_get_real_time() / G_USEC_PER_SEC;
}

/* @text as the value of a label, quoted and escaped (Prometheus, "Exposition formats"). */
static char *quote(const char *text)
{
	GString *quoted = g_string_new("\"");

	for (; *text; text++) {
		if (*text == '\n') {
			g_string_append(quoted, "\\n");
			continue;
		}
		if (*text == '\\' || *text == '"')
			g_string_append_c(quoted, '\\');
		g_string_append_c(quoted, *text);
	}
	g_string_append_c(quoted, '"');
	return g_string_free(quoted, FALSE);
}

/* Begins a metric; add() adds its samples. */
static void describe(GString *text, const char *name, const char *type, const char *help)
{
	g_string_append_printf(text, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* @more: labels of this sample only, each with a comma in front; "": none. */
static void add(GString *text, const struct metrics *metrics, const char *name, const char *more, double value)
{
	char number[G_ASCII_DTOSTR_BUF_SIZE];

	g_string_append_printf(text, "%s{%s%s} %s\n", name, metrics->labels, more,
	                       g_ascii_dtostr(number, sizeof(number), value));
}

/* A whole metric, which has one sample. */
static void add_one(GString *text, const struct metrics *metrics, const char *name, const char *type, const char *help,
                    double value)
{
	describe(text, name, type, help);
	add(text, metrics, name, "", value);
}

static void add_daemon(GString *text, const struct metrics *metrics)
{
	g_autofree char *more =
		g_strdup_printf(",version=\"" DMEMFS_VERSION "\",backend=\"%s\"", metrics->server->storage.ops->name);

	describe(text, "dmemfs_build_info", "gauge", "Always 1: the daemon that runs.");
	add(text, metrics, "dmemfs_build_info", more, 1);
	add_one(text, metrics, "dmemfs_start_time_seconds", "gauge",
	        "When this daemon began to serve, since the epoch.", metrics->started);
	add_one(text, metrics, "dmemfs_written_time_seconds", "gauge", "When this file was written, since the epoch.",
	        now());
}

static void add_memory(GString *text, const struct metrics *metrics)
{
	struct pool_usage usage;

	pool_get_usage(metrics->server->storage.pool, &usage);
	add_one(text, metrics, "dmemfs_capacity_bytes", "gauge", "Memory for files.", (double)usage.capacity);
	add_one(text, metrics, "dmemfs_free_bytes", "gauge", "Memory that no file has, without what is lent.",
	        (double)usage.free);
	add_one(text, metrics, "dmemfs_allocated_bytes", "gauge", "Memory of files.", (double)usage.allocated);
	add_one(text, metrics, "dmemfs_removed_bytes", "gauge",
	        "The part of dmemfs_allocated_bytes in removed files that a process still has open or maps.",
	        (double)namespace_removed_bytes(metrics->server->ns));
	add_one(text, metrics, "dmemfs_pending_bytes", "gauge",
	        "Memory that a process still maps by an earlier mount, although its file was removed.",
	        (double)usage.pending);
	add_one(text, metrics, "dmemfs_pinned_bytes", "gauge",
	        "Memory that no file has any more, but that a device still holds.",
	        (double)(usage.pinned + usage.pinned_former));
	add_one(text, metrics, "dmemfs_pinned_former_bytes", "gauge",
	        "The part of dmemfs_pinned_bytes in regions of an earlier configuration, which are not in the capacity.",
	        (double)usage.pinned_former);
	add_one(text, metrics, "dmemfs_pinned_oldest_seconds", "gauge",
	        "How long the oldest pinned memory has been held; 0: there is none.",
	        (double)pins_oldest(&metrics->server->storage));
	describe(text, "dmemfs_poisoned_bytes", "gauge", "Memory that went bad: out of use, or still some file's.");
	add(text, metrics, "dmemfs_poisoned_bytes", ",state=\"retired\"", (double)usage.poisoned);
	add(text, metrics, "dmemfs_poisoned_bytes", ",state=\"used\"", (double)usage.poisoned_used);
	add_one(text, metrics, "dmemfs_promised_bytes", "gauge",
	        "Memory that files with demand allocation may still touch.", (double)usage.promised);
	describe(text, "dmemfs_free_state_bytes", "gauge",
	         "Free memory: zero, with a former owner's bytes, or being zeroed.");
	add(text, metrics, "dmemfs_free_state_bytes", ",state=\"clean\"", (double)usage.clean);
	add(text, metrics, "dmemfs_free_state_bytes", ",state=\"dirty\"", (double)usage.dirty);
	add(text, metrics, "dmemfs_free_state_bytes", ",state=\"zeroing\"", (double)usage.zeroing);
	add_one(text, metrics, "dmemfs_refused_sizings_total", "counter",
	        "File sizes that were refused for want of memory or quota.", (double)sizing_refused());
	describe(text, "dmemfs_free_page_bytes", "gauge", "Free memory that lies in whole pages of a size.");
	add(text, metrics, "dmemfs_free_page_bytes", ",page_size=\"2M\"", (double)usage.free_2m);
	add(text, metrics, "dmemfs_free_page_bytes", ",page_size=\"1G\"", (double)usage.free_1g);
}

static void add_lending(GString *text, const struct metrics *metrics)
{
	struct pool_usage usage;
	struct pool_lending lending;

	pool_get_usage(metrics->server->storage.pool, &usage);
	pool_get_lending(metrics->server->storage.pool, &lending);
	add_one(text, metrics, "dmemfs_lent_bytes", "gauge",
	        "Memory that no file has, and that the host uses until one needs it.", (double)usage.lent);
	add_one(text, metrics, "dmemfs_lent_taking_bytes", "gauge",
	        "The part of dmemfs_lent_bytes that is being taken back.", (double)lending.taking);
	add_one(text, metrics, "dmemfs_lent_refused_bytes", "gauge",
	        "The part of dmemfs_lent_bytes that could not be taken back when that was tried last.",
	        (double)lending.refused);
	add_one(text, metrics, "dmemfs_lent_last_take_seconds", "gauge",
	        "How long the unit of lent memory took that was taken back last; 0: there was none.",
	        (double)lending.last_take / G_USEC_PER_SEC);
	add_one(text, metrics, "dmemfs_lent_takes_total", "counter", "Units of lent memory that were taken back.",
	        (double)lending.taken);
	describe(
		text, "dmemfs_lent_take_failures_total", "counter",
		"Attempts to take a unit of lent memory back that failed: a process has pinned it, the host needs the memory, "
		"it took too long, or another reason.");
	for (unsigned i = 0; i < POOL_TAKE_ERRORS; i++) {
		g_autofree char *more = g_strdup_printf(",reason=\"%s\"", pool_take_reasons[i]);

		add(text, metrics, "dmemfs_lent_take_failures_total", more, (double)lending.failed[i]);
	}
}

static void add_zeroing(GString *text, const struct metrics *metrics)
{
	struct zeroer_stats stats;

	zeroer_get_stats(metrics->server->storage.zeroer, &stats);
	add_one(text, metrics, "dmemfs_zeroed_bytes_total", "counter",
	        "Memory that was zeroed, in advance or when a file needed it.", (double)stats.zeroed);
}

static void add_inodes(GString *text, const struct metrics *metrics)
{
	struct namespace_counts counts;

	namespace_get_counts(metrics->server->ns, &counts);
	describe(text, "dmemfs_inodes", "gauge", "Inodes by type, including removed ones that are still in use.");
	add(text, metrics, "dmemfs_inodes", ",type=\"file\"", (double)counts.files);
	add(text, metrics, "dmemfs_inodes", ",type=\"directory\"", (double)counts.directories);
	add(text, metrics, "dmemfs_inodes", ",type=\"other\"",
	    (double)(counts.inodes - counts.files - counts.directories));
}

static void add_node(GString *text, const struct metrics *metrics, const char *name, gpointer node, uint64_t bytes)
{
	g_autofree char *more = g_strdup_printf(",node=\"%d\"", GPOINTER_TO_INT(node));

	add(text, metrics, name, more, (double)bytes);
}

/* Sums the regions of each node. Regions are few, so O(regions^2) is fine. */
static void add_nodes(GString *text, const struct metrics *metrics)
{
	static const char *const names[] = { "dmemfs_node_capacity_bytes", "dmemfs_node_free_bytes",
		                             "dmemfs_node_lent_bytes" };
	static const char *const help[] = { "Memory for files on a NUMA node; node -1: the node is not known.",
		                            "Memory of a NUMA node that no file has, without what is lent.",
		                            "Memory of a NUMA node that is lent to the host." };
	g_autoptr(GArray) regions = pool_get_regions(metrics->server->storage.pool);

	for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
		g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

		describe(text, names[i], "gauge", help[i]);
		for (guint r = 0; r < regions->len; r++) {
			gpointer node = GINT_TO_POINTER(g_array_index(regions, struct pool_region, r).node);
			uint64_t bytes = 0;

			if (!g_hash_table_add(seen, node))
				continue;
			for (guint s = r; s < regions->len; s++) {
				const struct pool_region *region = &g_array_index(regions, struct pool_region, s);

				if (GINT_TO_POINTER(region->node) == node)
					bytes += i == 0 ? region->extent.length : i == 1 ? region->free : region->lent;
			}
			add_node(text, metrics, names[i], node, bytes);
		}
	}
}

static bool find(struct namespace *ns, const char *path, uint64_t *ino)
{
	g_auto(GStrv) names = g_strsplit(path, "/", -1);

	*ino = STORE_ROOT_INO;
	for (char **name = names; *name; name++) {
		struct stat attr;

		if (!**name)
			continue;
		if (namespace_lookup(ns, *ino, *name, &attr) != 0)
			return false;
		namespace_forget(ns, attr.st_ino, 1);
		*ino = attr.st_ino;
	}
	return true;
}

/*
 * Only the quotas of the configuration, because users may set thousands by hand. @limit: adds the limits, else the
 * usage.
 */
static void add_quota(GString *text, const struct metrics *metrics, const char *name, enum quota_resource resource,
                      bool limit)
{
	const struct config *config = metrics->server->config;

	for (guint i = 0; i < config->quotas->len; i++) {
		const struct quota_config *quota = g_ptr_array_index(config->quotas, i);
		g_autofree char *path = quote(quota->path);
		g_autofree char *more = g_strdup_printf(",quota=\"%s\",path=%s", quota->name, path);
		struct quota_usage usage;
		uint64_t ino;

		if (!find(metrics->server->ns, quota->path, &ino) ||
		    namespace_get_quota(metrics->server->ns, ino, &usage) != 0)
			continue;
		if (!limit)
			add(text, metrics, name, more, (double)usage.used.of[resource]);
		else if (usage.max.of[resource] != QUOTA_UNLIMITED)
			add(text, metrics, name, more, (double)usage.max.of[resource]);
	}
}

static void add_quotas(GString *text, const struct metrics *metrics)
{
	describe(text, "dmemfs_quota_limit_bytes", "gauge", "Limit of memory of a [quota] of the configuration.");
	add_quota(text, metrics, "dmemfs_quota_limit_bytes", QUOTA_BYTES, true);
	describe(text, "dmemfs_quota_used_bytes", "gauge", "Memory of the files below its directory.");
	add_quota(text, metrics, "dmemfs_quota_used_bytes", QUOTA_BYTES, false);
	describe(text, "dmemfs_quota_limit_inodes", "gauge", "Limit of inodes of a [quota] of the configuration.");
	add_quota(text, metrics, "dmemfs_quota_limit_inodes", QUOTA_FILES, true);
	describe(text, "dmemfs_quota_used_inodes", "gauge", "Inodes below its directory.");
	add_quota(text, metrics, "dmemfs_quota_used_inodes", QUOTA_FILES, false);
}

static void add_operation(GString *text, const struct metrics *metrics, const char *name, bool time)
{
	for (uint32_t opcode = 0; opcode < REQUEST_COUNT_OPCODES; opcode++) {
		const struct request_count count = request_count_get(opcode);
		const char *operation = request_count_name(opcode);
		g_autofree char *more = g_strdup_printf(",operation=\"%s\"", operation ?: "");

		if (operation)
			add(text, metrics, name, more,
			    time ? (double)count.us / G_USEC_PER_SEC : (double)count.requests);
	}
}

static void add_requests(GString *text, const struct metrics *metrics)
{
	int64_t oldest;
	unsigned at_work = mount_load(metrics->mount, &oldest);

	describe(text, "dmemfs_requests_total", "counter", "Requests that this daemon has answered.");
	add_operation(text, metrics, "dmemfs_requests_total", false);
	describe(text, "dmemfs_request_seconds_total", "counter",
	         "Time that threads of this daemon worked on requests.");
	add_operation(text, metrics, "dmemfs_request_seconds_total", true);
	add_one(text, metrics, "dmemfs_request_threads", "gauge", "Threads that serve requests.",
	        metrics->server->config->threads);
	add_one(text, metrics, "dmemfs_requests_in_progress", "gauge", "Requests that threads work on now.", at_work);
	add_one(text, metrics, "dmemfs_oldest_request_seconds", "gauge",
	        "How long the oldest request in progress has been worked on; 0: there is none.",
	        (double)oldest / G_USEC_PER_SEC);
}

static int write_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, text, length);

		if (written < 0 && errno != EINTR)
			return -errno;
		if (written > 0) {
			text += written;
			length -= (size_t)written;
		}
	}
	return 0;
}

/*
 * Replaces the file; its mode lets all users read it. The directory may belong to another user, such as Prometheus.
 * So the temporary file has a random name and is newly made: that user cannot make the daemon write to another file
 * or wait on a FIFO.
 */
static int replace(const struct metrics *metrics, const GString *text)
{
	const char *path = metrics->server->config->metrics_file;
	g_autofree char *temporary = g_strconcat(path, ".XXXXXX", NULL);
	int fd = g_mkstemp_full(temporary, O_WRONLY | O_CLOEXEC, 0600);
	int err = fd < 0 ? -errno : write_all(fd, text->str, text->len);

	if (!err && fchmod(fd, 0644) < 0)
		err = -errno;
	if (fd >= 0 && close(fd) < 0 && !err)
		err = -errno;
	if (!err && rename(temporary, path) < 0)
		err = -errno;
	if (err && fd >= 0)
		unlink(temporary);
	return err;
}

static void write_file(struct metrics *metrics)
{
	g_autoptr(GString) text = g_string_new(NULL);
	int err;

	add_daemon(text, metrics);
	add_memory(text, metrics);
	add_lending(text, metrics);
	add_zeroing(text, metrics);
	add_inodes(text, metrics);
	add_nodes(text, metrics);
	add_quotas(text, metrics);
	add_requests(text, metrics);
	err = replace(metrics, text);
	if (err && !metrics->failed)
		log_warning("%s: cannot write metrics: %s: trying again at each interval",
		            metrics->server->config->metrics_file, g_strerror(-err));
	metrics->failed = err != 0;
}

static gpointer run(gpointer data)
{
	struct metrics *metrics = data;
	const int64_t interval = metrics->server->config->metrics_interval * G_USEC_PER_SEC;

	g_mutex_lock(&metrics->lock);
	while (!metrics->stop) {
		int64_t next = g_get_monotonic_time() + interval;

		g_mutex_unlock(&metrics->lock);
		write_file(metrics);
		g_mutex_lock(&metrics->lock);
		while (!metrics->stop && g_cond_wait_until(&metrics->changed, &metrics->lock, next))
			;
	}
	g_mutex_unlock(&metrics->lock);
	return NULL;
}

struct metrics *metrics_start(struct server *server, struct mount *mount)
{
	const struct config *config = server->config;
	struct metrics *metrics;

	if (!config->metrics_file)
		return NULL;

	g_autofree char *mountpoint = quote(config->mountpoint);

	metrics = g_new0(struct metrics, 1);
	metrics->server = server;
	metrics->mount = mount;
	metrics->started = now();
	metrics->labels = g_strconcat("mountpoint=", mountpoint, NULL);
	g_mutex_init(&metrics->lock);
	g_cond_init(&metrics->changed);
	metrics->thread = g_thread_new("metrics", run, metrics);
	return metrics;
}

void metrics_stop(struct metrics *metrics, bool remove)
{
	if (!metrics)
		return;
	g_mutex_lock(&metrics->lock);
	metrics->stop = true;
	g_cond_signal(&metrics->changed);
	g_mutex_unlock(&metrics->lock);
	g_thread_join(metrics->thread);
	if (remove)
		unlink(metrics->server->config->metrics_file);
	g_mutex_clear(&metrics->lock);
	g_cond_clear(&metrics->changed);
	g_free(metrics->labels);
	g_free(metrics);
}
