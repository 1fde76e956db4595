// SPDX-License-Identifier: GPL-2.0-or-later
/* The entries of one directory, by name and by cookie. */
#include "namespace/directory.h"

#include <string.h>

#include "store/store.h"

/*
 * Users choose the names. Each process keys the hash with a random number, so that users cannot prepare names that all
 * fall into one bucket.
 */
static guint name_hash(gconstpointer key)
{
	static gsize seed;
	const char *name = key;
	uint64_t hash;

	if (g_once_init_enter(&seed))
		g_once_init_leave(&seed, ((gsize)g_random_int() << 32 | g_random_int()) | 1);
	hash = seed;
	for (size_t left = strlen(name); left > 0;) {
		size_t take = MIN(left, sizeof(uint64_t));
		uint64_t word = 0;

		memcpy(&word, name, take);
		/* One folded multiplication per word, as in wyhash: both factors depend on the secret. */
		unsigned __int128 product = (unsigned __int128)(word ^ hash) * (seed ^ UINT64_C(0x9e3779b97f4a7c15));

		hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ take;
		name += take;
		left -= take;
	}
	return (guint)(hash ^ hash >> 32);
}

/* Slots are in the order of their cookies. A removed entry leaves its slot empty until pack(). */
struct slot {
	uint64_t cookie;
	struct directory_entry *entry;
};

struct directory {
	GHashTable *by_name; /* entry->name -> entry */
	GArray *slots;       /* struct slot, rising cookies */
	guint empty;         /* slots without an entry */
	uint64_t next_cookie;
};

struct directory *directory_new(void)
{
	struct directory *dir = g_new0(struct directory, 1);

	dir->by_name = g_hash_table_new(name_hash, g_str_equal);
	dir->slots = g_array_new(FALSE, FALSE, sizeof(struct slot));
	dir->next_cookie = STORE_COOKIE_FIRST;
	return dir;
}

void directory_destroy(struct directory *dir)
{
	if (!dir)
		return;
	for (guint i = 0; i < dir->slots->len; i++)
		g_free(g_array_index(dir->slots, struct slot, i).entry);
	g_array_unref(dir->slots);
	g_hash_table_unref(dir->by_name);
	g_free(dir);
}

guint directory_count(const struct directory *dir)
{
	return g_hash_table_size(dir->by_name);
}

struct directory_entry *directory_lookup(const struct directory *dir, const char *name)
{
	return g_hash_table_lookup(dir->by_name, name);
}

struct directory_entry *directory_insert(struct directory *dir, const char *name, uint64_t ino)
{
	size_t length = strlen(name) + 1;
	struct directory_entry *entry = g_malloc(sizeof(*entry) + length);

	entry->cookie = dir->next_cookie++;
	entry->ino = ino;
	memcpy(entry->name, name, length);

	struct slot slot = { entry->cookie, entry };

	g_array_append_val(dir->slots, slot);
	g_hash_table_insert(dir->by_name, entry->name, entry);
	return entry;
}

uint64_t directory_next_cookie(const struct directory *dir)
{
	return dir->next_cookie;
}

void directory_restore(struct directory *dir, uint64_t cookie, const char *name, uint64_t ino)
{
	dir->next_cookie = cookie;
	directory_insert(dir, name, ino);
}

/* Index of the first slot whose cookie is at least @cookie. */
static guint slot_at(const struct directory *dir, uint64_t cookie)
{
	guint low = 0, high = dir->slots->len;

	while (low < high) {
		guint middle = low + (high - low) / 2;

		if (g_array_index(dir->slots, struct slot, middle).cookie < cookie)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Removes the empty slots: O(slots). Called when most slots are empty, so that each removal costs O(1) on average. */
static void pack(struct directory *dir)
{
	guint kept = 0;

	for (guint i = 0; i < dir->slots->len; i++) {
		struct slot slot = g_array_index(dir->slots, struct slot, i);

		if (slot.entry)
			g_array_index(dir->slots, struct slot, kept++) = slot;
	}
	g_array_set_size(dir->slots, kept);
	dir->empty = 0;
}

void directory_remove(struct directory *dir, struct directory_entry *entry)
{
	g_array_index(dir->slots, struct slot, slot_at(dir, entry->cookie)).entry = NULL;
	dir->empty++;
	if (dir->empty > 16 && dir->empty > dir->slots->len / 2)
		pack(dir);
	g_hash_table_remove(dir->by_name, entry->name);
	g_free(entry);
}

struct directory_entry *directory_before(const struct directory *dir, uint64_t cookie)
{
	for (guint i = slot_at(dir, cookie); i > 0; i--) {
		struct slot slot = g_array_index(dir->slots, struct slot, i - 1);

		if (slot.entry)
			return slot.entry;
	}
	return NULL;
}
