// SPDX-License-Identifier: GPL-2.0-or-later
/* Eager or demand allocation, and discard: sets them for the file, on record and in the object. */
#include <errno.h>

#include "file/file_internal.h"

bool file_is_demand(const struct file *file)
{
	return file->demand;
}

bool file_is_discard(const struct file *file)
{
	return file->discard;
}

void file_restore_alloc(struct file *file, bool demand, bool discard)
{
	bool able = file->storage->ops->set_mode;

	file->demand = demand && able;
	file->discard = discard && able;
}

/* Records one of the two attributes, and sets the mode of the object. */
static int set_mode(struct file *file, const char *name, const char *value, bool demand, bool discard)
{
	struct store *store = file->storage->store;
	bool old_demand = file->demand, old_discard = file->discard;
	int err;

	file_restore_alloc(file, demand, discard);
	err = file_apply_alloc(file);
	if (!err) {
		store_begin(store);
		store_put_text(store, file->ino, name, value);
		err = store_commit(store);
	}
	if (err) {
		file_restore_alloc(file, old_demand, old_discard);
		file_apply_alloc(file);
	}
	return err;
}

static bool is_empty(const struct file *file)
{
	return file->size == 0 && extent_map_bytes(file->map) == 0;
}

static int change_order(struct file *file, unsigned order)
{
	struct store *store = file->storage->store;
	unsigned old = file->order;
	int err;

	if (file->unit % page_order_bytes(order))
		return -EINVAL;
	file->order = order;
	err = file_apply_alloc(file);
	if (!err) {
		store_begin(store);
		store_put_text(store, file->ino, FILE_RECORD_PAGES, page_order_name(order));
		err = store_commit(store);
	}
	if (err) {
		file->order = old;
		file_apply_alloc(file);
	}
	return err;
}

int file_change_order(struct file *file, unsigned order)
{
	int err = 0;

	pthread_rwlock_wrlock(&file->lock);
	if (order != file->order)
		err = is_empty(file) ? change_order(file, order) : -EBUSY;
	pthread_rwlock_unlock(&file->lock);
	return err;
}

int file_set_demand(struct file *file, bool demand)
{
	int err = 0;

	if (demand && !file->storage->ops->set_mode)
		return -EOPNOTSUPP;
	pthread_rwlock_wrlock(&file->lock);
	if (demand != file->demand && !is_empty(file))
		err = -EBUSY;
	else if (demand != file->demand)
		err = set_mode(file, FILE_RECORD_ALLOC, demand ? "demand" : NULL, demand, file->discard);
	pthread_rwlock_unlock(&file->lock);
	return err;
}

int file_set_discard(struct file *file, bool discard)
{
	int err = 0;

	if (discard && !file->storage->ops->set_mode)
		return -EOPNOTSUPP;
	pthread_rwlock_wrlock(&file->lock);
	if (discard != file->discard)
		err = set_mode(file, FILE_RECORD_DISCARD, discard ? "1" : NULL, file->demand, discard);
	pthread_rwlock_unlock(&file->lock);
	return err;
}
