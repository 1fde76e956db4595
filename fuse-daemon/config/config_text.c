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

/* "FILE:LINE"; FILE alone when @line is 0. */
static char *place_of(const struct config_text *text, unsigned line)
{
	return line ? g_strdup_printf("%s:%u", text->file, line) : g_strdup(text->file);
}

char *config_text_place(const struct config_text *text, const char *group, const char *key)
{
	unsigned line = line_of(text, group, key);
	g_autofree char *place = NULL;

	/* A missing key has no line: name the line of its group, where it has to be added. */
	place = place_of(text, line ? line : line_of(text, group, NULL));
	return g_strdup_printf("%s: [%s]%s%s", place, group, key ? " " : "", key ? key : "");
}

static void add_mistake(const struct config_text *text, const char *place, const char *format, va_list args)
	G_GNUC_PRINTF(3, 0);
static void add_mistake(const struct config_text *text, const char *place, const char *format, va_list args)
{
	g_autoptr(GString) mistake = NULL;

	if (text->mistakes->len == CONFIG_MISTAKES_MAX)
		g_ptr_array_add(text->mistakes,
		                g_strdup_printf("%s: more than %d mistakes: is this a configuration of dmemfsd?",
		                                text->file, CONFIG_MISTAKES_MAX));
	if (text->mistakes->len > CONFIG_MISTAKES_MAX)
		return;
	mistake = g_string_new(place);
	g_string_append(mistake, ": ");
	g_string_append_vprintf(mistake, format, args);
	/* A value may have newlines, which would look like the end of the mistake. */
	g_string_replace(mistake, "\n", "\\n", 0);
	g_ptr_array_add(text->mistakes, g_string_free(g_steal_pointer(&mistake), FALSE));
}

static bool fail_at(const struct config_text *text, unsigned line, const char *format, ...) G_GNUC_PRINTF(3, 4);
static bool fail_at(const struct config_text *text, unsigned line, const char *format, ...)
{
	g_autofree char *place = place_of(text, line);
	va_list args;

	va_start(args, format);
	add_mistake(text, place, format, args);
	va_end(args);
	return false;
}

bool config_text_fail(const struct config_text *text, const char *group, const char *key, const char *format, ...)
{
	g_autofree char *place = config_text_place(text, group, key);
	va_list args;

	if (!g_hash_table_add(text->failed, line_key(group, key)))
		return false;
	va_start(args, format);
	add_mistake(text, place, format, args);
	va_end(args);
	return false;
}

bool config_text_failed(const struct config_text *text, const char *group, const char *key)
{
	g_autofree char *name = line_key(group, key);

	return g_hash_table_contains(text->failed, name);
}

void config_text_lose_group(const struct config_text *text)
{
	g_hash_table_add(text->failed, g_strdup(""));
}

/* Refuses devices and FIFOs: a read could block for ever. */
static bool check_regular(const struct config_text *text, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return fail_at(text, 0, "cannot read: %s", g_strerror(errno));
	if (S_ISDIR(st.st_mode))
		return fail_at(text, 0, "is a directory: name a file in it");
	if (!S_ISREG(st.st_mode))
		return fail_at(text, 0, "is not a regular file: name a file");
	return true;
}

static bool read_all(const struct config_text *text, int fd, GString *data)
{
	char buffer[4096];
	ssize_t length;

	while ((length = read(fd, buffer, sizeof(buffer))) != 0) {
		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0)
			return fail_at(text, 0, "cannot read: %s", g_strerror(errno));
		g_string_append_len(data, buffer, length);
		if (data->len > CONFIG_TEXT_MAX)
			return fail_at(text, 0, "is larger than 1 MiB: is this a configuration of dmemfsd?");
	}
	return true;
}

