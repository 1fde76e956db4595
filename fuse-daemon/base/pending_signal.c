// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/pending_signal.h"

#include <glib.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#define BIT(number) (UINT64_C(1) << ((number)-1))
/* Unless the process handles them, these stop it and let it go on. */
#define JOB_CONTROL (BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU) | BIT(SIGCONT))

/* The set of signals on the line that begins with @field; none if there is no such line. */
static uint64_t signals(const char *status, const char *field)
{
	const char *line = strstr(status, field);

	return line ? g_ascii_strtoull(line + strlen(field), NULL, 16) : 0;
}

bool pending_signal_in(const char *status)
{
	uint64_t pending = signals(status, "\nSigPnd:") | signals(status, "\nShdPnd:");
	uint64_t left_alone = signals(status, "\nSigBlk:") | (JOB_CONTROL & ~signals(status, "\nSigCgt:"));

	return pending & ~left_alone;
}

bool pending_signal(pid_t thread)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/status", thread);
	g_autofree char *status = NULL;

	return !g_file_get_contents(path, &status, NULL, NULL) || pending_signal_in(status);
}
