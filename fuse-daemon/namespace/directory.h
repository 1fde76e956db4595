/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The entries of one directory: by name for lookup, by cookie for readdir. Pure; namespace.c holds the lock.
 *
 * Each entry gets a cookie when its name appears, rising and never used again, and keeps it when another inode takes the
 * name. A scan goes from the newest entry to the oldest: it sees every entry that was there all the time exactly once,
 * and none whose name appeared after it began. So it ends, also when what it found is renamed as it goes.
 */
#ifndef DMEMFS_DIRECTORY_H
#define DMEMFS_DIRECTORY_H

#include <glib.h>
#include <stdint.h>

/* Of "." and "..", below STORE_COOKIE_FIRST. */
#define DIRECTORY_COOKIE_DOT    1
#define DIRECTORY_COOKIE_DOTDOT 2

struct directory_entry {
	uint64_t cookie;
	uint64_t ino;
	char name[]; /* NUL-terminated */
};

struct directory;

struct directory *directory_new(void);
void directory_destroy(struct directory *dir);

guint directory_count(const struct directory *dir);
/* NULL when there is none. Valid until the entry is removed. */
struct directory_entry *directory_lookup(const struct directory *dir, const char *name);
/* The cookie that the next entry will have. */
uint64_t directory_next_cookie(const struct directory *dir);
/* @name must not be there yet. */
struct directory_entry *directory_insert(struct directory *dir, const char *name, uint64_t ino);
/* From the record: at @cookie, larger than all so far. */
void directory_restore(struct directory *dir, uint64_t cookie, const char *name, uint64_t ino);
void directory_remove(struct directory *dir, struct directory_entry *entry);
/* The entry with the largest cookie smaller than @cookie, or NULL. O(log n), O(1) amortised in a scan. */
struct directory_entry *directory_before(const struct directory *dir, uint64_t cookie);

#endif
