// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/pending_signal.h"

#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>

#include "base/caller_file.h"

#define BIT(number) (UINT64_C(1) << ((number)-1))
/* Unless the process handles them, these do nothing, stop it or let it go on (signal(7)). */
#define HARMLESS                                                                                                  \
	(BIT(SIGCHLD) | BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGSTOP) | BIT(SIGTSTP) | BIT(SIGTTIN) | BIT(SIGTTOU) | \
	 BIT(SIGCONT))

/* The set of signals on the line that begins with @field; none if there is no such line. */
static uint64_t signals(const char *status, const char *field)
{
	const char *line = strstr(status, field);

	return line ? g_ascii_strtoull(line + strlen(field), NULL, 16) : 0;
}

bool pending_signal_in(const char *status)
{
	uint64_t pending = signals(status, "\nSigPnd:") | signals(status, "\nShdPnd:");
	uint64_t blocked = signals(status, "\nSigBlk:");
	uint64_t ignored = signals(status, "\nSigIgn:") | (HARMLESS & ~signals(status, "\nSigCgt:"));

	/* A worker of io_uring. Its work is cancelled without a signal. */
	if (blocked == (uint64_t) ~(BIT(SIGKILL) | BIT(SIGSTOP)))
		return true;
	return pending & ~blocked & ~ignored;
}

bool pending_signal(pid_t thread)
{
	g_autofree char *status = caller_file_read(thread, "status");

	/* Without a descriptor or memory: the caller asks again. */
	if (!status)
		return errno != EMFILE && errno != ENFILE && errno != ENOMEM;
	return pending_signal_in(status);
}
