// SPDX-License-Identifier: GPL-2.0-or-later
/* The boot loaders that dmemfsctl plan knows, and how each gets the kernel's arguments. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/memmap_cmdline.h"
#include "base/page_order.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/plan.h"

#define GRUB_DEFAULTS "/etc/default/grub"
/* The first line of a file that may be replaced. */
#define GRUB_HEADER "# Written by dmemfsctl plan."
/* A file of Debian's package systemd-boot. */
#define SYSTEMD_BOOT_HOOK "/etc/kernel/postinst.d/zz-systemd-boot"
/* The arguments that kernel-install(8) uses when there is no /etc/kernel/cmdline. */
#define VENDOR_CMDLINE "/usr/lib/kernel/cmdline"

static bool exists(const char *root, const char *path)
{
	g_autofree char *full = g_strconcat(root, path, NULL);

	return g_file_test(full, G_FILE_TEST_EXISTS);
}

static bool has_grub(const char *root)
{
	return exists(root, GRUB_DEFAULTS);
}

static bool has_systemd_boot(const char *root)
{
	return exists(root, PLAN_KERNEL_CMDLINE) || exists(root, SYSTEMD_BOOT_HOOK);
}

static char *read_text(const char *root, const char *path)
{
	g_autofree char *full = g_strconcat(root, path, NULL);
	char *text = NULL;

	return g_file_get_contents(full, &text, NULL, NULL) ? text : NULL;
}

char *plan_arguments(const GArray *ranges)
{
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < ranges->len; i++) {
		const struct extent *extent = &g_array_index(ranges, struct machine_range, i).extent;
		g_autofree char *argument = memmap_cmdline_argument(extent->start, extent->length);

		g_string_append_printf(text, "%s%s", i ? " " : "", argument);
	}
	return g_string_free(text, FALSE);
}

char *plan_grub(const GArray *ranges)
{
	g_autofree char *plain = plan_arguments(ranges);
	g_auto(GStrv) parts = g_strsplit(plain, "$", -1);
	/* In double quotes the shell turns this into \$, which GRUB turns into $. */
	g_autofree char *quoted = g_strjoinv("\\\\\\$", parts);

	return g_strdup_printf(GRUB_HEADER " The $ must reach the kernel through a shell and through GRUB.\n"
	                                   "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT %s\"\n",
	                       quoted);
}

/* Fails when the file exists and was not written by this program. */
static char *grub_contents(const char *root, const GArray *ranges, GError **error)
{
	g_autofree char *former = read_text(root, PLAN_GRUB_DROP_IN);

	if (!former || g_str_has_prefix(former, GRUB_HEADER))
		return plan_grub(ranges);
	command_fail(error, STATUS_FAILED,
	             "%s" PLAN_GRUB_DROP_IN ": was not written by this program: move it away first", root);
	return NULL;
}

/* Did an earlier plan add this argument? Smaller ranges are the administrator's, who may keep bad memory from use. */
static bool is_planned(const char *argument)
{
	g_autoptr(GArray) ranges = memmap_cmdline_parse(argument);
	const struct extent *extent = ranges->len == 1 ? &g_array_index(ranges, struct extent, 0) : NULL;

	return extent && extent->start >= PLAN_LOWEST &&
	       (extent->start | extent->length) % plan_alignment(PAGE_ORDER_NONE) == 0;
}

/* Arguments that a boot loader adds by itself; kernel-install(8) drops the same ones. */
static bool is_of_boot_loader(const char *argument)
{
	return g_str_has_prefix(argument, "BOOT_IMAGE=") || g_str_has_prefix(argument, "initrd=");
}

static char *filter_line(const char *line)
{
	g_auto(GStrv) words = g_strsplit_set(line, " \t", -1);
	GString *kept = g_string_new(NULL);

	for (char **word = words; *word; word++) {
		if (**word && !is_planned(*word) && !is_of_boot_loader(*word))
			g_string_append_printf(kept, "%s%s", kept->len ? " " : "", *word);
	}
	return g_string_free(kept, FALSE);
}

