// SPDX-License-Identifier: GPL-2.0-or-later
/* From the record to a state that can be served. */
#include "recover.h"

#include <string.h>

#include "crash_point.h"
#include "log.h"

struct recovery {
	struct namespace *ns;
	struct placement *placement;
	bool kept;
};

/* Objects whose contents are lost, or somebody else's, are as good as unknown. */
static bool is_known(uint64_t id, void *data)
{
	const struct recovery *recovery = data;

	return recovery->kept && namespace_has_file(recovery->ns, id);
}

static void left_over(uint64_t id, struct extent run, void *data)
{
	const struct recovery *recovery = data;

	placement_adopt(recovery->placement, id, run);
}

static bool failed(GError **error, const char *what, int err)
{
	g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(-err), "backend: %s: %s", what, g_strerror(-err));
	return false;
}

bool recover(struct namespace *ns, const struct storage *storage, bool takeover, GError **error)
{
	const struct store_mark own = store_get_mark(storage->store);
	struct recovery recovery = { .ns = ns, .placement = storage->placement };
	struct store_mark held;
	int err = storage->ops->get_mark(storage->backend, &held);

	if (err)
		return failed(error, "whose memory is it", err);
	recovery.kept = memcmp(&own, &held, sizeof(own)) == 0;
	CRASH_POINT("loading");
	if (!namespace_load(ns, recovery.kept, takeover, error))
		return false;
	namespace_skip_inos(ns, storage->ops->give_up_unknown(storage->backend, is_known, left_over, &recovery));
	CRASH_POINT("unknown-given-up");
	if (!namespace_attach(ns, error))
		return false;
	CRASH_POINT("attached");
	/* Last: a crash before it finds the contents as lost as this start did. */
	err = storage->ops->set_mark(storage->backend, &own);
	return err ? failed(error, "cannot mark the memory", err) : true;
}
