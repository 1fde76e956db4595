// SPDX-License-Identifier: GPL-2.0-or-later
/* Lent memory. The module makes its memory blocks; the daemon brings them online, and looks first whether the host can spare a unit. */
#include "backend/pfn_lending.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "backend/backend.h"
#include "backend/pfn_device.h"
#include "base/crash_point.h"
#include "base/log.h"
#include "base/request_buffer.h"
#include "base/system_file.h"

#define BLOCKS "/sys/devices/system/memory"
/* The states of a memory block: only from the zone of movable memory can the kernel move everything away again. */
#define STATE_ONLINE  "online"
#define STATE_MOVABLE "online_movable"
/* How long a memory block may need to come online. The kernel itself waits without a limit while others change memory blocks. */
#define ONLINE_TIME (5 * G_TIME_SPAN_SECOND)
/* Bytes that the host keeps when a unit is taken back: else it would have to swap, or to kill a process, soon after. */
#define HOST_MARGIN (UINT64_C(128) << 20)

uint64_t pfn_lend_unit(int device)
{
	struct dmemfs_hello hello;

	return pfn_hello(device, &hello, NULL) && hello.features & DMEMFS_FEATURE_LEND ? hello.lend_unit : 0;
}

/* The first unit at or above @address that is lent. */
static bool next_lent(int device, uint64_t address, struct dmemfs_lend *unit)
{
	*unit = (struct dmemfs_lend){ .start = address };
	return pfn_call(device, DMEMFS_IOC_LENT_NEXT, unit) == 0;
}

/* Is @unit lent? *@found: the unit, with its state, if it is. */
static bool find_lent(int device, struct extent unit, struct dmemfs_lend *found)
{
	return next_lent(device, unit.start, found) && found->start == unit.start;
}

/* The size of memory blocks in bytes; 0: not known. */
static uint64_t block_bytes(void)
{
	g_autofree char *text = system_file_read(BLOCKS "/block_size_bytes");

	return text ? g_ascii_strtoull(text, NULL, 16) : 0;
}

static int write_state(const char *file, const char *state)
{
	g_autofree char *path = system_file_path(file);
	backend_fd fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, state, strlen(state)) < 0 ? -errno : 0;
}

struct state_write {
	char *file;
	const char *state;
	GAsyncQueue *result;
};

static gpointer run_write(gpointer data)
{
	struct state_write *job = data;
	int err;

	/*
	 * The kernel may never end this thread, nor then the process: what the thread has open stays open. The lock of the state directory
	 * shall not, because the next daemon waits for it.
	 */
	close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_UNSHARE);
	err = write_state(job->file, job->state);
	/* A queue has no null pointers. */
	g_async_queue_push(job->result, GINT_TO_POINTER(1 - err));
	g_async_queue_unref(job->result);
	g_free(job->file);
	g_free(job);
	return NULL;
}

/* As write_state(), in a thread of its own. -ETIME: it goes on, at the longest until the daemon ends. */
static int write_state_in_time(const char *file, const char *state)
{
	g_autoptr(GAsyncQueue) queue = g_async_queue_new();
	struct state_write *job = g_new0(struct state_write, 1);
	gpointer result;

	job->file = g_strdup(file);
	job->state = state;
	job->result = g_async_queue_ref(queue);
	g_thread_unref(g_thread_new("online", run_write, job));
	result = g_async_queue_timeout_pop(queue, ONLINE_TIME);
	return result ? 1 - GPOINTER_TO_INT(result) : -ETIME;
}

static bool is_online(const char *file)
{
	g_autofree char *state = system_file_read(file);

	return g_strcmp0(state, STATE_ONLINE) == 0;
}