char *plan_cmdline(const char *former, const GArray *ranges)
{
	g_autofree char *arguments = plan_arguments(ranges);
	g_auto(GStrv) lines = g_strsplit(former, "\n", -1);
	GString *text = g_string_new(NULL);
	gsize end = 0; /* the end of the last line that is not a comment */

	for (char **line = lines; *line; line++) {
		bool is_comment = g_str_has_prefix(g_strchug(*line), "#");
		g_autofree char *kept = is_comment ? g_strdup(*line) : filter_line(*line);

		if (!*kept)
			continue;
		g_string_append(text, kept);
		if (!is_comment)
			end = text->len;
		g_string_append_c(text, '\n');
	}
	if (end > 0) {
		g_string_insert(text, (gssize)end, arguments);
		g_string_insert_c(text, (gssize)end, ' ');
	} else {
		g_string_append_printf(text, "%s\n", arguments);
	}
	return g_string_free(text, FALSE);
}

/* The file replaces all arguments of the kernel, so it must also have the ones with which this kernel was started. */
static char *systemd_boot_contents(const char *root, const GArray *ranges, GError **error)
{
	static const char *const sources[] = { PLAN_KERNEL_CMDLINE, VENDOR_CMDLINE, "/proc/cmdline" };

	for (size_t i = 0; i < G_N_ELEMENTS(sources); i++) {
		g_autofree char *former = read_text(root, sources[i]);

		if (former)
			return plan_cmdline(former, ranges);
	}
	command_fail(error, STATUS_FAILED, "%s/proc/cmdline: cannot be read, so the kernel's arguments are not known",
	             root);
	return NULL;
}

static bool write_file(const char *path, const char *text, GError **error)
{
	g_autoptr(GError) reason = NULL;

	if (g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT | G_FILE_SET_CONTENTS_DURABLE, 0644,
	                             &reason))
		return true;
	command_fail(error, STATUS_FAILED, "%s: cannot write: %s%s", path, reason->message,
	             command_as_root(g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_ACCES) ? EACCES : 0));
	return false;
}

/* Reads a file of the boot loader. *@text: NULL when there is none; g_malloc'ed. False and @error: it cannot be read. */
static bool read_former(const char *path, char **text, GError **error)
{
	g_autoptr(GError) reason = NULL;

	*text = NULL;
	if (g_file_get_contents(path, text, NULL, &reason) ||
	    g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOENT) ||
	    g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_NOTDIR))
		return true;
	command_fail(error, STATUS_FAILED, "%s%s", reason->message,
	             command_as_root(g_error_matches(reason, G_FILE_ERROR, G_FILE_ERROR_ACCES) ? EACCES : 0));
	return false;
}

/* Is this what plan_grub() returned for some ranges? An administrator may have added lines, or arguments. */
static bool is_plan_grub(const char *text)
{
	static const char assignment[] = "GRUB_CMDLINE_LINUX_DEFAULT=\"$GRUB_CMDLINE_LINUX_DEFAULT ";
	g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
	g_auto(GStrv) words = NULL;

	if (g_strv_length(lines) != 3 || *lines[2] || !g_str_has_prefix(lines[0], GRUB_HEADER) ||
	    !g_str_has_prefix(lines[1], assignment) || !g_str_has_suffix(lines[1], "\""))
		return false;
	words = g_strsplit(lines[1] + strlen(assignment), " ", -1);
	for (char **word = words; *word; word++) {
		if (!g_str_has_prefix(*word, "memmap="))
			return false;
	}
	return true;
}

static bool grub_undo(const char *root, bool *undone, GError **error)
{
	g_autofree char *path = g_strconcat(root, PLAN_GRUB_DROP_IN, NULL);
	g_autofree char *former = NULL;

	if (!read_former(path, &former, error))
		return false;
	*undone = former;
	if (!former)
		return true;
	if (!g_str_has_prefix(former, GRUB_HEADER))
		command_fail(error, STATUS_FAILED,
		             "%s: was not written by this program: remove memmap= from it by hand", path);
	else if (!is_plan_grub(former))
		command_fail(error, STATUS_FAILED,
		             "%s: has more than this program wrote: remove memmap= from it by hand", path);
	else if (unlink(path) < 0)
		command_fail(error, STATUS_FAILED, "%s: cannot remove: %s%s", path, g_strerror(errno),
		             command_as_root(errno));
	else
		return true;
	return false;
}

/* Appends @line without the arguments of a plan, and not at all if it has only such ones. The rest stays as it is. */
static void append_unplanned(GString *text, const char *line)
{
	g_autoptr(GString) kept = g_string_new(NULL);
	gsize length = strlen(line);

	for (const char *at = line; *at;) {
		gsize space = strspn(at, " \t"), word = strcspn(at + space, " \t");
		g_autofree char *argument = g_strndup(at + space, word);

		if (!is_planned(argument))
			g_string_append_len(kept, at, (gssize)(space + word));
		at += space + word;
	}
	if (kept->len < length && !*g_strchug(kept->str))
		return;
	g_string_append_printf(text, "%s\n", kept->str);
}

