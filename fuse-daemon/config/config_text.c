// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads a configuration file into values, and notes the line of each group and key. */
#include "config/config_text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/config_size.h"

static char *line_key(const char *group, const char *key)
{
	return key ? g_strconcat(group, "\n", key, NULL) : g_strdup(group);
}

/* The number of its line, from 1; 0 when it is not in the file. */
static unsigned line_of(const struct config_text *text, const char *group, const char *key)
{
	g_autofree char *name = line_key(group, key);

	return GPOINTER_TO_UINT(g_hash_table_lookup(text->lines, name));
}

static bool fail_at(const struct config_text *text, unsigned line, GError **error, const char *format, ...)
	G_GNUC_PRINTF(4, 5);
static bool fail_at(const struct config_text *text, unsigned line, GError **error, const char *format, ...)
{
	g_autofree char *message = NULL;
	va_list args;

	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	if (line)
		g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_INVALID, "%s:%u: %s", text->file, line, message);
	else
		g_set_error(error, CONFIG_ERROR, CONFIG_ERROR_INVALID, "%s: %s", text->file, message);
	return false;
}

bool config_text_fail(const struct config_text *text, const char *group, const char *key, GError **error,
                      const char *format, ...)
{
	g_autofree char *message = NULL;
	va_list args;
	unsigned line;

	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	if (!group)
		return fail_at(text, 0, error, "%s", message);

	/* A missing key has no line: name the line of its group, where it has to be added. */
	line = line_of(text, group, key);
	if (!line)
		line = line_of(text, group, NULL);
	if (!key)
		return fail_at(text, line, error, "[%s]: %s", group, message);
	return fail_at(text, line, error, "[%s] %s: %s", group, key, message);
}

/* Refuses devices and FIFOs: a read could block for ever. */
static bool check_regular(const struct config_text *text, int fd, GError **error)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail_at(text, 0, error, "cannot read: %s", g_strerror(errno));
	if (S_ISDIR(st.st_mode))
		return fail_at(text, 0, error, "is a directory: name a file in it");
	if (!S_ISREG(st.st_mode))
		return fail_at(text, 0, error, "is not a regular file: name a file");
	return true;
}

static bool read_all(const struct config_text *text, int fd, GString *data, GError **error)
{
	char buffer[4096];
	ssize_t length;

	while ((length = read(fd, buffer, sizeof(buffer))) != 0) {
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return fail_at(text, 0, error, "cannot read: %s", g_strerror(errno));
		g_string_append_len(data, buffer, length);
		if (data->len > CONFIG_TEXT_MAX)
			return fail_at(text, 0, error, "is larger than 1 MiB: is this a configuration of dmemfsd?");
	}
	return true;
}

