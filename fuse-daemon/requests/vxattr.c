// SPDX-License-Identifier: GPL-2.0-or-later
/* The virtual extended attributes "dmemfs.*" and "trusted.dmemfs.*". */
#include "requests/vxattr.h"

#include <errno.h>
#include <linux/limits.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/page_order.h"
#include "file/pins.h"
#include "file/zeroer.h"
#include "pool/pool.h"
#include "pool/pool_lent.h"
#include "quota/quota_limit.h"
#include "store/store.h"

#define PREFIX  "dmemfs."
#define TRUSTED "trusted."

bool vxattr_is_virtual(const char *name)
{
	return g_str_has_prefix(name, PREFIX) || g_str_has_prefix(name, TRUSTED PREFIX);
}

/* *@value: what @describe returns for the regular file @ino. */
static int get_of_file(struct server *server, uint64_t ino, char *(*describe)(struct file *file), char **value)
{
	struct file *file;
	int err = namespace_get_file(server->ns, ino, &file);

	if (err)
		return err == -ENOENT ? err : -ENODATA;
	*value = describe(file);
	namespace_put_file(server->ns, ino);
	return *value ? 0 : -ENODATA;
}

/* The lines ("OFFSET ...") of @text whose offset is at least @from, as many whole ones as fit into an attribute. */
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

/* "dmemfs.extents@OFFSET": lets a client read the runs in parts, when they do not fit into one attribute. */
static int get_extents_from(struct server *server, uint64_t ino, const char *offset, char **value)
{
	g_autofree char *all = NULL;
	uint64_t from;
	int err;

	if (!config_parse_size(offset, &from, NULL))
		return -ENODATA;
	err = get_of_file(server, ino, file_describe_extents, &all);
	if (!err)
		*value = cut_extents(all, from);
	return err;
}

static int get_page_size(struct server *server, uint64_t ino, char **value)
{
	uint64_t unit;
	int err = namespace_get_page_size(server->ns, ino, &unit);

	if (!err)
		*value = config_format_size(unit);
	return err;
}

static int set_page_size(struct server *server, uid_t uid, uint64_t ino, const char *text, int flags)
{
	uint64_t unit = 0;

	if (text && !config_parse_page_size(text, &unit))
		return -EINVAL;
	return namespace_set_page_size(server->ns, ino, uid, unit, flags);
}

static int get_pages(struct server *server, uint64_t ino, char **value)
{
	unsigned order;
	int err = namespace_get_pages(server->ns, ino, &order);

	if (!err)
		*value = g_strdup(page_order_name(order));
	return err;
}

static int set_pages(struct server *server, uid_t uid, uint64_t ino, const char *text, int flags)
{
	return namespace_set_pages(server->ns, ino, uid, text, flags);
}

static int get_alloc(struct server *server, uint64_t ino, char **value)
{
	bool demand, discard;
	int err = namespace_get_alloc(server->ns, ino, &demand, &discard);

	if (!err)
		*value = g_strdup(demand ? "demand" : "eager");
	return err;
}

static int set_alloc(struct server *server, uid_t uid, uint64_t ino, const char *text, int flags)
{
	return namespace_set_alloc(server->ns, ino, uid, text, flags);
}

static int get_discard(struct server *server, uint64_t ino, char **value)
{
	bool demand, discard;
	int err = namespace_get_alloc(server->ns, ino, &demand, &discard);

	if (!err)
		*value = g_strdup(discard ? "1" : "0");
	return err;
}

