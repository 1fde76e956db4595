// SPDX-License-Identifier: GPL-2.0-or-later
/* The command line of a running QEMU. */
#include "dmemfsctl/qemu_cmdline.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mounts.h"

/* The kernel passes no more to a program, unless its stack may be larger than 8 MiB. A process can claim any length later (prctl(2)). */
#define LONGEST (2 << 20)
/* How many objects count. QEMU has at most 256 slots for memory and 128 nodes. */
#define MOST  512
#define SPACE " \t\r\n"

static void memory_free(gpointer data)
{
	struct qemu_memory *memory = data;

	g_free(memory->id);
	g_free(memory->path);
	g_free(memory->root);
	g_free(memory);
}

/* The value of @name in QEMU's "TYPE,NAME=VALUE,...", in which a comma of a value is written twice. NULL: it has none. */
static char *value_of_option(const char *text, const char *name)
{
	char *found = NULL;

	while (*text) {
		g_autoptr(GString) item = g_string_new(NULL);

		for (; *text && (*text != ',' || text[1] == ','); text++) {
			text += *text == ',';
			g_string_append_c(item, *text);
		}
		text += *text == ',';
		if (!g_str_has_prefix(item->str, name) || item->str[strlen(name)] != '=')
			continue;
		g_free(found);
		found = g_strdup(item->str + strlen(name) + 1);
	}
	return found;
}

/* Where the value of @name begins in a JSON object; NULL: it has none. */
static const char *find_json(const char *text, const char *name)
{
	g_autofree char *key = g_strdup_printf("\"%s\"", name);

	while ((text = strstr(text, key))) {
		text += strlen(key);
		text += strspn(text, SPACE);
		if (*text == ':')
			return text + 1 + strspn(text + 1, SPACE);
	}
	return NULL;
}

/* The value of @name in a JSON object: of a string its text, of anything else as it is written. */
static char *value_of_json(const char *text, const char *name)
{
	const char *at = find_json(text, name);
	GString *value;

	if (!at)
		return NULL;
	if (*at != '"')
		return g_strndup(at, strcspn(at, ",}" SPACE));
	value = g_string_new(NULL);
	for (at++; *at && *at != '"'; at++) {
		at += *at == '\\' && at[1];
		g_string_append_c(value, *at);
	}
	return g_string_free(value, FALSE);
}

static char *value_of(const char *object, const char *name)
{
	return *object == '{' ? value_of_json(object, name) : value_of_option(object, name);
}

static bool is_on(const char *value)
{
	static const char *const words[] = { "on", "yes", "true", "y", NULL };

	return value && g_strv_contains(words, value);
}

static bool is_memory_file(const char *object)
{
	g_autofree char *type =
		*object == '{' ? value_of_json(object, "qom-type") : value_of_option(object, "qom-type");

	return g_strcmp0(type, "memory-backend-file") == 0 || g_str_has_prefix(object, "memory-backend-file,");
}

/* Takes ownership of @id and @path. */
static void add_memory(GPtrArray *found, char *id, char *path, bool prealloc)
{
	struct qemu_memory *memory = g_new0(struct qemu_memory, 1);

	memory->id = id ? id : g_strdup("?");
	memory->path = path;
	memory->prealloc = prealloc;
	if (path && found->len < MOST)
		g_ptr_array_add(found, memory);
	else
		memory_free(memory);
}

static void add_object(GPtrArray *found, const char *object)
{
	g_autofree char *prealloc = value_of(object, "prealloc");

	add_memory(found, value_of(object, "id"), value_of(object, "mem-path"), is_on(prealloc));
}

static bool is_option(const char *argument, const char *name)
{
	return *argument == '-' && strcmp(argument + 1 + (argument[1] == '-'), name) == 0;
}

GPtrArray *qemu_cmdline_parse(const char *const *arguments)
{
	GPtrArray *found = g_ptr_array_new_with_free_func(memory_free);
	bool prealloc_all = false;

	for (; *arguments; arguments++) {
		prealloc_all |= is_option(*arguments, "mem-prealloc");
		if (is_option(*arguments, "object") && arguments[1]) {
			arguments++;
			if (is_memory_file(*arguments))
				add_object(found, *arguments);
		} else if (is_option(*arguments, "mem-path") && arguments[1]) {
			arguments++;
			add_memory(found, g_strdup("of -mem-path"), g_strdup(*arguments), false);
		}
	}
	for (guint i = 0; prealloc_all && i < found->len; i++)
		((struct qemu_memory *)g_ptr_array_index(found, i))->prealloc = true;
	return found;
}