static int set_online(uint64_t block)
{
	g_autofree char *file = g_strdup_printf(BLOCKS "/memory%" G_GUINT64_FORMAT "/state", block);
	static struct log_limit limit = LOG_LIMIT_INIT;
	int err = is_online(file) ? 0 : write_state_in_time(file, STATE_MOVABLE);

	/* Another process may have brought it online, into the same zone: the module allows no other. */
	if (err && is_online(file))
		return 0;
	if (err)
		log_limited(&limit, LOG_LEVEL_WARNING, "%s: cannot bring lent memory online: %s", file,
		            err == -ETIME ? "the kernel waits for another change of memory blocks" : g_strerror(-err));
	return err;
}

static int set_all_online(struct extent unit)
{
	uint64_t size = block_bytes();
	int err = size ? 0 : -ENOENT;

	for (uint64_t at = unit.start; at < unit.start + unit.length && !err; at += size)
		err = set_online(at / size);
	return err;
}

int pfn_lend(int device, struct extent unit)
{
	struct dmemfs_lend request = { .start = unit.start, .length = unit.length };
	struct dmemfs_lend found;
	int err = pfn_call(device, DMEMFS_IOC_REGION_LEND, &request), back;

	CRASH_POINT("lent");
	if (err && err != -EEXIST && !find_lent(device, unit, &found))
		return err;
	/* An earlier daemon died meanwhile. How it ends only another take tells. */
	if (err == -EEXIST && find_lent(device, unit, &found) && found.state == DMEMFS_LEND_TAKING)
		return -EINPROGRESS;
	err = set_all_online(unit);
	if (!err)
		return 0;
	/* Memory that nobody uses is of no good to the host. A take of an earlier daemon may have come first. */
	back = pfn_take_lent(device, unit, 1000);
	return back && back != -ENOENT ? -EINPROGRESS : err;
}

/* Has the host other memory for what a unit contains? The unit's own free memory counts as available, too. */
static bool host_can_spare(uint64_t bytes)
{
	return system_meminfo("MemAvailable") >= bytes + HOST_MARGIN;
}

int pfn_take_lent(int device, struct extent unit, unsigned timeout_ms)
{
	struct dmemfs_lend request = { .start = unit.start, .length = unit.length, .timeout = timeout_ms };
	struct dmemfs_lend found;
	int err;

	if (find_lent(device, unit, &found) && found.state == DMEMFS_LEND_ONLINE && !host_can_spare(unit.length))
		return -ENOMEM;
	/* The daemon is a process of the host as any other, and has pinned some of its own memory. */
	request_buffers_let_move();
	err = pfn_call(device, DMEMFS_IOC_REGION_TAKE, &request);
	request_buffers_keep();
	return err;
}

void pfn_list_lent(int device, struct extent range, GArray *units)
{
	uint64_t at = range.start;
	struct dmemfs_lend found;

	while (next_lent(device, at, &found) && found.start < range.start + range.length) {
		const struct extent unit = { found.start, found.length };

		g_array_append_val(units, unit);
		at = unit.start + unit.length;
	}
}

int pfn_take_all(int device, struct extent range, unsigned timeout_ms, const gint *stop, GArray *kept)
{
	g_autoptr(GArray) units = extents_new();
	int result = 0;

	pfn_list_lent(device, range, units);
	for (guint i = 0; i < units->len && (kept || !result); i++) {
		const struct extent unit = g_array_index(units, struct extent, i);
		int err = stop && g_atomic_int_get(stop) ? -EINTR : pfn_take_lent(device, unit, timeout_ms);

		if (err == 0 || err == -ENOENT)
			continue;
		if (kept)
			g_array_append_val(kept, unit);
		result = err;
	}
	return result;
}

const char *lending_reason(int err)
{
	switch (err) {
	case -EBUSY:
		return "a process has pinned some of it, with a pipe, io_uring or a device for example: end that process";
	case -ENOMEM:
		return "the host has not enough free memory for what is in it: end processes, or wait";
	case -ETIME:
		return "the kernel has not moved its contents away in time: try again, or set a longer take-timeout";
	case -EINPROGRESS:
		return "the host cannot use all of it, because other memory blocks are changing: it will be taken back";
	default:
		return g_strerror(-err);
	}
}
