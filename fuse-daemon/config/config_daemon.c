// SPDX-License-Identifier: GPL-2.0-or-later
/* The keys of the [daemon] group: a table with a row for each. Conditions between keys are in config.c. */
#include "config/config_daemon.h"

#include <stddef.h>

#include "base/extent.h"
#include "config/config_keys.h"

#define MIB (UINT64_C(1) << 20)

static const char *const backend_names[] = { [BACKEND_MEMORY] = "memory", [BACKEND_PFN] = "pfn", NULL };
static const char *const alloc_names[] = { [ALLOC_EAGER] = "eager", [ALLOC_DEMAND] = "demand", NULL };
static const char *const lend_names[] = { [LEND_OFF] = "off", [LEND_ON] = "on", NULL };
static const char *const lost_names[] = { [LOST_ZERO] = "zero", [LOST_REMOVE] = "remove", NULL };

/* What a value is, and the type of its member in struct config. */
enum kind {
	PATH,      /* char *: absolute */
	SIZE,      /* uint64_t: bytes, at least .min */
	PAGE_SIZE, /* uint64_t: bytes, a page size of the CPU */
	NUMBER,    /* unsigned: from .min to .max */
	FACTOR,    /* double: above 0, up to .max */
	BOOL,      /* bool */
	CHOICE     /* an enum that indexes .choices */
};

enum scope { ALWAYS, MEMORY_BACKEND, NO_REGIONS /* on the memory backend */ };

static const struct key {
	const char *name;
	enum kind kind;
	enum scope scope;
	size_t member; /* offset in struct config */
	const char *const *choices;
	uint64_t min;
	uint64_t max;
} daemon_keys[] = {
#define MEMBER(name) .member = offsetof(struct config, name)
	{ "mountpoint", PATH, ALWAYS, MEMBER(mountpoint) },
	{ "state-dir", PATH, ALWAYS, MEMBER(state_dir) },
	{ "backend", CHOICE, ALWAYS, MEMBER(backend), .choices = backend_names },
	{ "page-size", PAGE_SIZE, ALWAYS, MEMBER(page_size) },
	{ "size", SIZE, NO_REGIONS, MEMBER(size) },
	{ "alloc", CHOICE, ALWAYS, MEMBER(alloc), .choices = alloc_names },
	{ "demand-extent", PAGE_SIZE, ALWAYS, MEMBER(demand_extent) },
	{ "overcommit", FACTOR, ALWAYS, MEMBER(overcommit), .max = 1000 },
	{ "lost-contents", CHOICE, ALWAYS, MEMBER(lost_contents), .choices = lost_names },
	{ "zero-in-advance", BOOL, ALWAYS, MEMBER(zero_in_advance) },
	{ "zero-rate", SIZE, ALWAYS, MEMBER(zero_rate) },
	{ "lend", CHOICE, ALWAYS, MEMBER(lend), .choices = lend_names },
	{ "lend-reserve", SIZE, ALWAYS, MEMBER(lend_reserve) },
	{ "lend-idle", NUMBER, ALWAYS, MEMBER(lend_idle), .min = 0, .max = 604800 },
	{ "take-timeout", NUMBER, ALWAYS, MEMBER(take_timeout), .min = 1, .max = 3600 },
	{ "memory-dir", PATH, MEMORY_BACKEND, MEMBER(memory_dir) },
	{ "populate", BOOL, MEMORY_BACKEND, MEMBER(populate) },
	{ "max-metadata", SIZE, ALWAYS, MEMBER(max_metadata), .min = MIB },
	{ "threads", NUMBER, ALWAYS, MEMBER(threads), .min = 1, .max = 256 },
	{ "metrics-file", PATH, ALWAYS, MEMBER(metrics_file) },
	{ "metrics-interval", NUMBER, ALWAYS, MEMBER(metrics_interval), .min = 1, .max = 3600 },
#undef MEMBER
};

/* The defaults of memory_dir and size depend on other keys: config.c sets them. */
static void set_defaults(struct config *config)
{
	config->mountpoint = g_strdup("/mnt/dmemfs");
	config->state_dir = g_strdup("/var/lib/dmemfs");
	config->page_size = config->demand_extent = DMEMFS_PAGE_2M;
	config->overcommit = 1;
	config->zero_in_advance = config->populate = true;
	config->lend_reserve = 4096 * MIB;
	config->lend_idle = 60;
	config->take_timeout = 30;
	config->max_metadata = 2048 * MIB; /* about as much as NAMESPACE_INODES_MAX files take */
	config->threads = CLAMP(2 * g_get_num_processors(), 8, 16);
	config->metrics_interval = 15; /* Prometheus usually scrapes every 15 s to 60 s */
}

