// SPDX-License-Identifier: GPL-2.0-or-later
/* The virtual extended attributes "dmemfs.*" and "trusted.dmemfs.*". */
#include "vxattr.h"

#include <errno.h>
#include <linux/limits.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "quota_limit.h"
#include "zeroer.h"

#define PREFIX  "dmemfs."
#define TRUSTED "trusted."

bool vxattr_is_virtual(const char *name)
{
	return g_str_has_prefix(name, PREFIX) || g_str_has_prefix(name, TRUSTED PREFIX);
}

/* "OFFSET START LENGTH" in decimal bytes, a line per run, in file order. */
static int get_extents(struct server *server, uint64_t ino, char **value)
{
	struct file *file;
	int err = namespace_get_file(server->ns, ino, &file);

	if (err)
		return err == -ENOENT ? err : -ENODATA;
	*value = file_describe_extents(file);
	namespace_put_file(server->ns, ino);
	return 0;
}

/* Of "OFFSET ..." lines those from @from on, as many whole ones as an attribute can hold. At least one if there is any. */
static char *cut_extents(const char *text, uint64_t from)
{
	const char *end;

	while (*text && g_ascii_strtoull(text, NULL, 10) < from)
		text += strcspn(text, "\n") + (strchr(text, '\n') != NULL);
	end = text + strlen(text);
	if (end - text > XATTR_SIZE_MAX)
		end = g_strrstr_len(text, XATTR_SIZE_MAX, "\n");
	return g_strndup(text, (gsize)(end - text));
}

/* "dmemfs.extents@OFFSET": for files with more runs than fit into one attribute, one part after the other. */
static int get_extents_from(struct server *server, uint64_t ino, const char *offset, char **value)
{
	g_autofree char *all = NULL;
	uint64_t from;
	int err;

	if (!config_parse_size(offset, &from, NULL))
		return -ENODATA;
	err = get_extents(server, ino, &all);
	if (!err)
		*value = cut_extents(all, from);
	return err;
}

/* "SIZE COUNT", a line per page size: the faults that a page of it served. */
static int get_faults(struct server *server, uint64_t ino, char **value)
{
	struct file *file;
	int err = namespace_get_file(server->ns, ino, &file);

	if (err)
		return err == -ENOENT ? err : -ENODATA;
	*value = file_describe_faults(file);
	namespace_put_file(server->ns, ino);
	return *value ? 0 : -ENODATA;
}

static int get_page_size(struct server *server, uint64_t ino, char **value)
{
	uint64_t unit;
	int err = namespace_get_page_size(server->ns, ino, &unit);

	if (!err)
		*value = config_format_size(unit);
	return err;
}

static int set_page_size(struct server *server, uid_t uid, uint64_t ino, const void *value, size_t size, int flags)
{
	g_autofree char *text = value ? g_strndup(value, size) : NULL;
	uint64_t unit = 0;

	if (text) {
		if (size && text[size - 1] == '\n')
			text[size - 1] = '\0';
		if (memchr(value, 0, size) || !config_parse_page_size(text, &unit))
			return -EINVAL;
	}
	return namespace_set_page_size(server->ns, ino, uid, unit, flags);
}

static int get_alloc(struct server *server, uint64_t ino, char **value)
{
	bool demand, discard;
	int err = namespace_get_mode(server->ns, ino, &demand, &discard);

	if (!err)
		*value = g_strdup(demand ? "demand" : "eager");
	return err;
}

/* The text of an attribute, without the line feed of who used echo; NULL: none, or with NUL in it. */
static char *text_of(const void *value, size_t size)
{
	char *text = value && !memchr(value, 0, size) ? g_strndup(value, size) : NULL;

	if (text && size && text[size - 1] == '\n')
		text[size - 1] = '\0';
	return text;
}

static int set_alloc(struct server *server, uid_t uid, uint64_t ino, const void *value, size_t size, int flags)
{
	g_autofree char *text = text_of(value, size);

	return value && !text ? -EINVAL : namespace_set_alloc(server->ns, ino, uid, text, flags);
}

static int get_discard(struct server *server, uint64_t ino, char **value)
{
	bool demand, discard;
	int err = namespace_get_mode(server->ns, ino, &demand, &discard);

	if (!err)
		*value = g_strdup(discard ? "1" : "0");
	return err;
}

static int set_discard(struct server *server, uid_t uid, uint64_t ino, const void *value, size_t size, int flags)
{
	g_autofree char *text = text_of(value, size);

	(void)flags;
	if (value && (!text || (strcmp(text, "0") != 0 && strcmp(text, "1") != 0)))
		return -EINVAL;
	return namespace_set_discard(server->ns, ino, uid, text && strcmp(text, "1") == 0);
}

