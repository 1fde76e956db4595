// SPDX-License-Identifier: GPL-2.0-or-later
/* Parses and formats the policies of NUMA nodes. */
#include "pool/numa_policy.h"

#include <errno.h>
#include <string.h>

#define PREFER "prefer:"
#define LOCAL  "local"
/* Bytes. Enough for 64 nodes of four digits, with commas. */
#define TEXT_MAX 512

static bool has_node(const struct numa_policy *policy, int node)
{
	for (unsigned i = 0; i < policy->count; i++) {
		if (policy->nodes[i] == node)
			return true;
	}
	return false;
}

static bool add_nodes(struct numa_policy *policy, const char *text)
{
	g_auto(GStrv) words = g_strsplit(text, ",", -1);

	for (char **word = words; *word; word++) {
		guint64 node;

		if (policy->count == NUMA_POLICY_NODES_MAX ||
		    !g_ascii_string_to_unsigned(*word, 10, 0, NODE_NUMBER_MAX, &node, NULL) ||
		    has_node(policy, (int)node))
			return false;
		policy->nodes[policy->count++] = (int)node;
	}
	return policy->count > 0;
}

static bool parse(struct numa_policy *policy, const char *text)
{
	if (strcmp(text, LOCAL) == 0) {
		policy->mode = NODE_LOCAL;
		return true;
	}
	if (!g_str_has_prefix(text, PREFER))
		return add_nodes(policy, text);
	policy->mode = NODE_PREFER;
	return add_nodes(policy, text + strlen(PREFER)) && policy->count == 1;
}

struct numa_policy *numa_policy_parse(const void *text, size_t size)
{
	g_autoptr(numa_policy_t) policy = g_atomic_rc_box_new0(struct numa_policy);
	g_autofree char *copy = NULL;

	if (size == 0 || size > TEXT_MAX || memchr(text, 0, size))
		return NULL;
	copy = g_strndup(text, size);
	if (copy[size - 1] == '\n')
		copy[size - 1] = '\0';
	return parse(policy, copy) ? g_steal_pointer(&policy) : NULL;
}

struct numa_policy *numa_policy_ref(struct numa_policy *policy)
{
	return policy ? g_atomic_rc_box_acquire(policy) : NULL;
}

void numa_policy_unref(struct numa_policy *policy)
{
	if (policy)
		g_atomic_rc_box_release(policy);
}

char *numa_policy_format(const struct numa_policy *policy)
{
	GString *text = g_string_new(policy->mode == NODE_LOCAL ? LOCAL : policy->mode == NODE_PREFER ? PREFER : "");

	for (unsigned i = 0; i < policy->count; i++)
		g_string_append_printf(text, "%s%d", i ? "," : "", policy->nodes[i]);
	return g_string_free(text, FALSE);
}
