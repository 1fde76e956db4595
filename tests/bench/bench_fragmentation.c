// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How much of the free memory is still usable for 1 GiB pages after a long life: the share of it that lies in whole,
 * aligned gigabytes, for the daemon's allocator and for two that are well known, under the same load.
 *
 * The load: files of three units, small ones (64 KiB to 16 MiB, unit 4 KiB), guests (2 MiB to 4 GiB, unit 2 MiB) and large
 * guests (1 to 8 GiB, unit 1 GiB), sizes spread evenly on a logarithmic scale, made and removed at random in a region of
 * 64 GiB, of which between 30 and 85 % are in use, as guests come and go over the days. Figures are means over the second
 * half, at every 1000th operation.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fragment.h"
#include "pool/allocator.h"

#define OPERATIONS   1000000u
#define QUICK        100000u
#define PERIOD       20000u /* operations from low tide to low tide */
#define LOW          0.30
#define HIGH         0.85
#define AGAINST_TIDE 0.3 /* share of the operations */
#define SAMPLE       1000u
#define SEED         1u
#define CHUNKS       (FRAGMENT_BYTES / DMEMFS_PAGE_1G)

static void *dmemfs_create(void)
{
	struct allocator *allocator = allocator_new();

	if (allocator_add_region(allocator, FRAGMENT_START, FRAGMENT_BYTES) < 0)
		g_error("no region");
	return allocator;
}

static void dmemfs_destroy(void *allocator)
{
	allocator_destroy(allocator);
}

static bool dmemfs_take(void *allocator, uint64_t unit, uint64_t length, GArray *runs)
{
	const struct allocator_request request = {
		.length = length,
		.unit = unit,
		.hint = ALLOCATOR_NO_HINT,
		.regions = ALLOCATOR_ANY_REGION,
	};

	return allocator_alloc(allocator, &request, runs) == 0;
}

static void dmemfs_give(void *allocator, const struct extent *runs, guint count)
{
	for (guint i = 0; i < count; i++) {
		if (allocator_free(allocator, runs[i].start, runs[i].length) < 0)
			g_error("freed what is not in use");
	}
}

const struct fragment_scheme fragment_dmemfs = {
	.name = "dmemfs",
	.create = dmemfs_create,
	.destroy = dmemfs_destroy,
	.take = dmemfs_take,
	.give = dmemfs_give,
};

static const struct kind {
	double share; /* of the files */
	uint64_t unit;
	double smallest, largest; /* bytes */
} kinds[] = {
	{ 0.60, DMEMFS_PAGE_4K, 0x1p16, 0x1p24 },
	{ 0.35, DMEMFS_PAGE_2M, 0x1p21, 0x1p32 },
	{ 0.05, DMEMFS_PAGE_1G, 0x1p30, 0x1p33 },
};

struct life {
	const struct fragment_scheme *scheme;
	void *state;
	GRand *rand;
	GPtrArray *files;      /* of GArray of struct extent */
	uint64_t used[CHUNKS]; /* bytes of each gigabyte, counted apart from the scheme */
	uint64_t all;          /* bytes */
	uint64_t made, runs;
	uint64_t refused; /* although there was as much free, in pieces too small for the unit */
	double share;     /* sum of the samples */
	unsigned samples;
	double seconds;
};

static void count(struct life *life, const GArray *runs, bool take)
{
	for (guint i = 0; i < runs->len; i++) {
		const struct extent *run = &g_array_index(runs, struct extent, i);
		uint64_t at = run->start - FRAGMENT_START, end = at + run->length;

		life->all = take ? life->all + run->length : life->all - run->length;
		while (at < end) {
			uint64_t part = MIN(end, (at / DMEMFS_PAGE_1G + 1) * DMEMFS_PAGE_1G) - at;
			uint64_t *used = &life->used[at / DMEMFS_PAGE_1G];

			*used = take ? *used + part : *used - part;
			at += part;
		}
	}
}

