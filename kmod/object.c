// SPDX-License-Identifier: GPL-2.0-only
/*
 * Objects: their table, their states, and the inodes by which processes reach them.
 *
 * xa_lock(&dmemfs_objects), the table's lock, protects the table, and of each object ->state, ->inode, ->mnt, ->events
 * and ->pending_faults. The state changes from NAMED under object->lock as well, so a function that holds object->lock
 * can rely on NAMED.
 *
 * Each holder of a reference to an inode also has one to the mount: a file has both, dmemfs_inode_get() takes both. So
 * the mount, and with it the module, outlives the eviction of the inode.
 */
#include "dmemfs.h"

#include <linux/file.h>
#include <linux/magic.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/pseudo_fs.h>
#include <linux/slab.h>

#define DMEMFS_MAGIC 0x444d454d /* "DMEM" */

DEFINE_XARRAY(dmemfs_objects);
static unsigned int nr_objects; /* under the table's lock */

/* The mount exists while an inode does; simple_pin_fs() protects these. */
static struct vfsmount *dmemfs_mnt;
static int dmemfs_mnt_count;

static void object_free(struct kref *ref)
{
	struct dmemfs_object *obj = container_of(ref, struct dmemfs_object, ref);

	dmemfs_events_cancel(obj);
	dmemfs_demand_exit(obj);
	/* There is no other reference. The lock is taken only because lockdep wants it for the tree. */
	down_write(&obj->lock);
	__mt_destroy(&obj->extents);
	up_write(&obj->lock);
	kfree(obj);
}

void dmemfs_object_put(struct dmemfs_object *obj)
{
	kref_put(&obj->ref, object_free);
}

struct dmemfs_object *dmemfs_object_get(u64 id)
{
	struct dmemfs_object *obj;

	xa_lock(&dmemfs_objects);
	obj = xa_load(&dmemfs_objects, id);
	if (obj)
		kref_get(&obj->ref);
	xa_unlock(&dmemfs_objects);
	return obj;
}

/* The caller has made sure that no file or mapping reaches the object, and holds the table's lock. */
static void object_become_idle(struct dmemfs_object *obj)
{
	obj->state = DMEMFS_OBJECT_IDLE;
	__xa_set_mark(&dmemfs_objects, obj->id, DMEMFS_OBJECT_IS_IDLE);
}

struct inode *dmemfs_inode_get(struct dmemfs_object *obj, struct vfsmount **mnt)
{
	struct inode *inode = NULL;

	*mnt = NULL;
	xa_lock(&dmemfs_objects);
	if (obj->inode)
		inode = igrab(obj->inode);
	if (inode)
		*mnt = mntget(obj->mnt);
	xa_unlock(&dmemfs_objects);
	return inode;
}

void dmemfs_inode_put(struct inode *inode, struct vfsmount *mnt)
{
	iput(inode);
	mntput(mnt);
}

static void dmemfs_evict_inode(struct inode *inode)
{
	struct dmemfs_object *obj = inode->i_private;

	truncate_inode_pages_final(&inode->i_data);
	clear_inode(inode);
	if (!obj)
		return;
	xa_lock(&dmemfs_objects);
	/* Not equal if the object was opened again meanwhile: then it has a new inode. */
	if (obj->inode == inode) {
		obj->inode = NULL;
		obj->mnt = NULL;
		if (obj->state == DMEMFS_OBJECT_DROPPED) {
			object_become_idle(obj);
			dmemfs_event_raise(obj, DMEMFS_EVENT_IDLE);
		}
	}
	xa_unlock(&dmemfs_objects);
	dmemfs_hold_module(obj);
	dmemfs_object_put(obj);
	simple_release_fs(&dmemfs_mnt, &dmemfs_mnt_count);
}

static const struct super_operations dmemfs_super_operations = {
	.evict_inode = dmemfs_evict_inode,
	.statfs = simple_statfs,
};

static int dmemfs_init_fs_context(struct fs_context *fc)
{
	struct pseudo_fs_context *ctx = init_pseudo(fc, DMEMFS_MAGIC);

	if (!ctx)
		return -ENOMEM;
	ctx->ops = &dmemfs_super_operations;
	return 0;
}

