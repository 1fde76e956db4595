// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl doctor: finds what is wrong on this machine, and says what to do. */
#include "dmemfsctl/doctor.h"

#include <stdio.h>
#include <string.h>

#include "backend/memmap_cmdline.h"
#include "base/mountinfo.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/files.h"
#include "dmemfsctl/view.h"

static struct {
	char *config;
	char *root;
} arguments;

static const GOptionEntry options[] = { { "config", 'c', 0, G_OPTION_ARG_FILENAME, &arguments.config,
	                                  "The daemon's configuration, instead of " CONFIG_DEFAULT_FILE, "FILE" },
	                                { "root", 0, 0, G_OPTION_ARG_FILENAME, &arguments.root,
	                                  "Examine the files below DIR instead of /, and no mounts", "DIR" },
	                                G_OPTION_ENTRY_NULL };

static const struct {
	const char *name;
	void (*run)(struct doctor *doctor);
	bool here_only;
} checks[] = {
	{ "kernel", doctor_check_kernel, false },
	{ "fuse", doctor_check_fuse, false },
	{ "lockdown", doctor_check_lockdown, false },
	{ "reserved", doctor_check_reserved, false },
	{ "module", doctor_check_module, false },
	{ "write-back", doctor_check_write_back, false },
	{ "lending", doctor_check_lending, false },
	{ "huge-pages", doctor_check_huge_pages, false },
	{ "kvm", doctor_check_kvm, false },
	{ "config", doctor_check_config, true },
	{ "daemon", doctor_check_daemon, true },
	{ "state", doctor_check_state, true },
	{ "quotas", doctor_check_quotas, true },
	{ "libvirt", doctor_check_libvirt, false },
	{ "apparmor", doctor_check_apparmor, false },
	{ "mappings", doctor_check_mappings, true },
	{ "direct-io", doctor_check_direct_io, true },
	{ "vfio", doctor_check_vfio, true },
	{ "prealloc", doctor_check_prealloc, true },
};

static const char *const level_names[] = { [LEVEL_OK] = "ok", [LEVEL_NOTE] = "note", [LEVEL_PROBLEM] = "problem" };

static void finding_free(gpointer data)
{
	struct finding *finding = data;

	g_free(finding->text);
	g_free(finding->remedy);
	g_free(finding);
}

static guint count(const struct doctor *doctor, enum level level)
{
	guint sum = 0;

	for (guint i = 0; i < doctor->findings->len; i++)
		sum += ((const struct finding *)g_ptr_array_index(doctor->findings, i))->level == level;
	return sum;
}

static void print_findings(const struct doctor *doctor)
{
	guint problems = count(doctor, LEVEL_PROBLEM), notes = count(doctor, LEVEL_NOTE);

	for (guint i = 0; i < doctor->findings->len; i++) {
		const struct finding *finding = g_ptr_array_index(doctor->findings, i);

		printf("%-8s %-11s %s\n", level_names[finding->level], finding->check, finding->text);
		if (finding->remedy)
			printf("%20s -> %s\n", "", finding->remedy);
	}
	printf("%u problem%s, %u note%s\n", problems, problems == 1 ? "" : "s", notes, notes == 1 ? "" : "s");
}

static void describe(struct json *json, const struct doctor *doctor)
{
	json_unsigned(json, "problems", count(doctor, LEVEL_PROBLEM));
	json_unsigned(json, "notes", count(doctor, LEVEL_NOTE));
	json_begin_array(json, "findings");
	for (guint i = 0; i < doctor->findings->len; i++) {
		const struct finding *finding = g_ptr_array_index(doctor->findings, i);

		json_begin_object(json, NULL);
		json_string(json, "check", finding->check);
		json_string(json, "level", level_names[finding->level]);
		json_string(json, "text", finding->text);
		json_string(json, "remedy", finding->remedy);
		json_end(json);
	}
	json_end(json);
}

static GArray *read_reserved(const struct doctor *doctor)
{
	g_autofree char *cmdline = doctor_read(doctor, "/proc/cmdline");

	return memmap_cmdline_parse(cmdline ? cmdline : "");
}

/* Does a mount or the configuration use reserved RAM? Without a configuration: is some reserved? */
static bool uses_pfn(const struct doctor *doctor)
{
	return doctor_has_backend(doctor, "pfn") ||
	       (doctor->config ? doctor->config->backend == BACKEND_PFN : doctor->reserved->len > 0);
}

/* NULL without @error: there is no configuration. NULL with @error: it cannot be read. */
static struct config *find_config(const char *root, GError **error)
{
	g_autofree char *path = g_strconcat(root, CONFIG_DEFAULT_FILE, NULL);

	if (arguments.config)
		return config_load(arguments.config, error);
	return g_file_test(path, G_FILE_TEST_EXISTS) ? config_load(path, error) : NULL;
}

static bool has_view(const GPtrArray *views, dev_t device)
{
	for (guint i = 0; i < views->len; i++) {
		if (((const struct view *)g_ptr_array_index(views, i))->device == device)
			return true;
	}
	return false;
}

/* @views: the dmemfs whose daemons answer. */
static GPtrArray *read_mounts(const GPtrArray *views)
{
	GPtrArray *mounts = mountinfo_read(NULL);

	if (!mounts)
		return g_ptr_array_new();
	for (guint i = 0; i < mounts->len; i++) {
		struct mount_point *mount = g_ptr_array_index(mounts, i);

		mount->may_block |= mount->is_dmemfs && !has_view(views, mount->device);
	}
	return mounts;
}

static void examine(struct doctor *doctor)
{
	g_autoptr(GArray) reserved = read_reserved(doctor);

	doctor->reserved = reserved;
	doctor->pfn = uses_pfn(doctor);
	for (size_t i = 0; i < G_N_ELEMENTS(checks); i++) {
		doctor->check = checks[i].name;
		if (doctor->here || !checks[i].here_only)
			checks[i].run(doctor);
	}
}

static enum status run(const struct invocation *invocation, GError **error)
{
	const char *root = arguments.root ? arguments.root : "";
	g_autoptr(GError) config_error = NULL;
	g_autoptr(GPtrArray) views_errors = g_ptr_array_new_with_free_func((GDestroyNotify)g_error_free);
	g_autoptr(config_t) config = find_config(root, &config_error);
	g_autoptr(GPtrArray) views = arguments.root ? g_ptr_array_new() : view_open_all(views_errors);
	g_autoptr(GPtrArray) mounts = arguments.root ? g_ptr_array_new() : read_mounts(views);
	g_autoptr(GPtrArray) findings = g_ptr_array_new_with_free_func(finding_free);
	g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func((GDestroyNotify)files_destroy);
	struct doctor doctor = {
		.root = root,
		.here = !arguments.root,
		.config = config,
		.config_error = config_error,
		.mounts = mounts,
		.views = views,
		.views_errors = views_errors,
		.findings = findings,
		.files = files,
	};

	if (!g_file_test(*root ? root : "/", G_FILE_TEST_IS_DIR))
		return command_fail(error, STATUS_FAILED, "%s: is not a directory: name the root of a system", root);
	examine(&doctor);
	if (invocation->json)
		describe(invocation->json, &doctor);
	else
		print_findings(&doctor);
	return count(&doctor, LEVEL_PROBLEM) ? STATUS_FOUND : STATUS_DONE;
}

const struct command command_doctor = {
	.name = "doctor",
	.operands = "",
	.summary = "Find what is wrong on this machine, and say what to do",
	.details = "Changes nothing. Run it as root: other users cannot see the module and all processes.",
	.options = options,
	.run = run,
};
