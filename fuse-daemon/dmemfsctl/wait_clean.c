// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl wait-clean: waits until all free memory is zeroed, so that the next guest starts at once. */
#include <stdio.h>
#include <unistd.h>

#include "dmemfsctl/command.h"
#include "dmemfsctl/text.h"
#include "dmemfsctl/view.h"

#define POLL      (100 * 1000)
#define BAR_WIDTH 30

static struct {
	gint timeout;
} arguments;

static const GOptionEntry options[] = { { "timeout", 't', 0, G_OPTION_ARG_INT, &arguments.timeout,
	                                  "Give up after SECONDS; 0, the default: never", "SECONDS" },
	                                G_OPTION_ENTRY_NULL };

static uint64_t not_clean(const struct view *view)
{
	return view_figure(view, "dirty_bytes") + view_figure(view, "zeroing_bytes");
}

/* Prints one line over the previous one. */
static void show_progress(const struct view *view)
{
	uint64_t clean = view_figure(view, "clean_bytes"), free = view_figure(view, "free_bytes");
	g_autofree char *done = text_size(clean);
	g_autofree char *all = text_size(free);
	uint64_t rate = view_figure(view, "zeroing_rate");
	g_autofree char *speed = text_size(rate);
	char bar[BAR_WIDTH + 1] = "";

	for (unsigned i = 0; i < BAR_WIDTH; i++)
		bar[i] = (double)i * (double)free < (double)clean * BAR_WIDTH ? '#' : '.';
	fprintf(stderr, "\r[%s] %s of %s free are clean%s%s%s\033[K", bar, done, all, rate ? ", " : "",
	        rate ? speed : "", rate ? "/s" : "");
}

/* The reason to stop waiting, g_malloc'ed; NULL: go on. */
static char *why_not(const struct view *view, gint64 deadline)
{
	g_autofree char *dirty = text_size(not_clean(view));

	if (view_figure(view, "zeroing_workers") == 0)
		return g_strdup_printf("%s are dirty, and nothing zeroes them in advance: set zero-in-advance=true",
		                       dirty);
	if (deadline && g_get_monotonic_time() >= deadline)
		return g_strdup_printf("%s are not clean yet after %d s", dirty, arguments.timeout);
	return NULL;
}

static struct view *wait_for(const char *path, bool progress, GError **error)
{
	gint64 deadline = arguments.timeout ? g_get_monotonic_time() + arguments.timeout * (gint64)G_USEC_PER_SEC : 0;
	struct view *view;

	while ((view = view_open(path, error)) && not_clean(view) > 0) {
		g_autofree char *reason = why_not(view, deadline);
		g_autofree char *root = text_visible(view->root);

		if (progress)
			show_progress(view);
		view_destroy(view);
		if (reason) {
			command_fail(error, STATUS_FAILED, "%s: %s", root, reason);
			return NULL;
		}
		g_usleep(POLL);
	}
	if (view && progress)
		show_progress(view);
	return view;
}

static enum status run(const struct invocation *invocation, GError **error)
{
	bool progress = !invocation->json && isatty(STDERR_FILENO);
	g_autoptr(view_t) view = NULL;

	if (arguments.timeout < 0)
		return command_fail(error, STATUS_USAGE, "--timeout %d: use a number of seconds, or 0",
		                    arguments.timeout);
	view = wait_for(invocation->operands[0], progress, error);
	if (progress)
		fputc('\n', stderr);
	if (!view)
		return STATUS_FAILED;

	g_autofree char *root = text_visible(view->root);
	g_autofree char *clean = text_size(view_figure(view, "clean_bytes"));

	if (invocation->json) {
		json_string(invocation->json, "mountpoint", view->root);
		json_unsigned(invocation->json, "clean_bytes", view_figure(view, "clean_bytes"));
	} else {
		printf("%s: %s are free and clean\n", root, clean);
	}
	return STATUS_DONE;
}

const struct command command_wait_clean = {
	.name = "wait-clean",
	.operands = "[PATH]",
	.summary = "Wait until all free memory is zeroed",
	.details =
		"Waits for the mount that PATH lies on. A file that gets clean memory need not wait until it is zeroed.",
	.options = options,
	.operands_max = 1,
	.run = run,
};