/* The superblock holds a reference to .owner, so the module cannot be unloaded while an inode exists. */
static struct file_system_type dmemfs_fs_type = {
	.owner = THIS_MODULE,
	.name = "dmemfs_objects",
	.init_fs_context = dmemfs_init_fs_context,
	.kill_sb = kill_anon_super,
};

/* Only the daemon sets the size, by ioctl. Owner and times are attributes of the FUSE inode. */
static int dmemfs_setattr(struct mnt_idmap *idmap, struct dentry *dentry, struct iattr *attr)
{
	return -EPERM;
}

static const struct inode_operations dmemfs_inode_operations = {
	.setattr = dmemfs_setattr,
};

/* The caller holds obj->lock and a pin of the mount. The new inode takes over the pin. NULL: no memory. */
static struct inode *inode_new(struct dmemfs_object *obj, struct vfsmount *mnt)
{
	struct inode *inode = new_inode(mnt->mnt_sb);

	if (!inode)
		return NULL;
	inode->i_ino = obj->id;
	inode->i_mode = S_IFREG | 0600;
	inode->i_op = &dmemfs_inode_operations;
	inode->i_fop = &dmemfs_file_operations;
	inode->i_private = obj;
	inode->i_flags |= obj->order ? dmemfs_pages_inode_flags(obj->order) : 0;
	i_size_write(inode, obj->size);
	kref_get(&obj->ref);

	xa_lock(&dmemfs_objects);
	obj->inode = inode;
	obj->mnt = mnt;
	xa_unlock(&dmemfs_objects);
	return inode;
}

/* The inode of @obj and its mount, as dmemfs_inode_get(); makes an inode if the object is at rest. */
static struct inode *inode_get_or_new(struct dmemfs_object *obj, struct vfsmount **mnt)
{
	struct inode *inode;
	bool unpin = true;
	int ret;

	ret = simple_pin_fs(&dmemfs_fs_type, &dmemfs_mnt, &dmemfs_mnt_count);
	if (ret)
		return ERR_PTR(ret);
	down_write(&obj->lock);
	inode = ERR_PTR(-ENOENT);
	if (obj->state != DMEMFS_OBJECT_NAMED)
		goto out;
	inode = dmemfs_inode_get(obj, mnt);
	if (inode)
		goto out;
	inode = inode_new(obj, dmemfs_mnt);
	if (inode) {
		*mnt = mntget(dmemfs_mnt);
		unpin = false;
	} else {
		inode = ERR_PTR(-ENOMEM);
	}
out:
	up_write(&obj->lock);
	if (unpin)
		simple_release_fs(&dmemfs_mnt, &dmemfs_mnt_count);
	return inode;
}

static struct file *object_file(struct dmemfs_object *obj)
{
	struct vfsmount *mnt;
	struct inode *inode;
	struct file *file;

	inode = inode_get_or_new(obj, &mnt);
	if (IS_ERR(inode))
		return ERR_CAST(inode);
	/* The file's reference to the module, put when it is closed. The open device holds one during this call. */
	__module_get(THIS_MODULE);
	file = alloc_file_pseudo(inode, mnt, "dmemfs", O_RDWR | O_LARGEFILE, &dmemfs_file_operations);
	if (IS_ERR(file)) {
		module_put(THIS_MODULE);
		dmemfs_inode_put(inode, mnt);
		return file;
	}
	file->f_mode |= FMODE_LSEEK | FMODE_PREAD | FMODE_PWRITE;
	/* The file has taken the reference to the inode, and one of its own to the mount. */
	mntput(mnt);
	return file;
}

int dmemfs_object_create(u64 id)
{
	struct dmemfs_object *obj;
	int ret;

	if (!id || id == ULONG_MAX)
		return -EINVAL;
	obj = kzalloc(sizeof(*obj), GFP_KERNEL);
	if (!obj)
		return -ENOMEM;
	obj->id = id;
	obj->state = DMEMFS_OBJECT_NAMED;
	obj->unit = DMEMFS_ALIGNMENT;
	INIT_LIST_HEAD(&obj->pending_faults);
	dmemfs_events_init(obj);
	kref_init(&obj->ref);
	init_rwsem(&obj->lock);
	mt_init_flags(&obj->extents, MT_FLAGS_LOCK_EXTERN);
	mt_set_external_lock(&obj->extents, &obj->lock);

	xa_lock(&dmemfs_objects);
	if (nr_objects == DMEMFS_OBJECTS_MAX)
		ret = -ENOSPC;
	else
		ret = __xa_insert(&dmemfs_objects, id, obj, GFP_KERNEL);
	if (!ret)
		nr_objects++;
	xa_unlock(&dmemfs_objects);
	if (ret)
		dmemfs_object_put(obj);
	return ret == -EBUSY ? -EEXIST : ret;
}