static void make(struct life *life)
{
	double which = g_rand_double(life->rand);
	const struct kind *kind = kinds;

	while (which > kind->share && kind < &kinds[G_N_ELEMENTS(kinds) - 1])
		which -= kind++->share;

	uint64_t step = MAX(kind->unit, FRAGMENT_GRANULE);
	uint64_t length = (uint64_t)exp2(g_rand_double_range(life->rand, log2(kind->smallest), log2(kind->largest)));
	GArray *runs = g_array_new(FALSE, FALSE, sizeof(struct extent));

	length = MAX(length - length % step, step);
	if (life->scheme->take(life->state, kind->unit, length, runs)) {
		count(life, runs, true);
		g_ptr_array_add(life->files, runs);
		life->made++;
		life->runs += runs->len;
	} else {
		life->refused += FRAGMENT_BYTES - life->all >= length;
		g_array_unref(runs);
	}
}

static void remove_one(struct life *life)
{
	guint victim = (guint)g_rand_int_range(life->rand, 0, (gint32)life->files->len);
	g_autoptr(GArray) runs = g_ptr_array_remove_index_fast(life->files, victim);

	count(life, runs, false);
	life->scheme->give(life->state, (const struct extent *)runs->data, runs->len);
}

static void sample(struct life *life)
{
	uint64_t whole = 0;

	for (guint i = 0; i < CHUNKS; i++)
		whole += life->used[i] ? 0 : DMEMFS_PAGE_1G;

	double share = (double)whole / (double)(FRAGMENT_BYTES - life->all);

	life->share += share;
	life->samples++;
}

static double cpu_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void live(struct life *life, unsigned operations)
{
	double begin = cpu_seconds();

	life->state = life->scheme->create();
	life->rand = g_rand_new_with_seed(SEED);
	life->files = g_ptr_array_new();
	for (unsigned i = 0; i < operations; i++) {
		double tide = fabs((double)(i % PERIOD) / (PERIOD / 2.0) - 1); /* 1 to 0 to 1 */
		bool rising = (double)life->all / (double)FRAGMENT_BYTES < LOW + (HIGH - LOW) * (1 - tide);

		if (g_rand_double(life->rand) < AGAINST_TIDE)
			rising = !rising;
		if (rising || life->files->len == 0)
			make(life);
		else
			remove_one(life);
		if (i >= operations / 2 && i % SAMPLE == 0)
			sample(life);
	}
	while (life->files->len)
		remove_one(life);
	if (life->all)
		g_error("%s: %" PRIu64 " bytes are left", life->scheme->name, life->all);
	life->seconds = cpu_seconds() - begin;
	life->scheme->destroy(life->state);
	g_ptr_array_unref(life->files);
	g_rand_free(life->rand);
}

static void print(const struct life *life, unsigned operations, bool json, bool last)
{
	double share = life->share / life->samples, runs = (double)life->runs / (double)life->made;
	double us = life->seconds * 1e6 / operations;

	if (json)
		printf("  \"%s\": { \"usable_1g\": %.4f, \"refused\": %" PRIu64
		       ", \"runs_per_file\": %.2f, \"us_per_operation\": %.2f }%s\n",
		       life->scheme->name, share, life->refused, runs, us, last ? "" : ",");
	else
		printf("%-10s %15.1f %% %9" PRIu64 " %14.2f %14.2f\n", life->scheme->name, share * 100, life->refused,
		       runs, us);
}

int main(int argc, char **argv)
{
	static const struct fragment_scheme *const schemes[] = { &fragment_dmemfs, &fragment_first_fit,
		                                                 &fragment_buddy };
	bool json = false, quick = false;

	for (int i = 1; i < argc; i++) {
		json |= strcmp(argv[i], "--json") == 0;
		quick |= strcmp(argv[i], "--quick") == 0;
	}
	if (argc - 1 != json + quick) {
		fprintf(stderr, "usage: %s [--json] [--quick]\n", argv[0]);
		return 2;
	}
	puts(json ? "{" : "           free in whole GiB   refused  runs per file   us/operation");
	for (guint i = 0; i < G_N_ELEMENTS(schemes); i++) {
		struct life life = { .scheme = schemes[i] };

		live(&life, quick ? QUICK : OPERATIONS);
		print(&life, quick ? QUICK : OPERATIONS, json, i + 1 == G_N_ELEMENTS(schemes));
	}
	if (json)
		puts("}");
	return 0;
}
