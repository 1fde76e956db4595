// SPDX-License-Identifier: GPL-2.0-or-later
/* Logs and counts requests for a file size that the daemon refused for want of memory or quota. */
#include "requests/sizing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>

#include "base/caller_file.h"
#include "base/log.h"
#include "base/page_order.h"
#include "pool/pool.h"

static _Atomic uint64_t refused;

/* "N are free", and where: files get memory of one kind only. */
static char *free_text(const struct server *server, uint64_t ino)
{
	g_autoptr(GArray) regions = pool_get_regions(server->storage.pool);
	unsigned order = server->storage.order;
	uint64_t free = 0, others = 0;

	namespace_get_pages(server->ns, ino, &order);
	for (guint i = 0; i < regions->len; i++) {
		const struct pool_region *region = &g_array_index(regions, struct pool_region, i);

		*(region->order == order ? &free : &others) += region->free;
	}
	if (!others)
		return g_strdup_printf("%" PRIu64 " are free", free);
	return g_strdup_printf("%" PRIu64 " are free in regions with pages=%s, where the file gets memory, and %" PRIu64
	                       " in others (see dmemfs.pages in dmemfs(7))",
	                       free, page_order_name(order), others);
}

void sizing_note(fuse_req_t req, uint64_t ino, uint64_t size, int err)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	const struct fuse_ctx *who = fuse_req_ctx(req);

	if (err != -ENOSPC && err != -EDQUOT)
		return;
	atomic_fetch_add(&refused, 1);
	if (!log_passes(&limit, LOG_LEVEL_INFO))
		return;

	g_autofree char *file = namespace_describe(ops_server(req)->ns, ino);
	g_autofree char *free = free_text(ops_server(req), ino);
	g_autofree char *name = caller_file_read(who->pid, "comm");

	if (name)
		g_strchomp(name);
	log_info("%s: %s for %s (pid %d, uid %u): wanted a size of %" PRIu64 " bytes, %s%s", file,
	         err == -EDQUOT ? "EDQUOT" : "ENOSPC", name ? name : "an unknown process", who->pid, who->uid, size,
	         free, err == -EDQUOT ? " outside its quota" : "");
}

uint64_t sizing_refused(void)
{
	return atomic_load(&refused);
}
