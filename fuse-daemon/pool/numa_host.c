// SPDX-License-Identifier: GPL-2.0-or-later
/* NUMA of the machine, through libnuma. */
#include "pool/numa_host.h"

#include <numa.h>
#include <stdlib.h>
#include <string.h>

#include "base/current_request.h"
#include "base/log.h"
#include "pool/numa_policy.h"

/* proc_pid_stat(5): "processor" is field 39, and the command, field 2, may have anything in it up to the last ')'. */
#define FIELDS_FROM_COMMAND_TO_CPU (39 - 2)

/*
 * libnuma makes its table of each node's CPUs on the first question, with no lock of its own: two threads that ask at once
 * would both make it.
 */
static GMutex asking;

/* libnuma's own of these print to stderr, and exit when told to (numa(3)). */
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
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", caller);
	g_autofree char *stat = NULL;
	int cpu, node = NODE_UNKNOWN;

	if (numa_available() < 0 || caller <= 0 || !g_file_get_contents(path, &stat, NULL, NULL))
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
		log_debug("node %d: no CPU to run on", node);
}
