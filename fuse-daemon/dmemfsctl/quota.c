// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl quota: shows and sets the limits of a directory tree. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "config/config.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/text.h"
#include "dmemfsctl/view.h"
#include "quota/quota_limit.h"

static struct {
	char *max[QUOTA_RESOURCES]; /* NULL: do not change the limit; "none": remove it */
} arguments;

static const GOptionEntry options[] = { { "max-bytes", 'b', 0, G_OPTION_ARG_STRING, &arguments.max[QUOTA_BYTES],
	                                  "How much memory the files of the tree may take, or none", "SIZE" },
	                                { "max-files", 'f', 0, G_OPTION_ARG_STRING, &arguments.max[QUOTA_FILES],
	                                  "How many files and directories there may be in it, or none", "N" },
	                                G_OPTION_ENTRY_NULL };

static const char *const option_names[QUOTA_RESOURCES] = {
	[QUOTA_BYTES] = "--max-bytes", [QUOTA_FILES] = "--max-files"
};
static const char *const used_names[QUOTA_RESOURCES] = {
	[QUOTA_BYTES] = "dmemfs.quota.used_bytes",
	[QUOTA_FILES] = "dmemfs.quota.used_files",
};

/* Usage and limit of one resource. */
struct tree_quota {
	bool is_known; /* the daemon counts usage: the directory has a limit, or is the root */
	uint64_t used;
	uint64_t max; /* QUOTA_UNLIMITED: none */
};

static bool is_none(const char *text)
{
	return strcmp(text, "none") == 0;
}

/* Checks both options before the first limit is changed. */
static bool check_options(GError **error)
{
	for (guint i = 0; i < QUOTA_RESOURCES; i++) {
		const char *text = arguments.max[i];
		uint64_t max;

		if (!text || is_none(text) || quota_limit_parse((enum quota_resource)i, text, strlen(text), &max))
			continue;
		command_fail(error, STATUS_USAGE, "%s %s: is no limit: %s", option_names[i], text,
		             i == QUOTA_BYTES ? "name a size such as 64G, or none"
		                              : "name a number from 1 on, or none");
		return false;
	}
	return true;
}

/* Sets or removes a limit. Removing a limit that does not exist succeeds. -1 and errno on failure. */
static int change(const char *directory, enum quota_resource resource, const char *text)
{
	g_autofree char *name = g_strconcat("trusted.", quota_limit_name(resource), NULL);

	if (!is_none(text))
		return setxattr(directory, name, text, strlen(text), 0);
	return removexattr(directory, name) < 0 && errno != ENODATA ? -1 : 0;
}

static bool fail_to_change(const char *directory, enum quota_resource resource, int err, GError **error)
{
	const char *remedy =
		err == EPERM || err == EACCES
			? "only root sets limits, with CAP_SYS_ADMIN, and not from a container: run as root on the host"
		: err == EXDEV ? "a hard link leads into or out of the tree, which is not possible with a limit: "
				 "remove one of its names"
			       : "see dmemfs(7)";

	command_fail(error, STATUS_FAILED, "%s: %s: %s: %s", directory, option_names[resource], g_strerror(err),
	             remedy);
	return false;
}

static bool change_all(const char *directory, GError **error)
{
	for (guint i = 0; i < QUOTA_RESOURCES; i++) {
		if (arguments.max[i] && change(directory, (enum quota_resource)i, arguments.max[i]) < 0)
			return fail_to_change(directory, (enum quota_resource)i, errno, error);
	}
	return true;
}

/* A number, or @missing when there is no such attribute. */
static bool read_number(const char *directory, const char *name, uint64_t missing, uint64_t *number, GError **error)
{
	char text[32]; /* of 64 bits, in decimal or with a unit */
	ssize_t length = getxattr(directory, name, text, sizeof(text) - 1);

	*number = missing;
	if (length < 0 && errno != ENODATA) {
		command_fail(error, STATUS_FAILED, "%s: %s: %s", directory, name, g_strerror(errno));
		return false;
	}
	text[MAX(length, 0)] = '\0';
	return length < 0 || config_parse_size(text, number, error);
}

