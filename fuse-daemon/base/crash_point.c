// SPDX-License-Identifier: GPL-2.0-or-later
/* For tests: kills or hangs the daemon at a named place, and makes commits fail. */
#include "base/crash_point.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef NDEBUG

static atomic_bool serving;

void crash_point_serving(void)
{
	atomic_store(&serving, true);
}

/* The rest of @text after @start; NULL when @text does not begin with @start. */
static const char *skip(const char *text, const char *start)
{
	size_t length = strlen(start);

	return strncmp(text, start, length) == 0 ? text + length : NULL;
}

/* Does the environment's @variable name this place, and is this the N-th time it is reached? */
static bool is_wanted(const char *variable, const char *name, atomic_long *reached)
{
	const char *wanted = getenv(variable);

	if (wanted && !atomic_load(&serving))
		wanted = skip(wanted, "start/");
	if (wanted)
		wanted = skip(wanted, name);
	if (!wanted || (*wanted && *wanted != ':'))
		return false;
	return atomic_fetch_add(reached, 1) + 1 == (*wanted ? strtol(wanted + 1, NULL, 10) : 1);
}

void crash_point(const char *name)
{
	static atomic_long crashes, hangs;

	if (is_wanted("DMEMFS_CRASH_AT", name, &crashes))
		raise(SIGKILL);
	if (is_wanted("DMEMFS_HANG_AT", name, &hangs)) {
		for (;;)
			pause();
	}
}

bool commit_fails(void)
{
	const char *path = getenv("DMEMFS_FAIL_COMMITS");
	struct stat st;

	if (!path || stat(path, &st) < 0)
		return false;
	return st.st_size == 0 || truncate(path, st.st_size - 1) < 0;
}

#endif