static bool read_file(const struct config_text *text, GString *data)
{
	int fd = open(text->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	bool done;

	if (fd < 0)
		return fail_at(text, 0, "cannot open: %s: %s", g_strerror(errno),
		               errno == EACCES && geteuid() ? "run as root"
		                                            : "name an existing, readable file with --config");
	done = check_regular(text, fd) && read_all(text, fd, data);
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

static bool check_encoding(const struct config_text *text, const GString *data)
{
	const char *end;

	if (g_utf8_validate(data->str, (gssize)data->len, &end))
		return true;
	return fail_at(text, line_at(data->str, end), "is not UTF-8 text: save the file as UTF-8");
}

static bool note_line(const struct config_text *text, const char *group, const char *key, unsigned number)
{
	unsigned before = line_of(text, group, key);

	if (before) {
		/* The right one of the two is not known. */
		g_hash_table_add(text->failed, line_key(group, key));
		return fail_at(text, number, "[%s]%s%s: is given twice, first in line %u: remove one of them", group,
		               key ? " " : "", key ? key : "", before);
	}
	g_hash_table_insert(text->lines, line_key(group, key), GUINT_TO_POINTER(number));
	return true;
}

/*
 * @line begins with "[", and should be "[NAME]". Is changed: @group points to the name in it, or is "" when there is none. A group
 * that is given twice is a mistake, but its keys are read, and @repeated set.
 */
static bool scan_group(const struct config_text *text, char *line, unsigned number, const char **group, bool *repeated)
{
	size_t length = strlen(line);

	*group = "";
	if (line[length - 1] != ']')
		return fail_at(text, number, "the line \"%s\" is not a group: write [NAME], and nothing after it",
		               line);
	line[length - 1] = '\0';
	if (!line[1] || strpbrk(line + 1, "[]"))
		return fail_at(text, number,
		               "\"%s\" is not the name of a group: use [daemon], [region NAME] or [quota NAME]",
		               line + 1);
	*group = line + 1;
	*repeated = !note_line(text, *group, NULL, number);
	return true;
}

/* @group: NULL before the first one, "" when it has no name. @repeated: it is given twice, so that its keys may be as well. */
static bool scan_key(const struct config_text *text, const char *line, unsigned number, const char *group,
                     bool repeated)
{
	const char *equals = strchr(line, '=');
	g_autofree char *key = g_strchomp(g_strndup(line, equals ? (gsize)(equals - line) : strlen(line)));

	if (!equals)
		return fail_at(text, number, "the line \"%s\" has no '=': write KEY=VALUE, or # before a comment",
		               line);
	if (!*key)
		return fail_at(text, number, "no key before '=': write KEY=VALUE");
	if (!group)
		return fail_at(text, number, "%s: is before the first group: put the line [daemon] before it", key);
	if (!*group || (repeated && line_of(text, group, key)))
		return false;
	return note_line(text, group, key, number);
}

/*
 * Notes where groups and keys are, and refuses what GKeyFile would accept. @lines have no white space at their ends. Lines that are
 * refused are emptied, and so are the keys of a group without a name.
 */
static void scan(const struct config_text *text, char *const *lines)
{
	g_autofree char *group_line = NULL;
	const char *group = NULL;
	bool repeated = false;

	for (unsigned i = 0; lines[i]; i++) {
		char *line = lines[i];
		bool good;

		if (!*line || *line == '#')
			continue;
		if (strlen(line) > CONFIG_LINE_MAX) {
			good = fail_at(text, i + 1, "the line is longer than %d bytes: shorten it", CONFIG_LINE_MAX);
			group = *line == '[' ? "" : group;
		} else if (*line == '[') {
			g_free(group_line);
			group_line = g_strdup(line);
			good = scan_group(text, group_line, i + 1, &group, &repeated);
		} else {
			good = scan_key(text, line, i + 1, group, repeated);
		}
		if (*line == '[' && group && !*group)
			config_text_lose_group(text);
		if (!good)
			*line = '\0';
	}
}

static bool parse(const struct config_text *text, const GString *data)
{
	g_auto(GStrv) lines = g_strsplit(data->str, "\n", -1);
	g_autofree char *stripped = NULL;
	g_autoptr(GError) reason = NULL;

	/* GKeyFile would keep white space at the end of a value, which is invisible in an editor. */
	for (char **line = lines; *line; line++)
		g_strstrip(*line);
	scan(text, lines);
	stripped = g_strjoinv("\n", lines);
	/* Translations are kept so that "key[de]" is an unknown key rather than ignored. */
	if (!g_key_file_load_from_data(text->keys, stripped, strlen(stripped), G_KEY_FILE_KEEP_TRANSLATIONS, &reason))
		return fail_at(text, 0, "%s: write [GROUP] lines and KEY=VALUE lines", reason->message);
	return true;
}

char *config_text_mistakes(const struct config_text *text)
{
	g_autoptr(GString) all = g_string_new(NULL);

	for (guint i = 0; i < text->mistakes->len; i++)
		g_string_append_printf(all, "%s%s", i ? "\n" : "", (const char *)g_ptr_array_index(text->mistakes, i));
	return g_string_free(g_steal_pointer(&all), FALSE);
}

bool config_text_read(const struct config_text *text)
{
	g_autoptr(GString) data = g_string_new(NULL);

	return read_file(text, data) && check_encoding(text, data) && parse(text, data);
}

struct config_text *config_text_new(const char *file)
{
	struct config_text *text = g_new0(struct config_text, 1);

	text->file = g_strdup(file);
	text->keys = g_key_file_new();
	text->lines = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	text->failed = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	text->mistakes = g_ptr_array_new_with_free_func(g_free);
	return text;
}

void config_text_destroy(struct config_text *text)
{
	if (!text)
		return;
	g_free(text->file);
	g_key_file_unref(text->keys);
	g_hash_table_unref(text->lines);
	g_hash_table_unref(text->failed);
	g_ptr_array_unref(text->mistakes);
	g_free(text);
}
