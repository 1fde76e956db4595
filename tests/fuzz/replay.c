// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Gives a fuzz target the inputs of a directory: `replay_TARGET DIRECTORY`. Where there is no libFuzzer, and as a test that
 * what was found once stays mended.
 */
#include <glib.h>
#include <stdio.h>

#include "fuzz.h"

static gint compare(gconstpointer a, gconstpointer b)
{
	return g_strcmp0(*(char *const *)a, *(char *const *)b);
}

static GPtrArray *list(const char *path)
{
	GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
	g_autoptr(GDir) directory = g_dir_open(path, 0, NULL);
	const char *name;

	while (directory && (name = g_dir_read_name(directory)))
		g_ptr_array_add(names, g_build_filename(path, name, NULL));
	g_ptr_array_sort(names, compare);
	return names;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
		return 2;
	}

	g_autoptr(GPtrArray) names = list(argv[1]);

	/* TAP, as the unit tests: what kills the program leaves the plan unfulfilled. */
	printf("1..%u\n", names->len);
	for (guint i = 0; i < names->len; i++) {
		g_autofree char *data = NULL;
		gsize size;

		if (g_file_get_contents(names->pdata[i], &data, &size, NULL))
			LLVMFuzzerTestOneInput((const uint8_t *)data, size);
		printf("%s %u %s\n", data ? "ok" : "not ok", i + 1, (char *)names->pdata[i]);
		fflush(stdout);
	}
	return names->len == 0;
}