/* "name value", a line per figure; sizes in bytes. On the root only. */
static int get_stats(struct server *server, uint64_t ino, char **value)
{
	struct placement_usage usage;
	struct namespace_counts counts;
	struct zeroer_stats zeroing;

	if (ino != NAMESPACE_ROOT_INO)
		return -ENODATA;
	namespace_get_counts(server->ns, &counts);
	placement_get_usage(server->storage.placement, &usage);
	zeroer_get_stats(server->storage.zeroer, &zeroing);

	const struct {
		const char *name;
		uint64_t value;
	} figures[] = {
		{ "capacity_bytes", usage.capacity }, { "free_bytes", usage.free },
		{ "free_2m_bytes", usage.free_2m },   { "free_1g_bytes", usage.free_1g },
		{ "pending_bytes", usage.pending },   { "allocated_bytes", counts.allocated },
		{ "promised_bytes", usage.promised },
		{ "inodes", counts.inodes },          { "files", counts.files },
		{ "directories", counts.directories }, { "clean_bytes", usage.clean },
		{ "dirty_bytes", usage.dirty },       { "zeroing_bytes", usage.zeroing },
		{ "zeroed_bytes", zeroing.zeroed },   { "zeroing_rate", zeroing.rate },
		{ "zeroing_workers", zeroing.workers },
		{ "poisoned_bytes", usage.poisoned },  { "poisoned_used_bytes", usage.poisoned_used },
	};
	GString *text = g_string_new(NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(figures); i++)
		g_string_append_printf(text, "%s%s %" G_GUINT64_FORMAT, i ? "\n" : "", figures[i].name, figures[i].value);
	*value = g_string_free(text, FALSE);
	return 0;
}

/* "START LENGTH FREE NODE", a line per region; bytes, and node -1 where it is unknown. On the root only. */
static int get_regions(struct server *server, uint64_t ino, char **value)
{
	if (ino != NAMESPACE_ROOT_INO)
		return -ENODATA;

	g_autoptr(GArray) regions = placement_get_regions(server->storage.placement);
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < regions->len; i++) {
		const struct placement_region *region = &g_array_index(regions, struct placement_region, i);

		g_string_append_printf(text, "%s%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %d",
		                       i ? "\n" : "", region->extent.start, region->extent.length, region->free, region->node);
	}
	*value = g_string_free(text, FALSE);
	return 0;
}

/* "name value", a line each: who serves this mount. On the root only. */
static int get_daemon(struct server *server, uint64_t ino, char **value)
{
	if (ino != NAMESPACE_ROOT_INO)
		return -ENODATA;
	*value = g_strdup_printf("version " DMEMFS_VERSION "\npid %d\nbackend %s\nstate_dir %s", (int)getpid(),
	                         server->storage.ops->name, server->config->state_dir);
	return 0;
}

static int get_limit(struct server *server, uint64_t ino, enum quota_resource resource, char **value)
{
	struct quota_usage usage;
	int err = namespace_get_quota(server->ns, ino, &usage);

	if (err)
		return err;
	if (usage.max.of[resource] == QUOTA_UNLIMITED)
		return -ENODATA;
	*value = quota_limit_format(resource, usage.max.of[resource]);
	return 0;
}

static int get_max_bytes(struct server *server, uint64_t ino, char **value)
{
	return get_limit(server, ino, QUOTA_BYTES, value);
}

static int get_max_files(struct server *server, uint64_t ino, char **value)
{
	return get_limit(server, ino, QUOTA_FILES, value);
}

/* In decimal: what a directory with a limit, or the root, holds. */
static int get_used(struct server *server, uint64_t ino, enum quota_resource resource, char **value)
{
	struct quota_usage usage;
	int err = namespace_get_quota(server->ns, ino, &usage);

	if (!err)
		*value = g_strdup_printf("%" G_GUINT64_FORMAT, usage.used.of[resource]);
	return err;
}

static int get_used_bytes(struct server *server, uint64_t ino, char **value)
{
	return get_used(server, ino, QUOTA_BYTES, value);
}

static int get_used_files(struct server *server, uint64_t ino, char **value)
{
	return get_used(server, ino, QUOTA_FILES, value);
}

/* Why the directory cannot have a limit, as quota_check.c asks. O(what is below). */
static int get_obstacle(struct server *server, uint64_t ino, char **value)
{
	int err = namespace_may_limit(server->ns, ino);

	if (err != -EXDEV)
		return err ? err : -ENODATA;
	*value = g_strdup("hard links lead out of it");
	return 0;
}

/* Also on directories that belong to others. */
static int set_limit(struct server *server, uint64_t ino, enum quota_resource resource, const void *value, size_t size,
                     int flags)
{
	uint64_t max = QUOTA_UNLIMITED;

	if (value && !quota_limit_parse(resource, value, size, &max))
		return -EINVAL;
	return namespace_set_limit(server->ns, ino, resource, max, flags);
}

static int set_max_bytes(struct server *server, uid_t uid, uint64_t ino, const void *value, size_t size, int flags)
{
	(void)uid;
	return set_limit(server, ino, QUOTA_BYTES, value, size, flags);
}

static int set_max_files(struct server *server, uid_t uid, uint64_t ino, const void *value, size_t size, int flags)
{
	(void)uid;
	return set_limit(server, ino, QUOTA_FILES, value, size, flags);
}

