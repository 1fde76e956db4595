// SPDX-License-Identifier: GPL-2.0-or-later
/* Keeps the contents of files through a kexec. */
#include "recovery/kexec.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "base/system_file.h"

/* The preparation on record: "TOKEN BOOT-ID". BOOT-ID names the boot in which it was made. */
#define VALUE_PREPARED "kexec"
#define TOKEN_BYTES    16
/* The name of the backend that has the memory. */
#define VALUE_BACKEND "backend"

/* kexec's type_of_loader; the low four bits are a version (Documentation/arch/x86/boot.rst). */
#define LOADER_KEXEC 0xd0

static char *make_token(void)
{
	uint8_t bytes[TOKEN_BYTES];
	GString *text = g_string_new(NULL);

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes)) {
		g_string_free(text, TRUE);
		return NULL;
	}
	for (size_t i = 0; i < sizeof(bytes); i++)
		g_string_append_printf(text, "%02x", bytes[i]);
	return g_string_free(text, FALSE);
}

static bool fail(GError **error, int err)
{
	g_set_error(error, STORE_ERROR, STORE_ERROR_IO,
	            "cannot write the preparation to the record: %s: make room, then try again", g_strerror(-err));
	return false;
}

bool kexec_prepare(struct store *store, char **argument, GError **error)
{
	g_autofree char *boot = system_file_read("/proc/sys/kernel/random/boot_id");
	g_autofree char *token = make_token();
	g_autofree char *value = NULL;
	int err;

	if (!boot || !token)
		return fail(error, -EIO);
	value = g_strdup_printf("%s %s", token, boot);
	store_begin(store);
	store_put_value(store, VALUE_PREPARED, value, strlen(value));
	err = store_commit(store);
	if (!err)
		err = store_sync(store);
	if (err)
		return fail(error, err);
	*argument = g_strconcat(KEXEC_PARAMETER, token, NULL);
	return true;
}

/* The token and the boot id in the record's @value; NULL when there was no preparation. */
static char **split_prepared(GBytes *value)
{
	gsize size;

	if (!value)
		return NULL;

	const char *text = g_bytes_get_data(value, &size);
	g_autofree char *copy = g_strndup(text, size);
	char **words = g_strsplit(copy, " ", 2);

	if (g_strv_length(words) == 2)
		return words;
	g_strfreev(words);
	return NULL;
}

static bool started_by_kexec(void)
{
	g_autofree char *text = system_file_read("/proc/sys/kernel/bootloader_type");
	guint64 type;

	return text && g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT16, &type, NULL) &&
	       (type & 0xf0) == LOADER_KEXEC;
}

static bool command_line_has(const char *token)
{
	g_autofree char *text = system_file_read("/proc/cmdline");
	g_autofree char *wanted = g_strconcat(KEXEC_PARAMETER, token, NULL);
	g_auto(GStrv) words = g_strsplit_set(text ?: "", " \t\n", -1);

	return g_strv_contains((const char *const *)words, wanted);
}

/* Counts the runs of files that are not in one of @regions. What they contain that no file has does not matter. */
static int count_outside(struct store *store, const GArray *regions, unsigned *runs)
{
	g_autoptr(GArray) now = extents_new();
	uint64_t at = 0;
	int err = 0;

	for (guint i = 0; i < regions->len; i++)
		g_array_append_val(now, g_array_index(regions, struct pool_region, i).extent);
	extents_merge(now);
	*runs = 0;
	for (guint i = 0; i <= now->len && !err && !*runs; i++) {
		const struct extent end = { INT64_MAX, 0 };
		const struct extent *next = i < now->len ? &g_array_index(now, struct extent, i) : &end;

		if (next->start > at)
			err = store_count_odd_runs(store, (struct extent){ at, next->start - at }, INT64_MAX, runs);
		at = next->start + next->length;
	}
	return err;
}

bool kexec_was_prepared(struct store *store, const GArray *regions, const char **why_not, GError **error)
{
	g_autofree char *boot = system_file_read("/proc/sys/kernel/random/boot_id");
	g_autoptr(GBytes) token = NULL;
	g_auto(GStrv) prepared = NULL;
	unsigned outside;
	int err;

	*why_not = NULL;
	if (!store_get_value(store, VALUE_PREPARED, &token, error))
		return false;
	err = count_outside(store, regions, &outside);
	if (err) {
		g_set_error(error, STORE_ERROR, STORE_ERROR_IO, "cannot read the metadata: %s", g_strerror(-err));
		return false;
	}
	prepared = split_prepared(token);
	if (!prepared)
		*why_not = "no dmemfsctl prepare-kexec ran before the last kernel ended";
	else if (!boot || strcmp(prepared[1], boot) == 0)
		*why_not = "prepared for a kexec, but this is still the same kernel";
	else if (!started_by_kexec())
		*why_not = "prepared for a kexec, but this kernel was started by the firmware";
	else if (!command_line_has(prepared[0]))
		*why_not =
			"prepared for a kexec, but this kernel's command line lacks the argument of dmemfsctl prepare-kexec";
	else if (outside)
		*why_not = "prepared for a kexec, but a region has changed";
	return true;
}

int kexec_forget(struct store *store, const char *backend)
{
	store_begin(store);
	store_put_value(store, VALUE_PREPARED, NULL, 0);
	store_put_value(store, VALUE_BACKEND, backend, strlen(backend));
	return store_commit(store);
}

bool kexec_get_backend(struct store *store, char **backend, GError **error)
{
	g_autoptr(GBytes) value = NULL;
	const char *text;
	gsize size;

	*backend = NULL;
	if (!store_get_value(store, VALUE_BACKEND, &value, error))
		return false;
	if (value) {
		text = g_bytes_get_data(value, &size);
		*backend = g_strndup(text, size);
	}
	return true;
}