static bool read_file(const struct config_text *text, GString *data, GError **error)
{
	int fd = open(text->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool done;

	if (fd < 0)
		return fail_at(text, 0, error, "cannot open: %s: %s", g_strerror(errno),
		               errno == EACCES && geteuid() ? "run as root"
		                                            : "name an existing, readable file with --config");
	done = check_regular(text, fd, error) && read_all(text, fd, data, error);
	close(fd);
	return done;
}

static unsigned line_at(const char *data, const char *end)
{
	unsigned line = 1;

	for (; data < end; data++)
		line += *data == '\n';
	return line;
}

static bool check_encoding(const struct config_text *text, const GString *data, GError **error)
{
	const char *end;

	if (g_utf8_validate(data->str, (gssize)data->len, &end))
		return true;
	return fail_at(text, line_at(data->str, end), error, "is not UTF-8 text: save the file as UTF-8");
}

static bool note_line(const struct config_text *text, const char *group, const char *key, unsigned number,
                      GError **error)
{
	unsigned before = line_of(text, group, key);

	if (before)
		return fail_at(text, number, error, "[%s]%s%s: is given twice, first in line %u: remove one of them",
		               group, key ? " " : "", key ? key : "", before);
	g_hash_table_insert(text->lines, line_key(group, key), GUINT_TO_POINTER(number));
	return true;
}

/* @line begins with "[", and should be "[NAME]". Is changed: @group points to the name in it. */
static bool scan_group(const struct config_text *text, char *line, unsigned number, const char **group, GError **error)
{
	size_t length = strlen(line);

	if (line[length - 1] != ']')
		return fail_at(text, number, error,
		               "the line \"%s\" is not a group: write [NAME], and nothing after it", line);
	line[length - 1] = '\0';
	*group = line + 1;
	if (!**group || strpbrk(*group, "[]"))
		return fail_at(text, number, error,
		               "\"%s\" is not the name of a group: use [daemon], [region NAME] or [quota NAME]",
		               *group);
	return note_line(text, *group, NULL, number, error);
}

static bool scan_key(const struct config_text *text, const char *line, unsigned number, const char *group,
                     GError **error)
{
	const char *equals = strchr(line, '=');
	g_autofree char *key = g_strchomp(g_strndup(line, equals ? (gsize)(equals - line) : strlen(line)));

	if (!equals)
		return fail_at(text, number, error,
		               "the line \"%s\" has no '=': write KEY=VALUE, or # before a comment", line);
	if (!*key)
		return fail_at(text, number, error, "no key before '=': write KEY=VALUE");
	if (!group)
		return fail_at(text, number, error, "%s: is before the first group: put the line [daemon] before it",
		               key);
	return note_line(text, group, key, number, error);
}

/* Notes where groups and keys are, and refuses what GKeyFile would accept. @lines have no white space at their ends. */
static bool scan(const struct config_text *text, char *const *lines, GError **error)
{
	g_autofree char *group_line = NULL;
	const char *group = NULL;

	for (unsigned i = 0; lines[i]; i++) {
		const char *line = lines[i];

		if (strlen(line) > CONFIG_LINE_MAX)
			return fail_at(text, i + 1, error, "the line is longer than %d bytes: shorten it",
			               CONFIG_LINE_MAX);
		if (!*line || *line == '#')
			continue;
		if (*line == '[') {
			g_free(group_line);
			group_line = g_strdup(line);
			if (!scan_group(text, group_line, i + 1, &group, error))
				return false;
		} else if (!scan_key(text, line, i + 1, group, error)) {
			return false;
		}
	}
	return true;
}

static bool parse(const struct config_text *text, const GString *data, GError **error)
{
	g_auto(GStrv) lines = g_strsplit(data->str, "\n", -1);
	g_autofree char *stripped = NULL;
	g_autoptr(GError) reason = NULL;

	/* GKeyFile would keep white space at the end of a value, which is invisible in an editor. */
	for (char **line = lines; *line; line++)
		g_strstrip(*line);
	if (!scan(text, lines, error))
		return false;
	stripped = g_strjoinv("\n", lines);
	/* Translations are kept so that "key[de]" is an unknown key rather than ignored. */
	if (!g_key_file_load_from_data(text->keys, stripped, strlen(stripped), G_KEY_FILE_KEEP_TRANSLATIONS, &reason))
		return fail_at(text, 0, error, "%s: write [GROUP] lines and KEY=VALUE lines", reason->message);
	return true;
}

struct config_text *config_text_load(const char *file, GError **error)
{
	g_autoptr(config_text_t) text = g_new0(struct config_text, 1);
	g_autoptr(GString) data = g_string_new(NULL);

	text->file = g_strdup(file);
	text->keys = g_key_file_new();
	text->lines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	if (!read_file(text, data, error) || !check_encoding(text, data, error) || !parse(text, data, error))
		return NULL;
	return g_steal_pointer(&text);
}

void config_text_destroy(struct config_text *text)
{
	if (!text)
		return;
	g_free(text->file);
	g_key_file_unref(text->keys);
	g_hash_table_unref(text->lines);
	g_free(text);
}