int dmemfs_object_open(u64 id)
{
	struct dmemfs_object *obj;
	struct file *file;
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	obj = dmemfs_object_get(id);
	file = obj ? object_file(obj) : ERR_PTR(-ENOENT);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		fd = PTR_ERR(file);
	} else {
		fd_install(fd, file);
	}
	if (obj)
		dmemfs_object_put(obj);
	return fd;
}

int dmemfs_object_drop(u64 id, u32 *state)
{
	struct dmemfs_object *obj = dmemfs_object_get(id);
	int ret = 0;

	if (!obj)
		return -ENOENT;
	down_write(&obj->lock);
	xa_lock(&dmemfs_objects);
	if (obj->state != DMEMFS_OBJECT_NAMED)
		ret = -ENOENT;
	else if (obj->inode)
		obj->state = DMEMFS_OBJECT_DROPPED;
	else
		object_become_idle(obj);
	*state = obj->state;
	xa_unlock(&dmemfs_objects);
	up_write(&obj->lock);
	dmemfs_object_put(obj);
	return ret;
}

bool dmemfs_object_is_idle(struct dmemfs_object *obj)
{
	bool idle;

	xa_lock(&dmemfs_objects);
	idle = obj->state == DMEMFS_OBJECT_IDLE;
	xa_unlock(&dmemfs_objects);
	return idle;
}

bool dmemfs_object_is_open(struct dmemfs_object *obj)
{
	bool open;

	xa_lock(&dmemfs_objects);
	open = obj->inode;
	xa_unlock(&dmemfs_objects);
	return open;
}

int dmemfs_object_reap(u64 id)
{
	struct dmemfs_object *obj = dmemfs_object_get(id);
	bool last = false;
	int ret = -EBUSY;

	if (!obj)
		return -ENOENT;
	if (dmemfs_object_is_idle(obj))
		ret = dmemfs_extent_remove(obj, 0, round_down(MAX_LFS_FILESIZE, PAGE_SIZE << obj->order));
	if (!ret) {
		xa_lock(&dmemfs_objects);
		last = __xa_cmpxchg(&dmemfs_objects, id, obj, NULL, 0) == obj;
		nr_objects -= last;
		xa_unlock(&dmemfs_objects);
	}
	if (last)
		dmemfs_object_put(obj); /* the table's reference */
	dmemfs_object_put(obj);
	return ret;
}

int dmemfs_object_next(struct dmemfs_object_info *arg)
{
	unsigned long index = arg->id;
	struct dmemfs_object *obj;

	xa_lock(&dmemfs_objects);
	obj = xa_find(&dmemfs_objects, &index, ULONG_MAX, XA_PRESENT);
	if (obj) {
		kref_get(&obj->ref);
		arg->state = obj->state;
		arg->asked = obj->nr_pending_faults;
	}
	xa_unlock(&dmemfs_objects);
	if (!obj)
		return -ENOENT;
	arg->id = obj->id;
	down_read(&obj->lock);
	arg->size = obj->size;
	arg->allocated = (u64)obj->nr_pages << PAGE_SHIFT;
	arg->extents = obj->nr_extents;
	arg->punched = (u64)obj->nr_punched << PAGE_SHIFT;
	arg->mode = obj->mode;
	arg->unit = obj->unit;
	arg->order = obj->order;
	up_read(&obj->lock);
	arg->faults_4k = atomic64_read(&obj->faults_4k);
	arg->faults_2m = atomic64_read(&obj->faults_2m);
	arg->faults_1g = atomic64_read(&obj->faults_1g);
	dmemfs_object_put(obj);
	return 0;
}

/* The module is being unloaded: the device is closed and no inode exists, so the table holds the only references. */
void dmemfs_objects_exit(void)
{
	struct dmemfs_object *obj;
	unsigned long index;

	xa_for_each(&dmemfs_objects, index, obj) {
		xa_erase(&dmemfs_objects, index);
		dmemfs_object_put(obj);
		cond_resched();
	}
}
