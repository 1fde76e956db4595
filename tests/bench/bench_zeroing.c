// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How much of a node's memory bandwidth zeroing reaches: the daemon's own zeroer, with pool, record and priority, on ordinary
 * memory of that node, against a loop of memset() over the same memory by a thread of the same priority on the same CPUs.
 *
 * tmpfs has nothing to zero, so neither the memory backend can show this nor would reserved memory without the module. Each
 * round zeroes all of it in both ways; the machine is shared, so each round is a ratio of its own. Where it
 * has no CPU to spare for idle threads, the ratio of the CPU time says more than that of the time.
 */
#include <inttypes.h>
#include <numa.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include <glib/gstdio.h>

#include "base/page_order.h"
#include "file/zeroer.h"
#include "pool/numa_host.h"
#include "pool/pool_clean.h"

#define BYTES  (UINT64_C(512) << 20)
#define START  (UINT64_C(4) << 30)
#define ROUNDS 31
#define STEP   (2 << 20) /* as the module does it */

struct backend {
	char *memory;
};

struct bench {
	struct storage storage;
	struct backend backend;
	int node;
	char *state_dir;
};

static void clear(char *memory, uint64_t length)
{
	for (uint64_t at = 0; at < length; at += STEP)
		memset(memory + at, 0, MIN(length - at, STEP));
}

static int clean(struct backend *backend, struct extent extent)
{
	clear(backend->memory + (extent.start - START), extent.length);
	return 0;
}

static const struct backend_ops ops = { .name = "bench", .clean = clean };

struct cost {
	double seconds;
	double cpu; /* seconds, of all threads but the first */
};

static double clock_seconds(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* On the first thread, which does none of the work. */
static struct cost now(void)
{
	return (struct cost){
		.seconds = clock_seconds(CLOCK_MONOTONIC),
		.cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - clock_seconds(CLOCK_THREAD_CPUTIME_ID),
	};
}

static struct cost since(struct cost start)
{
	struct cost end = now();

	return (struct cost){ end.seconds - start.seconds, end.cpu - start.cpu };
}

static gpointer clear_all(gpointer data)
{
	const struct bench *bench = data;
	const struct sched_param none = { 0 };

	sched_setscheduler(0, SCHED_IDLE, &none);
	numa_host_bind_thread(bench->node);
	clear(bench->backend.memory, BYTES);
	return NULL;
}

static struct cost time_memset(struct bench *bench)
{
	struct cost start = now();

	g_thread_join(g_thread_new("memset", clear_all, bench));
	return since(start);
}

/* All of it, as for one file. */
static void take_all(struct bench *bench, GArray *runs)
{
	const struct allocator_request request = {
		.length = BYTES, .unit = DMEMFS_PAGE_2M, .hint = ALLOCATOR_NO_HINT, .regions = ALLOCATOR_ANY_REGION
	};

	if (pool_alloc(bench->storage.pool, NULL, &request, runs) < 0)
		g_error("no memory");
}

static struct cost time_in_advance(struct bench *bench)
{
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	struct pool_usage usage;
	struct cost start;

	take_all(bench, runs);
	start = now();
	pool_free(bench->storage.pool, (const struct extent *)runs->data, runs->len);
	do {
		g_usleep(500);
		pool_get_usage(bench->storage.pool, &usage);
	} while (usage.clean < BYTES);
	return since(start);
}

/* By a request, with those that help it. */
static double time_in_need(struct bench *bench)
{
	g_autoptr(GArray) runs = g_array_new(FALSE, FALSE, sizeof(struct extent));
	struct cost start;
	double seconds;

	take_all(bench, runs);
	start = now();
	zeroer_clean(bench->storage.zeroer, (const struct extent *)runs->data, runs->len);
	seconds = since(start).seconds;
	pool_free(bench->storage.pool, (const struct extent *)runs->data, runs->len);
	return seconds;
}

static bool set_up(struct bench *bench)
{
	const struct memory_region region = { START, BYTES, bench->node, PAGE_ORDER_NONE };
	g_autoptr(GArray) regions = g_array_new(FALSE, FALSE, sizeof(region));

	bench->backend.memory = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (bench->backend.memory == MAP_FAILED)
		return false;
	madvise(bench->backend.memory, BYTES, MADV_HUGEPAGE);
	if (bench->node >= 0)
		numa_tonode_memory(bench->backend.memory, BYTES, bench->node);
	memset(bench->backend.memory, 1, BYTES);
	bench->state_dir = g_dir_make_tmp("dmemfs-bench-XXXXXX", NULL);
	g_array_append_val(regions, region);
	bench->storage = (struct storage){
		.ops = &ops,
		.backend = &bench->backend,
		.pool = pool_new(regions, 1, NULL),
		.store = store_open(bench->state_dir, 0, 0, NULL),
	};
	pool_need_zeroing(bench->storage.pool);
	bench->storage.zeroer = zeroer_new(&bench->storage);
	return bench->storage.store != NULL;
}

static void tear_down(struct bench *bench)
{
	g_autofree char *database = g_build_filename(bench->state_dir, STORE_FILE, NULL);

	zeroer_destroy(bench->storage.zeroer);
	store_close(bench->storage.store);
	pool_destroy(bench->storage.pool);
	munmap(bench->backend.memory, BYTES);
	g_unlink(database);
	g_rmdir(bench->state_dir);
	g_free(bench->state_dir);
}

static void print(const char *name, const double values[ROUNDS], bool last)
{
	printf(" \"%s\": [", name);
	for (int i = 0; i < ROUNDS; i++)
		printf("%s%.4f", i ? ", " : "", values[i]);
	printf("]%s", last ? " }" : ",");
}

/* Prints an object of JSON; @first: there is none before it. */
static void measure(int node, bool *first)
{
	struct bench bench = { .node = node };
	double rates[ROUNDS], advance[ROUNDS], cpu[ROUNDS], need[ROUNDS];

	if (!set_up(&bench))
		g_error("no memory, or no room for the record");
	for (int i = 0; i < ROUNDS; i++) {
		double alone = time_memset(&bench).seconds;

		need[i] = alone / time_in_need(&bench);
	}
	zeroer_start(bench.storage.zeroer, 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct cost alone = time_memset(&bench), zeroer = time_in_advance(&bench);

		rates[i] = (double)BYTES / alone.seconds / 1e9;
		advance[i] = alone.seconds / zeroer.seconds;
		cpu[i] = alone.cpu / zeroer.cpu;
	}
	zeroer_stop(bench.storage.zeroer);
	printf("%s\"%d\": {", *first ? "" : ",\n ", MAX(node, 0));
	*first = false;
	print("memset_gbs", rates, false);
	print("advance", advance, false);
	print("advance_cpu", cpu, false);
	print("need", need, true);
	tear_down(&bench);
}

int main(void)
{
	bool first = true;

	putchar('{');
	for (int node = 0; numa_available() >= 0 && node <= numa_max_node(); node++) {
		struct bitmask *cpus = numa_allocate_cpumask();
		bool usable = numa_node_to_cpus(node, cpus) == 0 && numa_bitmask_weight(cpus) > 0 &&
		              numa_node_size64(node, NULL) > (long long)BYTES;

		numa_free_cpumask(cpus);
		if (usable)
			measure(node, &first);
	}
	if (first)
		measure(-1, &first);
	puts("}");
	return 0;
}