static bool read_all(const char *directory, struct tree_quota *quotas, GError **error)
{
	for (guint i = 0; i < QUOTA_RESOURCES; i++) {
		struct tree_quota *quota = &quotas[i];

		if (!read_number(directory, used_names[i], UINT64_MAX, &quota->used, error) ||
		    !read_number(directory, quota_limit_name((enum quota_resource)i), QUOTA_UNLIMITED, &quota->max,
		                 error))
			return false;
		quota->is_known = quota->used != UINT64_MAX;
	}
	return true;
}

static char *amount(guint resource, uint64_t number)
{
	return resource == QUOTA_BYTES ? text_size(number) : g_strdup_printf("%" G_GUINT64_FORMAT, number);
}

static void print_quotas(const char *directory, const struct tree_quota *quotas)
{
	static const char *const headers[] = { "", ">USED", ">LIMIT", ">USED/LIMIT", NULL };
	static const char *const names[QUOTA_RESOURCES] = { [QUOTA_BYTES] = "bytes", [QUOTA_FILES] = "files" };
	g_autoptr(table_t) table = table_new(headers);
	g_autofree char *name = text_visible(directory);
	g_autofree char *text = NULL;

	if (!quotas[QUOTA_BYTES].is_known) {
		printf("%s: no limit\n", name);
		return;
	}
	for (guint i = 0; i < QUOTA_RESOURCES; i++) {
		bool is_limited = quotas[i].max != QUOTA_UNLIMITED;

		table_add(table, names[i]);
		table_take(table, amount(i, quotas[i].used));
		table_take(table, is_limited ? amount(i, quotas[i].max) : g_strdup("none"));
		table_take(table, is_limited ? text_share(quotas[i].used, quotas[i].max) : g_strdup("-"));
	}
	text = table_text(table, "  ");
	printf("%s\n%s", name, text);
}

static void describe_number(struct json *json, const char *key, bool is_there, uint64_t number)
{
	if (is_there)
		json_unsigned(json, key, number);
	else
		json_null(json, key);
}

static void describe(struct json *json, const char *directory, const struct tree_quota *quotas)
{
	json_string(json, "directory", directory);
	for (guint i = 0; i < QUOTA_RESOURCES; i++) {
		describe_number(json, i == QUOTA_BYTES ? "used_bytes" : "used_files", quotas[i].is_known,
		                quotas[i].used);
		describe_number(json, i == QUOTA_BYTES ? "max_bytes" : "max_files", quotas[i].max != QUOTA_UNLIMITED,
		                quotas[i].max);
	}
}

static enum status run(const struct invocation *invocation, GError **error)
{
	struct tree_quota quotas[QUOTA_RESOURCES];
	g_autofree char *directory = NULL;

	if (!check_options(error))
		return STATUS_USAGE;

	g_autoptr(view_t) view = view_open(invocation->operands[0], error);

	if (!view)
		return STATUS_FAILED;
	directory = realpath(invocation->operands[0], NULL);
	if (!directory || !g_file_test(directory, G_FILE_TEST_IS_DIR))
		return command_fail(error, STATUS_FAILED, "%s: is not a directory: name one on dmemfs",
		                    invocation->operands[0]);
	if (!change_all(directory, error) || !read_all(directory, quotas, error))
		return STATUS_FAILED;
	if (invocation->json)
		describe(invocation->json, directory, quotas);
	else
		print_quotas(directory, quotas);
	return STATUS_DONE;
}

const struct command command_quota = {
	.name = "quota",
	.operands = "DIR",
	.summary = "Show or set the limits of a directory tree",
	.details =
		"A limit holds for everything below the directory until it is set to none. Only root can set limits, and\n"
		"not in a container. Without options the command changes nothing.",
	.options = options,
	.operands_min = 1,
	.operands_max = 1,
	.run = run,
};
