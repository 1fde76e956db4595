/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The entries of one directory: by name for lookup, by cookie for readdir. No I/O; the namespace's lock guards
 * everything here.
 *
 * Each new name gets the next cookie. Cookies of a directory rise and are never used twice. An entry keeps its cookie
 * when rename(2) puts another inode under its name. A scan goes from the newest entry to the oldest: it returns each
 * entry that exists during the whole scan exactly once, and no entry whose name was added after the scan began. So a
 * scan ends, even if the caller renames each entry that it returns.
 */
#ifndef DMEMFS_DIRECTORY_H
#define DMEMFS_DIRECTORY_H

#include <glib.h>
#include <stdint.h>

/* The cookies of "." and "..", below STORE_COOKIE_FIRST. */
#define DIRECTORY_COOKIE_DOT    1
#define DIRECTORY_COOKIE_DOTDOT 2

struct directory_entry {
	uint64_t cookie;
	uint64_t ino;
	char name[]; /* NUL-terminated */
};

struct directory;

struct directory *directory_new(void);
/* Frees the entries, too. NULL is fine. */
void directory_destroy(struct directory *dir);

/* The number of entries, without "." and "..". */
guint directory_count(const struct directory *dir);
/* NULL when there is none. Owned by @dir, valid until the entry is removed. */
struct directory_entry *directory_lookup(const struct directory *dir, const char *name);
/* The cookie that the next entry will have. */
uint64_t directory_next_cookie(const struct directory *dir);
/* The directory must have no entry @name. Copies @name; returns the entry, owned by @dir. */
struct directory_entry *directory_insert(struct directory *dir, const char *name, uint64_t ino);
/* Inserts an entry of the record. @cookie must be larger than all cookies in @dir. */
void directory_restore(struct directory *dir, uint64_t cookie, const char *name, uint64_t ino);
/* Frees @entry. */
void directory_remove(struct directory *dir, struct directory_entry *entry);
/* The entry with the largest cookie smaller than @cookie, or NULL. O(log n), O(1) amortised in a scan. */
struct directory_entry *directory_before(const struct directory *dir, uint64_t cookie);

#endif
