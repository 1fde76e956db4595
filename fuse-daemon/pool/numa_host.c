// SPDX-License-Identifier: GPL-2.0-or-later
/* NUMA nodes of this machine, by libnuma. */
#include "pool/numa_host.h"

#include <numa.h>
#include <stdlib.h>
#include <string.h>

#include "base/caller_file.h"
#include "base/current_request.h"
#include "base/log.h"
#include "pool/numa_policy.h"

/* proc_pid_stat(5): "processor" is field 39. Field 2, the command, may contain any characters; it ends at the last ')'. */
#define FIELDS_FROM_COMMAND_TO_CPU (39 - 2)

/*
 * Held during calls that use libnuma's table of each node's CPUs. libnuma builds that table in the first such call, without
 * a lock.
 */
static GMutex asking;

/* These two replace libnuma's own functions, which print to stderr, and may exit (numa(3)). */
void numa_error(char *where)
{
	log_debug("libnuma: %s", where);
}

void numa_warn(int number, char *where, ...)
{
	log_debug("libnuma: warning %d: %s", number, where);
}

static int cpu_of(const char *stat)
{
	const char *at = strrchr(stat, ')');

	for (int i = 0; at && i < FIELDS_FROM_COMMAND_TO_CPU; i++)
		at = strchr(at + 1, ' ');
	return at ? atoi(at + 1) : -1;
}

int numa_host_caller_node(void)
{
	pid_t caller = current_request()->caller;
	g_autofree char *stat = caller_file_read(caller, "stat");
	int cpu, node = NODE_UNKNOWN;

	if (!stat || numa_available() < 0)
		return NODE_UNKNOWN;
	cpu = cpu_of(stat);
	if (cpu >= 0) {
		g_mutex_lock(&asking);
		node = numa_node_of_cpu(cpu);
		g_mutex_unlock(&asking);
	}
	return node < 0 ? NODE_UNKNOWN : node;
}

void numa_host_bind_thread(int node)
{
	int bound;

	if (node < 0 || numa_available() < 0)
		return;
	g_mutex_lock(&asking);
	bound = numa_run_on_node(node);
	g_mutex_unlock(&asking);
	if (bound < 0)
		log_debug("node %d has no CPUs: the thread that zeroes its memory runs on any", node);
}
