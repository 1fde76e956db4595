// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How the allocator's time and memory grow with the number of live extents, in an imaginary region of 16 TiB.
 *
 * For each allocation unit: takes extents of random sizes until so many live, replaces them several times over so that
 * free memory is as scattered as it gets, then times the same going on: extents given back at random, others taken. A
 * pair is two calls, one of each on average. Figures are medians of several measurements, in CPU time; JSON.
 */
#include <glib.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/extent_map.h"
#include "unit/pool/allocator_check.h"

#define REGION_START (UINT64_C(4) << 30)
#define REGION_BYTES (UINT64_C(16) << 40)
#define FEW          1000u
#define MANY         1000000u
#define CHURN        6u /* calls per live extent before the clock starts */
#define PAIRS        200000u
#define REPEATS      7u
#define SEED         1u

struct workload {
	const char *name;
	uint64_t unit;
	uint64_t smallest; /* bytes; lengths are spread evenly on a logarithmic scale */
	uint64_t largest;
};

static const struct workload workloads[] = {
	{ "2M", DMEMFS_PAGE_2M, UINT64_C(2) << 20, UINT64_C(44) << 20 },
	{ "4K", DMEMFS_PAGE_4K, UINT64_C(4) << 10, UINT64_C(44) << 20 },
};

struct result {
	const char *name;
	guint live;
	double pair_ns;
	double bytes_per_extent; /* the allocator's and the extent map's */
	double used;             /* part of the region, 0 to 1 */
};

static uint64_t random_length(const struct workload *work, GRand *rand)
{
	double low = log2((double)work->smallest);
	double high = log2((double)work->largest);
	uint64_t length = (uint64_t)exp2(g_rand_double_range(rand, low, high));

	return MAX(length - length % work->unit, work->unit);
}

static void take(struct allocator *alloc, const struct workload *work, uint64_t length, GArray *live)
{
	struct allocator_request req = {
		.length = length,
		.unit = work->unit,
		.hint = ALLOCATOR_NO_HINT,
		.regions = ALLOCATOR_ANY_REGION,
	};

	if (allocator_alloc(alloc, &req, live) < 0)
		g_error("unit %s: no memory with %u extents live", work->name, live->len);
}

/*
 * Gives back random extents until fewer than @count live, then takes one of another length: what was given back would
 * fit where it had been, and free memory would not scatter. Returns the number of calls.
 */
static guint churn(struct allocator *alloc, const struct workload *work, GRand *rand, GArray *live, guint count)
{
	guint calls = 1;

	for (; live->len >= count; calls++) {
		guint victim = (guint)g_rand_int_range(rand, 0, (gint32)live->len);
		const struct extent *extent = &g_array_index(live, struct extent, victim);

		if (allocator_free(alloc, extent->start, extent->length) < 0)
			g_error("unit %s: an extent was lost", work->name);
		g_array_remove_index_fast(live, victim);
	}
	take(alloc, work, random_length(work, rand), live);
	return calls;
}

/* Of this process, so that others on the machine do not count: the allocator never waits. */
static uint64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_pair_ns(struct allocator *alloc, const struct workload *work, GRand *rand, GArray *live,
                             guint count, guint pairs)
{
	double times[REPEATS];

	for (guint repeat = 0; repeat < REPEATS; repeat++) {
		uint64_t begin = cpu_ns();
		guint calls = 0;

		while (calls < 2 * pairs)
			calls += churn(alloc, work, rand, live, count);
		times[repeat] = 2 * (double)(cpu_ns() - begin) / calls;
	}
	qsort(times, REPEATS, sizeof(*times), compare_doubles);
	return times[REPEATS / 2];
}

static struct result measure(const struct workload *work, guint count, guint pairs)
{
	struct allocator *alloc = allocator_new();
	g_autoptr(GArray) live = g_array_new(FALSE, FALSE, sizeof(struct extent));
	g_autoptr(GRand) rand = g_rand_new_with_seed(SEED);
	struct allocator_stats stats;
	struct result result = { .name = work->name };

	allocator_add_region(alloc, REGION_START, REGION_BYTES);
	while (live->len < count)
		take(alloc, work, random_length(work, rand), live);
	for (guint calls = 0; calls < CHURN * count;)
		calls += churn(alloc, work, rand, live, count);

	result.pair_ns = median_pair_ns(alloc, work, rand, live, count, pairs);
	allocator_get_stats(alloc, &stats);
	result.live = live->len;
	result.bytes_per_extent = (double)allocator_memory(alloc) / live->len + sizeof(struct extent_map_run);
	result.used = (double)(stats.capacity - stats.free) / (double)stats.capacity;
	allocator_destroy(alloc);
	return result;
}

static void print(const char *name, const struct result *result, const char *after)
{
	printf("  \"%s\": { \"live_extents\": %u, \"pair_ns\": %.1f, \"bytes_per_extent\": %.1f, "
	       "\"region_used\": %.3f }%s\n",
	       name, result->live, result->pair_ns, result->bytes_per_extent, result->used, after);
}

int main(int argc, char **argv)
{
	bool quick = argc == 2 && strcmp(argv[1], "--quick") == 0;
	guint pairs = quick ? PAIRS / 5 : PAIRS;

	if (argc > 1 && !quick) {
		fprintf(stderr, "usage: %s [--quick]\n", argv[0]);
		return 2;
	}
	puts("{");
	for (guint i = 0; i < G_N_ELEMENTS(workloads); i++) {
		struct result few = measure(&workloads[i], FEW, pairs);
		struct result many = measure(&workloads[i], quick ? MANY / 10 : MANY, pairs);

		printf("\"%s\": {\n", few.name);
		print("few", &few, ",");
		print("many", &many, i + 1 < G_N_ELEMENTS(workloads) ? " }," : " }");
	}
	puts("}");
	return 0;
}