/* @former without the arguments of a plan, g_malloc'ed. */
static char *unplanned(const char *former)
{
	g_auto(GStrv) lines = g_strsplit(former, "\n", -1);
	GString *text = g_string_new(NULL);

	for (char **line = lines; *line; line++) {
		if (line[0][strspn(*line, " \t")] == '#')
			g_string_append_printf(text, "%s\n", *line);
		else if (line[1] || **line)
			append_unplanned(text, *line);
	}
	if (!g_str_has_suffix(former, "\n") && text->len > 0)
		g_string_truncate(text, text->len - 1);
	return g_string_free(text, FALSE);
}

/* The file stays: without it kernel-install(8) would take the arguments of the running kernel, and so those of the plan. */
static bool systemd_boot_undo(const char *root, bool *undone, GError **error)
{
	g_autofree char *path = g_strconcat(root, PLAN_KERNEL_CMDLINE, NULL);
	g_autofree char *former = NULL, *text = NULL;

	if (!read_former(path, &former, error))
		return false;
	text = former ? unplanned(former) : NULL;
	*undone = g_strcmp0(former, text) != 0;
	return !*undone || write_file(path, text, error);
}

static const struct plan_loader loaders[] = {
	{ "grub", PLAN_GRUB_DROP_IN, "update-grub", has_grub, grub_contents, grub_undo },
	{ "systemd-boot", PLAN_KERNEL_CMDLINE, PLAN_KERNEL_INSTALL, has_systemd_boot, systemd_boot_contents,
	  systemd_boot_undo },
};

static const struct plan_loader *named_loader(const char *name, GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(loaders); i++) {
		if (strcmp(loaders[i].name, name) == 0)
			return &loaders[i];
	}
	command_fail(error, STATUS_USAGE, "--boot-loader %s: is not known: use grub or systemd-boot", name);
	return NULL;
}

const struct plan_loader *plan_find_loader(const char *root, const char *name, GError **error)
{
	const struct plan_loader *found = NULL;

	if (name)
		return named_loader(name, error);
	for (size_t i = 0; i < G_N_ELEMENTS(loaders); i++) {
		if (!loaders[i].is_there(root))
			continue;
		if (found) {
			command_fail(error, STATUS_FAILED,
			             "there are both GRUB and systemd-boot: name the one that boots this machine, "
			             "--boot-loader grub or --boot-loader systemd-boot");
			return NULL;
		}
		found = &loaders[i];
	}
	if (!found)
		command_fail(error, STATUS_FAILED,
		             "%s" GRUB_DEFAULTS " and %s" PLAN_KERNEL_CMDLINE " do not exist, so neither GRUB nor "
		             "systemd-boot can be configured: pass the arguments to your boot loader",
		             root, root);
	return found;
}

char *plan_write(const struct plan_loader *loader, const char *root, const GArray *ranges, GError **error)
{
	g_autofree char *text = loader->contents(root, ranges, error);
	g_autofree char *path = g_strconcat(root, loader->file, NULL);
	g_autofree char *directory = g_path_get_dirname(path);

	if (!text)
		return NULL;
	if (g_mkdir_with_parents(directory, 0755) < 0) {
		command_fail(error, STATUS_FAILED, "%s: %s%s", directory, g_strerror(errno), command_as_root(errno));
		return NULL;
	}
	return write_file(path, text, error) ? g_steal_pointer(&path) : NULL;
}

bool plan_undo(const char *root, const char *name, GPtrArray *undone, GError **error)
{
	const struct plan_loader *only = name ? named_loader(name, error) : NULL;

	if (name && !only)
		return false;
	for (size_t i = 0; i < G_N_ELEMENTS(loaders); i++) {
		bool done = false;

		if (only && only != &loaders[i])
			continue;
		if (!loaders[i].undo(root, &done, error)) {
			for (guint j = undone->len; j > 0; j--) {
				const struct plan_loader *loader = g_ptr_array_index(undone, j - 1);

				g_prefix_error(error, "%s%s: is taken back, run %s; but ", root, loader->file,
				               loader->next);
			}
			return false;
		}
		if (done)
			g_ptr_array_add(undone, (struct plan_loader *)&loaders[i]);
	}
	return true;
}
