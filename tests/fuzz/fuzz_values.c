// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Values of extended attributes and of the kernel's command line: what is taken reads back from its own text as the same.
 * The first byte of an input says which.
 */
#include <string.h>

#include "backend/memmap_cmdline.h"
#include "base/extent.h"
#include "config/config.h"
#include "fuzz.h"
#include "pool/numa_policy.h"
#include "quota/quota_limit.h"

static void node(const void *text, size_t size)
{
	g_autoptr(numa_policy_t) policy = numa_policy_parse(text, size);

	if (!policy)
		return;

	g_autofree char *written = numa_policy_format(policy);
	g_autoptr(numa_policy_t) again = numa_policy_parse(written, strlen(written));

	g_assert_nonnull(again);
	g_assert_cmpint(again->mode, ==, policy->mode);
	g_assert_cmpuint(again->count, ==, policy->count);
	g_assert_cmpuint(policy->count, <=, NUMA_POLICY_NODES_MAX);
	g_assert_cmpmem(again->nodes, again->count * sizeof(int), policy->nodes, policy->count * sizeof(int));
}

static void limit(enum quota_resource resource, const void *text, size_t size)
{
	uint64_t max, again;

	if (!quota_limit_parse(resource, text, size, &max))
		return;

	g_autofree char *written = quota_limit_format(resource, max);

	g_assert_cmpuint(max, >, 0);
	g_assert_cmpuint(max, <=, INT64_MAX);
	g_assert_true(quota_limit_parse(resource, written, strlen(written), &again));
	g_assert_cmpuint(again, ==, max);
}

static void size_of(const void *text, size_t size)
{
	g_autofree char *string = g_strndup(text, size);
	g_autoptr(GError) error = NULL;
	uint64_t bytes, again;

	if (!config_parse_size(string, &bytes, &error)) {
		g_assert_nonnull(error);
		return;
	}

	g_autofree char *written = config_format_size(bytes);

	g_assert_true(config_parse_size(written, &again, NULL));
	g_assert_cmpuint(again, ==, bytes);
}

/* By rising address, apart from each other, and the same when they are asked for once more. */
static void command_line(const void *text, size_t size)
{
	g_autofree char *string = g_strndup(text, size);
	g_autoptr(GArray) ranges = memmap_cmdline_parse(string);
	g_autoptr(GString) arguments = g_string_new(NULL);

	for (guint i = 0; i < ranges->len; i++) {
		const struct extent *range = &g_array_index(ranges, struct extent, i);
		g_autofree char *argument = memmap_cmdline_argument(range->start, range->length);

		g_assert_cmpuint(range->length, >, 0);
		g_assert_cmpuint(range->start, <=, UINT64_MAX - range->length);
		if (i > 0)
			g_assert_cmpuint(range[-1].start + range[-1].length, <, range->start);
		g_string_append_printf(arguments, "%s ", argument);
	}

	g_autoptr(GArray) again = memmap_cmdline_parse(arguments->str);

	g_assert_cmpmem(again->data, again->len * sizeof(struct extent), ranges->data,
	                ranges->len * sizeof(struct extent));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };

	switch (fuzz_take(&input, 1) % 5) {
	case 0:
		node(input.data, input.size);
		break;
	case 1:
		limit(QUOTA_BYTES, input.data, input.size);
		break;
	case 2:
		limit(QUOTA_FILES, input.data, input.size);
		break;
	case 3:
		size_of(input.data, input.size);
		break;
	case 4:
		command_line(input.data, input.size);
		break;
	}
	return 0;
}