/* At most LONGEST bytes, and a NUL. NULL: nothing can be read. */
static char *read_arguments(pid_t pid, gsize *length)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/cmdline", (int)pid);
	g_autofree char *text = g_malloc(LONGEST + 1);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = 1;

	for (*length = 0; fd >= 0 && got > 0 && *length<LONGEST; *length += got> 0 ? (gsize)got : 0)
		got = read(fd, text + *length, LONGEST - *length);
	if (fd >= 0)
		close(fd);
	text[*length] = '\0';
	return *length > 0 ? g_steal_pointer(&text) : NULL;
}

static bool is_qemu(const char *argument)
{
	g_autofree char *program = g_path_get_basename(argument);

	return g_str_has_prefix(program, "qemu-system-") || g_str_has_prefix(program, "qemu-kvm") ||
	       strcmp(program, "kvm") == 0;
}

/* The mounts that the process sees. */
static GPtrArray *read_mounts(pid_t pid)
{
	g_autofree char *path = g_strdup_printf("/proc/%d/mountinfo", (int)pid);
	g_autofree char *text = NULL;

	return mounts_parse(g_file_get_contents(path, &text, NULL, NULL) ? text : "");
}

/* The working directory of the process, as its own root has it. */
static char *read_cwd(pid_t pid)
{
	g_autofree char *cwd_link = g_strdup_printf("/proc/%d/cwd", (int)pid);
	g_autofree char *root_link = g_strdup_printf("/proc/%d/root", (int)pid);
	g_autofree char *cwd = g_file_read_link(cwd_link, NULL);
	g_autofree char *root = g_file_read_link(root_link, NULL);
	size_t length = root && strcmp(root, "/") != 0 && cwd && g_str_has_prefix(cwd, root) ? strlen(root) : 0;

	return g_strdup(cwd && cwd[length] == '/' ? cwd + length : "/");
}

/*
 * It may have another working directory, or another root than this process. The list of mounts says what a path is on, because to
 * look at the path itself would block for ever on a network or FUSE mount whose server has stopped.
 */
static void see_from_here(pid_t pid, const GPtrArray *mounts, struct qemu_memory *memory)
{
	g_autofree char *cwd = read_cwd(pid);
	g_autofree char *path = memory->path;
	g_autofree char *whole = g_canonicalize_filename(path, cwd);
	/* It keeps two slashes at the beginning. */
	const char *real = whole + (whole[1] == '/');
	const struct mount_point *mount = mounts_of_path(mounts, real);

	memory->device = mount && !mounts_blocking_lexically(mounts, real) ? mount->device : 0;
	memory->root = g_strdup_printf("/proc/%d/root", (int)pid);
	memory->path = g_strdup(whole + strspn(whole, "/"));
}

bool qemu_memory_stat(const struct qemu_memory *memory, struct stat *st)
{
	/* A symbolic link, also of a directory, could lead to another mount. */
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	int root = open(memory->root, O_PATH | O_CLOEXEC);
	int fd = (int)syscall(SYS_openat2, root, *memory->path ? memory->path : ".", &how, sizeof(how));
	bool done = fd >= 0 && fstat(fd, st) == 0 && !S_ISLNK(st->st_mode);

	if (fd >= 0)
		close(fd);
	if (root >= 0)
		close(root);
	return done;
}

GPtrArray *qemu_cmdline_read(pid_t pid)
{
	g_autoptr(GPtrArray) arguments = g_ptr_array_new();
	g_autoptr(GPtrArray) mounts = NULL;
	GPtrArray *found;
	gsize length;
	g_autofree char *text = read_arguments(pid, &length);

	if (!text || !is_qemu(text))
		return NULL;
	for (gsize at = 0; at < length; at += strlen(text + at) + 1)
		g_ptr_array_add(arguments, text + at);
	g_ptr_array_add(arguments, NULL);
	found = qemu_cmdline_parse((const char *const *)arguments->pdata);
	mounts = read_mounts(pid);
	for (guint i = 0; i < found->len; i++)
		see_from_here(pid, mounts, g_ptr_array_index(found, i));
	return found;
}
