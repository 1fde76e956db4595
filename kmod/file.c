// SPDX-License-Identifier: GPL-2.0-only
/*
 * File operations of objects: read, write, fallocate. They map the memory while they copy from and to it.
 *
 * obj->lock is held while bytes are copied. A page fault on a mapping of the same object would take it again, so page
 * faults are disabled meanwhile. User memory that is not present is faulted in afterwards, without the lock, as
 * generic_perform_write() does.
 */
#include "dmemfs.h"

#include <linux/falloc.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/splice.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

/* How often user memory is faulted in without a byte being copied, before the copy fails. */
#define TRIES 64

static struct dmemfs_object *file_object(const struct file *file)
{
	return file_inode(file)->i_private;
}

/*
 * Copies the next bytes of @iter: at most @length, and not past the end of the extent or hole at @pos. Returns the
 * number of bytes to copy, and in *copied how many it did copy. -EIO: the memory is poisoned. -ENOSPC: a write to a
 * hole. -ENOMEM. The caller holds obj->lock.
 */
static ssize_t copy_run(struct dmemfs_object *obj, u64 pos, size_t length, struct iov_iter *iter, size_t *copied)
{
	struct dmemfs_range run;
	unsigned long pfn;
	void *addr = NULL;
	bool hole;

	hole = dmemfs_extent_lookup(obj, pos >> PAGE_SHIFT, &run, &pfn);
	if (hole && iov_iter_rw(iter) == WRITE)
		return -ENOSPC;
	length = min_t(u64, length, ((u64)(run.last - (pos >> PAGE_SHIFT)) + 1) * PAGE_SIZE - offset_in_page(pos));
	if (!hole) {
		u64 start = PFN_PHYS(pfn) + offset_in_page(pos);

		length = dmemfs_poison_free(start, length);
		if (!length)
			return -EIO;
		addr = dmemfs_window_open(start, length);
		if (!addr)
			return -ENOMEM;
	}

	/* Not copy_from_iter(): CONFIG_HARDENED_USERCOPY would treat a copy that goes on in the next folio as a bug. */
	pagefault_disable();
	if (hole)
		*copied = iov_iter_zero(length, iter);
	else if (iov_iter_rw(iter) == READ)
		*copied = _copy_mc_to_iter(addr, length, iter);
	else
		*copied = _copy_from_iter(addr, length, iter);
	pagefault_enable();
	if (addr)
		dmemfs_window_close(addr);
	return length;
}

static int fault_in(struct iov_iter *iter, size_t length)
{
	size_t left;

	if (iov_iter_rw(iter) == READ)
		left = fault_in_iov_iter_writeable(iter, length);
	else
		left = fault_in_iov_iter_readable(iter, length);
	return left == length ? -EFAULT : 0;
}

/* Reads or writes, up to the size of the object. */
static ssize_t copy_all(struct kiocb *iocb, struct iov_iter *iter)
{
	struct dmemfs_object *obj = file_object(iocb->ki_filp);
	ssize_t wanted, ret = 0;
	size_t copied, done = 0;
	int stuck = 0;

	while (iov_iter_count(iter) && !ret) {
		u64 pos = iocb->ki_pos + done;

		copied = 0;
		down_read(&obj->lock);
		wanted = 0;
		if (pos < obj->size)
			wanted = copy_run(obj, pos, min3((u64)iov_iter_count(iter), obj->size - pos, (u64)SZ_256K),
					  iter, &copied);
		up_read(&obj->lock);
		if (wanted <= 0) {
			ret = wanted;
			break;
		}
		done += copied;
		if (copied < wanted)
			ret = fault_in(iter, wanted - copied);
		/* User memory hardly vanishes so often after it was faulted in: the object's memory cannot be read. */
		stuck = copied ? 0 : stuck + 1;
		if (!ret && stuck == TRIES)
			ret = -EIO;
		if (fatal_signal_pending(current))
			ret = -EINTR;
		cond_resched();
	}
	iocb->ki_pos += done;
	return done ?: ret;
}

static ssize_t dmemfs_read_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	return copy_all(iocb, iter);
}

/* A write never changes the size. */
static ssize_t dmemfs_write_iter(struct kiocb *iocb, struct iov_iter *iter)
{
	ssize_t ret = generic_write_checks(iocb, iter);

	if (ret <= 0)
		return ret;
	ret = copy_all(iocb, iter);
	return ret ?: -ENOSPC;
}

/* Without mode DEMAND, punching a hole zeroes in place, and the file keeps its memory. */
static long dmemfs_fallocate(struct file *file, int mode, loff_t offset, loff_t length)
{
	struct dmemfs_object *obj = file_object(file);
	loff_t end;

	if (mode != (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE))
		return -EOPNOTSUPP;
	end = min(offset + length, i_size_read(file_inode(file)));
	if (offset >= end)
		return 0;
	if (READ_ONCE(obj->mode) & DMEMFS_MODE_DEMAND)
		return dmemfs_demand_punch(obj, file_inode(file), offset, end);
	return dmemfs_object_zero(obj, offset, end);
}

/* O_DIRECT is allowed and changes nothing: there is no page cache to bypass. */
static int dmemfs_open(struct inode *inode, struct file *file)
{
	file->f_mode |= FMODE_CAN_ODIRECT;
	return generic_file_open(inode, file);
}

const struct file_operations dmemfs_file_operations = {
	.owner = THIS_MODULE,
	.open = dmemfs_open,
	.llseek = generic_file_llseek,
	.read_iter = dmemfs_read_iter,
	.write_iter = dmemfs_write_iter,
	.splice_read = copy_splice_read,
	.splice_write = iter_file_splice_write,
	.mmap = dmemfs_mmap,
	.fsync = noop_fsync,
	.fallocate = dmemfs_fallocate,
};
