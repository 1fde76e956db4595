// SPDX-License-Identifier: GPL-2.0-only
/*
 * Zeroes memory in steps, and leaves out poisoned pages. The caller keeps the region.
 */
#include "dmemfs.h"

#include <linux/sched/signal.h>
#include <linux/sizes.h>

static void write_zeroes(void *addr, size_t length)
{
	memset(addr, 0, length);
}

/*
 * Writes zeroes past the caches, for memory that is not read soon, so that other data stays cached. It is as fast as
 * memset(): neither reads a cache line before it is overwritten. @length is a multiple of 256.
 */
static void stream_zeroes(void *addr, size_t length)
{
#ifdef CONFIG_X86_64
	unsigned long *word = addr, *end = addr + length;

	for (; word < end; word += 32) {
#pragma GCC unroll 32
		for (int i = 0; i < 32; i++)
			asm volatile("movnti %1, %0" : "=m"(word[i]) : "r"(0UL));
	}
	/* Locks do not order these stores. They must be visible before the memory gets an owner. */
	wmb();
#else
	write_zeroes(addr, length);
#endif
}

/* Held for reading from the look at the record of poisoned pages until the memory is zeroed. */
static DECLARE_RWSEM(zeroing);

typedef void zero_fn(void *addr, size_t length);

/* @addr: where @start is mapped. */
static int clear_mapped(zero_fn *zero, void *addr, u64 start, size_t length)
{
	while (length) {
		size_t step;

		down_read(&zeroing);
		step = dmemfs_poison_free(start, min_t(size_t, length, SZ_2M));
		if (step)
			zero(addr, step);
		else
			step = min_t(size_t, length, PAGE_SIZE - offset_in_page(start));
		up_read(&zeroing);
		addr += step;
		start += step;
		length -= step;
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

/* So much is mapped at a time. The time to map it is nothing beside the time to zero it. */
#define CHUNK SZ_64M

static int clear_chunk(zero_fn *zero, u64 start, size_t length)
{
	void *addr = dmemfs_window_open(start, length);
	int ret;

	if (!addr)
		return -ENOMEM;
	ret = clear_mapped(zero, addr, start, length);
	dmemfs_window_close(addr);
	return ret;
}

static int clear_by(zero_fn *zero, u64 start, size_t length)
{
	int ret = 0;

	while (length && !ret) {
		/* Not even mapped are pages that are known to be poisoned: a CPU may read ahead of the program. */
		size_t chunk = dmemfs_poison_free(start, min_t(size_t, length, CHUNK));

		if (chunk)
			ret = clear_chunk(zero, start, chunk);
		else
			chunk = min_t(size_t, length, PAGE_SIZE - offset_in_page(start));
		start += chunk;
		length -= chunk;
	}
	return ret;
}

int dmemfs_clear(u64 start, size_t length)
{
	return clear_by(write_zeroes, start, length);
}

int dmemfs_clear_uncached(u64 start, size_t length)
{
	return clear_by(stream_zeroes, start, length);
}

void dmemfs_clear_barrier(void)
{
	down_write(&zeroing);
	up_write(&zeroing);
}
