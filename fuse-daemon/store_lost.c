// SPDX-License-Identifier: GPL-2.0-or-later
/* Contents that were lost, as far as the record is concerned. */
#include "store_internal.h"

/* S_ISREG, in decimal as SQL has it. */
#define WITH_CONTENTS "(SELECT ino FROM inode WHERE (mode & 61440) = 32768 AND size > 0)"

int store_count_files(struct store *store, unsigned *files)
{
	sqlite3_stmt *query = NULL;
	int result = store_lock_database(store);

	*files = 0;
	if (result)
		return result;
	result = sqlite3_prepare_v2(store->db, "SELECT count(*) FROM " WITH_CONTENTS, -1, &query, NULL);
	if (result == SQLITE_OK && sqlite3_step(query) == SQLITE_ROW)
		*files = (unsigned)sqlite3_column_int64(query, 0);
	result = sqlite3_finalize(query);
	store_unlock_database(store);
	return store_errno(result);
}

int store_remove_files(struct store *store)
{
	static const char *const steps[] = {
		"BEGIN IMMEDIATE",
		"DELETE FROM entry WHERE ino IN " WITH_CONTENTS,
		"DELETE FROM xattr WHERE ino IN " WITH_CONTENTS,
		"DELETE FROM extent WHERE ino IN " WITH_CONTENTS,
		"DELETE FROM backing WHERE ino IN " WITH_CONTENTS,
		"DELETE FROM inode WHERE ino IN " WITH_CONTENTS,
	};
	int result = store_lock_database(store);

	if (result)
		return result;
	for (size_t i = 0; i < G_N_ELEMENTS(steps) && result == SQLITE_OK; i++)
		result = sqlite3_exec(store->db, steps[i], NULL, NULL, NULL);
	if (result == SQLITE_OK)
		result = sqlite3_exec(store->db, "COMMIT", NULL, NULL, NULL);
	if (result != SQLITE_OK && !sqlite3_get_autocommit(store->db))
		sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
	store_unlock_database(store);
	return store_errno(result);
}
