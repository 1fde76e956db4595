// SPDX-License-Identifier: GPL-2.0-or-later
/* The service manager's watchdog. */
#include "daemon/watchdog.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/notify.h"

/* How often to look within the manager's time limit. With more than one look, a late one does not exceed the limit. */
#define LOOKS 3

struct watchdog {
	watchdog_question is_alive;
	void *data;
	int64_t patience; /* the manager's time limit, us */
};

static gboolean look(gpointer data)
{
	const struct watchdog *watchdog = data;

	if (watchdog->is_alive(watchdog->data, watchdog->patience)) {
		notify_send("WATCHDOG=1");
	} else {
		log_error("requests made no progress for %" G_GINT64_FORMAT
		          " s: asking the service manager to restart the daemon",
		          watchdog->patience / G_USEC_PER_SEC);
		notify_send("WATCHDOG=trigger");
	}
	return G_SOURCE_CONTINUE;
}

guint watchdog_start(watchdog_question is_alive, void *data)
{
	const char *pid = getenv("WATCHDOG_PID"), *time = getenv("WATCHDOG_USEC");
	struct watchdog *watchdog;
	guint64 number;

	if (pid && (!g_ascii_string_to_unsigned(pid, 10, 0, G_MAXINT, &number, NULL) || number != (guint64)getpid()))
		return 0;
	if (!time || !g_ascii_string_to_unsigned(time, 10, LOOKS * 1000, (guint64)G_MAXUINT * 1000, &number, NULL))
		return 0;
	watchdog = g_new(struct watchdog, 1);
	*watchdog = (struct watchdog){ .is_alive = is_alive, .data = data, .patience = (int64_t)number };
	look(watchdog);
	return g_timeout_add_full(G_PRIORITY_DEFAULT, (guint)(number / 1000 / LOOKS), look, watchdog, g_free);
}
