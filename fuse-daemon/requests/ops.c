// SPDX-License-Identifier: GPL-2.0-or-later
/* What the FUSE requests share. */
#include "requests/ops.h"

#include "base/current_request.h"
#include "base/pending_signal.h"

bool ops_is_demand(fuse_req_t req, const struct stat *attr)
{
	bool demand = false, discard;

	if (S_ISREG(attr->st_mode))
		namespace_get_alloc(ops_server(req)->ns, attr->st_ino, &demand, &discard);
	return demand;
}

struct fuse_entry_param ops_entry(const struct stat *attr, bool demand)
{
	return (struct fuse_entry_param){
		.ino = attr->st_ino,
		.attr = *attr,
		.attr_timeout = ops_attr_timeout(attr, demand),
		.entry_timeout = OPS_CACHE_TIMEOUT,
	};
}

void ops_reply_entry(fuse_req_t req, int err, const struct stat *attr)
{
	struct namespace *ns = ops_server(req)->ns;

	if (err) {
		ops_reply(req, err);
		return;
	}

	struct fuse_entry_param entry = ops_entry(attr, ops_is_demand(req, attr));

	if (fuse_reply_entry(req, &entry) < 0)
		namespace_forget(ns, attr->st_ino, 1);
}

static bool is_interrupted(void *req)
{
	return fuse_req_interrupted(req) && pending_signal(fuse_req_ctx(req)->pid);
}

void ops_allow_interrupt(fuse_req_t req)
{
	current_request_allow_interrupt(is_interrupted, req);
}

struct namespace_caller ops_caller(fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	return (struct namespace_caller){ ctx->uid, ctx->gid };
}