static int get_node(struct server *server, uint64_t ino, char **value)
{
	g_autoptr(node_policy_t) policy = NULL;
	int err = namespace_get_node(server->ns, ino, &policy);

	if (!err)
		*value = node_policy_format(policy);
	return err;
}

static int set_node(struct server *server, uid_t uid, uint64_t ino, const void *value, size_t size, int flags)
{
	g_autoptr(node_policy_t) policy = value ? node_policy_parse(value, size) : NULL;

	if (value && !policy)
		return -EINVAL;
	return namespace_set_node(server->ns, ino, uid, policy, flags);
}

/* "NODE BYTES", a line per node that has some of the file's memory. */
static int get_node_bytes(struct server *server, uint64_t ino, char **value)
{
	struct file *file;
	int err = namespace_get_file(server->ns, ino, &file);

	if (err)
		return err == -ENOENT ? err : -ENODATA;
	*value = file_describe_nodes(file);
	namespace_put_file(server->ns, ino);
	return 0;
}

/* "OFFSET START LENGTH", a line for each run of memory that went bad. */
static int get_poison(struct server *server, uint64_t ino, char **value)
{
	struct file *file;
	int err = namespace_get_file(server->ns, ino, &file);

	if (err)
		return err == -ENOENT ? err : -ENODATA;
	*value = file_describe_poison(file);
	namespace_put_file(server->ns, ino);
	return 0;
}

enum {
	ROOT_READS = 1, /* it has physical addresses in it, or takes long */
	ADMIN_SETS = 2, /* under its trusted name only */
};

struct attribute {
	const char *name;
	unsigned flags;
	int (*get)(struct server *server, uint64_t ino, char **value);
	/* NULL: read-only. Arguments as of vxattr_set(). */
	int (*set)(struct server *server, uid_t uid, uint64_t ino, const void *value, size_t size, int flags);
};

static const struct attribute attributes[] = {
	{ PREFIX "alloc", 0, get_alloc, set_alloc },
	{ PREFIX "daemon", 0, get_daemon, NULL },
	{ PREFIX "discard", 0, get_discard, set_discard },
	{ PREFIX "extents", ROOT_READS, get_extents, NULL },
	{ PREFIX "faults", 0, get_faults, NULL },
	{ PREFIX "node", 0, get_node, set_node },
	{ PREFIX "node_bytes", 0, get_node_bytes, NULL },
	{ PREFIX "page_size", 0, get_page_size, set_page_size },
	{ PREFIX "poison", ROOT_READS, get_poison, NULL },
	{ PREFIX "quota.max_bytes", ADMIN_SETS, get_max_bytes, set_max_bytes },
	{ PREFIX "quota.max_files", ADMIN_SETS, get_max_files, set_max_files },
	{ PREFIX "quota.obstacle", ROOT_READS, get_obstacle, NULL },
	{ PREFIX "quota.used_bytes", 0, get_used_bytes, NULL },
	{ PREFIX "quota.used_files", 0, get_used_files, NULL },
	{ PREFIX "regions", ROOT_READS, get_regions, NULL },
	{ PREFIX "stats", 0, get_stats, NULL },
};

static const struct attribute *find_attribute(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++) {
		if (strcmp(name, attributes[i].name) == 0)
			return &attributes[i];
	}
	return NULL;
}

/* True: the kernel has found the caller to have CAP_SYS_ADMIN. *@name loses what says so. */
static bool is_trusted(const char **name)
{
	bool trusted = g_str_has_prefix(*name, TRUSTED);

	if (trusted)
		*name += strlen(TRUSTED);
	return trusted;
}

int vxattr_get(struct server *server, uid_t uid, uint64_t ino, const char *name, char **value)
{
	bool root = is_trusted(&name) || uid == 0;
	const char *from = g_str_has_prefix(name, PREFIX "extents@") ? strchr(name, '@') + 1 : NULL;
	const struct attribute *attribute = find_attribute(from ? PREFIX "extents" : name);

	if (!attribute)
		return -ENODATA;
	if ((attribute->flags & ROOT_READS) && !root)
		return -EPERM;
	return from ? get_extents_from(server, ino, from, value) : attribute->get(server, ino, value);
}

int vxattr_set(struct server *server, uid_t uid, uint64_t ino, const char *name, const void *value, size_t size,
               int flags)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	bool trusted = is_trusted(&name);
	const struct attribute *attribute = find_attribute(name);

	if (!attribute || !attribute->set)
		return -EPERM;
	if ((attribute->flags & ADMIN_SETS) && !trusted) {
		/* A request names a user, which may be root without any capability, or that of a container. */
		if (uid == 0)
			log_limited(&limit, LOG_LEVEL_INFO, "%s is not set: set " TRUSTED "%s, for which the kernel demands "
			            "CAP_SYS_ADMIN, or use dmemfsctl quota", name, name);
		return -EPERM;
	}
	return attribute->set(server, trusted ? 0 : uid, ino, value, size, flags);
}