const char **config_daemon_keys(void)
{
	const char **names = g_new0(const char *, G_N_ELEMENTS(daemon_keys) + 1);

	for (size_t i = 0; i < G_N_ELEMENTS(daemon_keys); i++)
		names[i] = daemon_keys[i].name;
	return names;
}

static bool load_size(const struct config_text *text, const struct key *key, uint64_t *size)
{
	g_autofree char *least = config_format_size(key->min);

	if (!config_text_get_size(text, CONFIG_DAEMON, key->name, size))
		return false;

	g_autofree char *given = config_format_size(*size);

	if (key->kind == PAGE_SIZE && *size != DMEMFS_PAGE_4K && *size != DMEMFS_PAGE_2M && *size != DMEMFS_PAGE_1G)
		return config_text_fail(text, CONFIG_DAEMON, key->name, "%s is not a page size: use 4K, 2M or 1G",
		                        given);
	return *size >= key->min ||
	       config_text_fail(text, CONFIG_DAEMON, key->name, "is too small: use at least %s", least);
}

static bool load_number(const struct config_text *text, const struct key *key, unsigned *member)
{
	uint64_t number = *member;

	if (!config_text_get_number(text, CONFIG_DAEMON, key->name, key->min, key->max, &number))
		return false;
	*member = (unsigned)number;
	return true;
}

static bool load_key(const struct config_text *text, const struct key *key, struct config *config)
{
	void *member = (char *)config + key->member;

	switch (key->kind) {
	case PATH:
		return config_text_get_path(text, CONFIG_DAEMON, key->name, member);
	case SIZE:
	case PAGE_SIZE:
		return load_size(text, key, member);
	case NUMBER:
		return load_number(text, key, member);
	case FACTOR:
		return config_text_get_factor(text, CONFIG_DAEMON, key->name, (double)key->max, member);
	case BOOL:
		return config_text_get_bool(text, CONFIG_DAEMON, key->name, member);
	case CHOICE:
		return config_text_get_choice(text, CONFIG_DAEMON, key->name, key->choices, member);
	}
	g_assert_not_reached();
}

void config_daemon_load(const struct config_text *text, struct config *config)
{
	set_defaults(config);
	for (size_t i = 0; i < G_N_ELEMENTS(daemon_keys); i++)
		load_key(text, &daemon_keys[i], config);
}

void config_daemon_check_backend(const struct config_text *text, const struct config *config)
{
	for (size_t i = 0; i < G_N_ELEMENTS(daemon_keys); i++) {
		const struct key *key = &daemon_keys[i];

		if (config->backend != BACKEND_MEMORY && key->scope != ALWAYS &&
		    config_text_has(text, CONFIG_DAEMON, key->name))
			config_text_fail(text, CONFIG_DAEMON, key->name,
			                 "has no meaning with backend=%s: remove this line",
			                 backend_names[config->backend]);
	}
}

static bool applies(const struct key *key, const struct config *config)
{
	if (key->scope == NO_REGIONS && config->regions->len > 0)
		return false;
	return key->scope == ALWAYS || config->backend == BACKEND_MEMORY;
}

static void dump_key(GKeyFile *keys, const struct key *key, const struct config *config)
{
	const void *member = (const char *)config + key->member;
	char factor[G_ASCII_DTOSTR_BUF_SIZE];

	switch (key->kind) {
	case PATH:
		config_text_set_path(keys, CONFIG_DAEMON, key->name, *(char *const *)member);
		break;
	case SIZE:
	case PAGE_SIZE:
		config_text_set_size(keys, CONFIG_DAEMON, key->name, *(const uint64_t *)member);
		break;
	case NUMBER:
		g_key_file_set_uint64(keys, CONFIG_DAEMON, key->name, *(const unsigned *)member);
		break;
	case FACTOR:
		g_ascii_formatd(factor, sizeof(factor), "%.15g", *(const double *)member);
		g_key_file_set_string(keys, CONFIG_DAEMON, key->name, factor);
		break;
	case BOOL:
		g_key_file_set_boolean(keys, CONFIG_DAEMON, key->name, *(const bool *)member);
		break;
	case CHOICE:
		g_key_file_set_string(keys, CONFIG_DAEMON, key->name, key->choices[*(const unsigned *)member]);
		break;
	}
}

void config_daemon_dump(GKeyFile *keys, const struct config *config)
{
	for (size_t i = 0; i < G_N_ELEMENTS(daemon_keys); i++) {
		if (applies(&daemon_keys[i], config))
			dump_key(keys, &daemon_keys[i], config);
	}
}
