// SPDX-License-Identifier: GPL-2.0-or-later
/* Logs and counts requests for a file size that the daemon refused for want of memory or quota. */
#include "requests/sizing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>

#include "base/log.h"
#include "pool/pool.h"

static _Atomic uint64_t refused;

void sizing_note(fuse_req_t req, uint64_t ino, uint64_t size, int err)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	const struct fuse_ctx *who = fuse_req_ctx(req);
	struct pool_usage usage;

	if (err != -ENOSPC && err != -EDQUOT)
		return;
	atomic_fetch_add(&refused, 1);
	pool_get_usage(ops_server(req)->storage.pool, &usage);

	g_autofree char *path = g_strdup_printf("/proc/%d/comm", who->pid);
	g_autofree char *name = NULL;

	if (g_file_get_contents(path, &name, NULL, NULL))
		g_strchomp(name);
	log_limited(&limit, LOG_LEVEL_INFO,
	            "inode %" PRIu64 ": %s for %s (pid %d, uid %u): wanted a size of %" PRIu64 " bytes, %" PRIu64
	            " are free%s",
	            ino, err == -EDQUOT ? "EDQUOT" : "ENOSPC", name ? name : "a process that has ended", who->pid,
	            who->uid, size, usage.free, err == -EDQUOT ? " outside its quota" : "");
}

uint64_t sizing_refused(void)
{
	return atomic_load(&refused);
}