static int set_discard(struct server *server, uid_t uid, uint64_t ino, const char *text, int flags)
{
	(void)flags;
	if (text && strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
		return -EINVAL;
	return namespace_set_discard(server->ns, ino, uid, text && strcmp(text, "1") == 0);
}

static int get_lost_contents(struct server *server, uint64_t ino, char **value)
{
	const char *set;
	int err = namespace_get_lost_contents(server->ns, ino, &set);

	if (!err)
		*value = g_strdup(set ? set : server->config->lost_contents == LOST_REMOVE ? "remove" : "zero");
	return err;
}

static int set_lost_contents(struct server *server, uid_t uid, uint64_t ino, const char *text, int flags)
{
	return namespace_set_lost_contents(server->ns, ino, uid, text, flags);
}

/* One "NAME VALUE" line for each figure; sizes in bytes. */
static int get_stats(struct server *server, uint64_t ino, char **value)
{
	struct pool_usage usage;
	struct namespace_counts counts;
	struct zeroer_stats zeroing;
	struct pool_lending lending;

	(void)ino;
	namespace_get_counts(server->ns, &counts);
	pool_get_usage(server->storage.pool, &usage);
	zeroer_get_stats(server->storage.zeroer, &zeroing);
	pool_get_lending(server->storage.pool, &lending);

	const struct {
		const char *name;
		uint64_t value;
	} figures[] = {
		{ "capacity_bytes", usage.capacity },
		{ "free_bytes", usage.free },
		{ "free_2m_bytes", usage.free_2m },
		{ "free_1g_bytes", usage.free_1g },
		{ "pending_bytes", usage.pending },
		{ "allocated_bytes", usage.allocated },
		{ "removed_bytes", namespace_removed_bytes(server->ns) },
		{ "promised_bytes", usage.promised },
		{ "inodes", counts.inodes },
		{ "files", counts.files },
		{ "directories", counts.directories },
		{ "clean_bytes", usage.clean },
		{ "dirty_bytes", usage.dirty },
		{ "zeroing_bytes", usage.zeroing },
		{ "zeroed_bytes", zeroing.zeroed },
		{ "zeroing_rate", zeroing.rate },
		{ "zeroing_workers", zeroing.workers },
		{ "pinned_bytes", usage.pinned + usage.pinned_former },
		{ "pinned_former_bytes", usage.pinned_former },
		{ "pinned_oldest_seconds", pins_oldest(&server->storage) },
		{ "poisoned_bytes", usage.poisoned },
		{ "poisoned_used_bytes", usage.poisoned_used },
		{ "lent_bytes", usage.lent },
		{ "lent_taking_bytes", lending.taking },
		{ "lent_refused_bytes", lending.refused },
		{ "lent_unit_bytes", lending.unit },
		{ "lent_units_taken", lending.taken },
		{ "lent_last_take_ms", lending.last_take / 1000 },
	};
	GString *text = g_string_new(NULL);

	for (size_t i = 0; i < G_N_ELEMENTS(figures); i++)
		g_string_append_printf(text, "%s%s %" G_GUINT64_FORMAT, i ? "\n" : "", figures[i].name,
		                       figures[i].value);
	*value = g_string_free(text, FALSE);
	return 0;
}

/* One "START LENGTH FREE NODE PAGES KERNEL" line for each region; in bytes, and node -1 where it is unknown. */
static int get_regions(struct server *server, uint64_t ino, char **value)
{
	(void)ino;

	const struct storage *storage = &server->storage;
	g_autoptr(GArray) regions = pool_get_regions(storage->pool);
	GString *text = g_string_new(NULL);

	for (guint i = 0; i < regions->len; i++) {
		const struct pool_region *region = &g_array_index(regions, struct pool_region, i);
		bool unmapped =
			storage->ops->is_unmapped && storage->ops->is_unmapped(storage->backend, region->extent.start);

		g_string_append_printf(text,
		                       "%s%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %d %s %s",
		                       i ? "\n" : "", region->extent.start, region->extent.length, region->free,
		                       region->node, page_order_name(region->order), unmapped ? "unmapped" : "mapped");
	}
	*value = g_string_free(text, FALSE);
	return 0;
}

/*
 * One "START LENGTH SINCE INODE PID NAME" line for each run of pinned memory: bytes, and seconds since the epoch. A number that is
 * unknown is 0, and such a name is empty.
 */
static int get_pinned(struct server *server, uint64_t ino, char **value)
{
	g_autoptr(GArray) pins = pins_list(&server->storage);
	GString *text = g_string_new(NULL);

	(void)ino;
	/* Stops before the value is too long for an attribute. */
	for (guint i = 0; i < pins->len && text->len < XATTR_SIZE_MAX / 2; i++) {
		const struct pool_pin *pin = &g_array_index(pins, struct pool_pin, i);
		g_autofree char *name = g_strescape(pin->last.name, NULL);

		g_string_append_printf(text,
		                       "%s%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %" G_GINT64_FORMAT
		                       " %" G_GUINT64_FORMAT " %d %s",
		                       i ? "\n" : "", pin->extent.start, pin->extent.length,
		                       pin->since / G_USEC_PER_SEC, pin->last.ino, pin->last.pid, name);
	}
	*value = g_string_free(text, FALSE);
	return 0;
}

/*
 * One "START LENGTH STATE" line for each unit of lent memory: bytes; "lent", "taking", or why it could not be taken back when that was
 * tried last (pool_take_reason()).
 */
static int get_lent(struct server *server, uint64_t ino, char **value)
{
	g_autoptr(GArray) lent = pool_list_lent(server->storage.pool);
	GString *text = g_string_new(NULL);

	(void)ino;
	/* Stops before the value is too long for an attribute. */
	for (guint i = 0; i < lent->len && text->len < XATTR_SIZE_MAX - 64; i++) {
		const struct lend_unit *unit = &g_array_index(lent, struct lend_unit, i);
		const char *state = unit->taking ? "taking" : unit->error ? pool_take_reason(unit->error) : "lent";

		g_string_append_printf(text, "%s%" G_GUINT64_FORMAT " %" G_GUINT64_FORMAT " %s", i ? "\n" : "",
		                       unit->extent.start, unit->extent.length, state);
	}
	*value = g_string_free(text, FALSE);
	return 0;
}

/* "NAME VALUE" lines about the daemon that serves this mount. */
static int get_daemon(struct server *server, uint64_t ino, char **value)
{
	bool has_earlier = server->earlier && *server->earlier;

	(void)ino;
	*value = g_strdup_printf("version " DMEMFS_VERSION "\npid %d\nbackend %s\nstate_dir %s%s%s", (int)getpid(),
	                         server->storage.ops->name, server->config->state_dir,
	                         has_earlier ? "\nearlier_devices " : "", has_earlier ? server->earlier : "");
	return 0;
}

static char *tell_limit(enum quota_resource resource, const struct quota_usage *usage)
{
	uint64_t max = usage->max.of[resource];

	return max == QUOTA_UNLIMITED ? NULL : quota_limit_format(resource, max);
}

/* The usage of a directory with a limit, or of the root, in decimal. */
static char *tell_used(enum quota_resource resource, const struct quota_usage *usage)
{
	return g_strdup_printf("%" G_GUINT64_FORMAT, usage->used.of[resource]);
}

/* Why the directory cannot have a limit; quota_check.c reads this. O(inodes below it). */
static int get_obstacle(struct server *server, uint64_t ino, char **value)
{
	int err = namespace_may_limit(server->ns, ino);

	if (err != -EXDEV)
		return err ? err : -ENODATA;
	*value = g_strdup("hard links lead out of it");
	return 0;
}

static int set_limit(struct server *server, uint64_t ino, enum quota_resource resource, const char *text, int flags)
{
	uint64_t max = QUOTA_UNLIMITED;

	if (text && !quota_limit_parse(resource, text, strlen(text), &max))
		return -EINVAL;
	return namespace_set_limit(server->ns, ino, resource, max, flags);
}

static int get_node(struct server *server, uint64_t ino, char **value)
{
	g_autoptr(numa_policy_t) policy = NULL;
	int err = namespace_get_numa(server->ns, ino, &policy);

	if (!err)
		*value = numa_policy_format(policy);
	return err;
}

static int set_node(struct server *server, uid_t uid, uint64_t ino, const char *text, int flags)
{
	g_autoptr(numa_policy_t) policy = text ? numa_policy_parse(text, strlen(text)) : NULL;

	if (text && !policy)
		return -EINVAL;
	return namespace_set_numa(server->ns, ino, uid, policy, flags);
}

enum {
	ROOT_READS = 1, /* only root may read it: it shows physical addresses, or takes long */
	OF_ROOT = 2,    /* only the root directory has it */
};

/*
 * One of @of_file, @of_quota and @get is set and returns the value; NULL, or -ENODATA: @ino does not have the
 * attribute.
 */
struct attribute {
	const char *name;
	unsigned flags;
	char *(*of_file)(struct file *file);
	char *(*of_quota)(enum quota_resource resource, const struct quota_usage *usage);
	enum quota_resource resource;
	int (*get)(struct server *server, uint64_t ino, char **value);
	/* NULL: read-only (limits excepted, see vxattr_set()). @text NULL removes the attribute. */
	int (*set)(struct server *server, uid_t uid, uint64_t ino, const char *text, int flags);
};

static const struct attribute attributes[] = {
	{ PREFIX "alloc", .get = get_alloc, .set = set_alloc },
	{ PREFIX "daemon", OF_ROOT, .get = get_daemon },
	{ PREFIX "discard", .get = get_discard, .set = set_discard },
	{ PREFIX "extents", ROOT_READS,
	  .of_file = file_describe_extents }, /* "OFFSET START LENGTH", bytes, in file order */
	{ PREFIX "faults",
	  .of_file = file_describe_faults }, /* "SIZE COUNT": the faults that a page of that size served */
	{ PREFIX "lost_contents", .get = get_lost_contents, .set = set_lost_contents },
	{ PREFIX "node", .get = get_node, .set = set_node },
	{ PREFIX "node_bytes", .of_file = file_describe_nodes }, /* "NODE BYTES" */
	{ PREFIX "page_size", .get = get_page_size, .set = set_page_size },
	{ PREFIX "pages", .get = get_pages, .set = set_pages },
	{ PREFIX "pinned", ROOT_READS | OF_ROOT, .get = get_pinned },
	{ PREFIX "lent", ROOT_READS | OF_ROOT, .get = get_lent },
	{ PREFIX "poison", ROOT_READS,
	  .of_file = file_describe_poison }, /* "OFFSET START LENGTH" of memory that went bad */
	{ PREFIX "quota.max_bytes", .of_quota = tell_limit, .resource = QUOTA_BYTES },
	{ PREFIX "quota.max_files", .of_quota = tell_limit, .resource = QUOTA_FILES },
	{ PREFIX "quota.obstacle", ROOT_READS, .get = get_obstacle },
	{ PREFIX "quota.used_bytes", .of_quota = tell_used, .resource = QUOTA_BYTES },
	{ PREFIX "quota.used_files", .of_quota = tell_used, .resource = QUOTA_FILES },
	{ PREFIX "regions", ROOT_READS | OF_ROOT, .get = get_regions },
	{ PREFIX "stats", OF_ROOT, .get = get_stats },
};

static const struct attribute *find_attribute(const char *name)
{
	for (size_t i = 0; i < G_N_ELEMENTS(attributes); i++) {
		if (strcmp(name, attributes[i].name) == 0)
			return &attributes[i];
	}
	return NULL;
}

/* True when *@name begins with "trusted.": the kernel has checked CAP_SYS_ADMIN. Skips that prefix in *@name. */
static bool is_trusted(const char **name)
{
	bool trusted = g_str_has_prefix(*name, TRUSTED);

	if (trusted)
		*name += strlen(TRUSTED);
	return trusted;
}

static int get_of_quota(struct server *server, uint64_t ino, const struct attribute *attribute, char **value)
{
	struct quota_usage usage;
	int err = namespace_get_quota(server->ns, ino, &usage);

	if (err)
		return err;
	*value = attribute->of_quota(attribute->resource, &usage);
	return *value ? 0 : -ENODATA;
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
	if ((attribute->flags & OF_ROOT) && ino != STORE_ROOT_INO)
		return -ENODATA;
	if (from)
		return get_extents_from(server, ino, from, value);
	if (attribute->of_file)
		return get_of_file(server, ino, attribute->of_file, value);
	if (attribute->of_quota)
		return get_of_quota(server, ino, attribute, value);
	return attribute->get(server, ino, value);
}

int vxattr_set(struct server *server, uid_t uid, uint64_t ino, const char *name, const void *value, size_t size,
               int flags)
{
	static struct log_limit limit = LOG_LIMIT_INIT;
	bool trusted = is_trusted(&name);
	const struct attribute *attribute = find_attribute(name);
	bool is_limit = attribute && attribute->of_quota == tell_limit;
	g_autofree char *text = value ? g_strndup(value, size) : NULL;

	if (!attribute || !(attribute->set || is_limit))
		return -EPERM;
	if (is_limit && !trusted) {
		/* User 0 may be root without capabilities, or root of a container (vxattr.h). */
		if (uid == 0)
			log_limited(&limit, LOG_LEVEL_INFO,
			            "%s is not set: set " TRUSTED "%s, for which the kernel demands "
			            "CAP_SYS_ADMIN, or use dmemfsctl quota",
			            name, name);
		return -EPERM;
	}
	if (text && strlen(text) < size)
		return -EINVAL; /* there is a NUL in it */
	if (text && g_str_has_suffix(text, "\n"))
		text[size - 1] = '\0'; /* as from echo(1) */
	if (is_limit)
		return set_limit(server, ino, attribute->resource, text, flags);
	return attribute->set(server, trusted ? 0 : uid, ino, text, flags);
}
