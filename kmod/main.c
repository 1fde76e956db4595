// SPDX-License-Identifier: GPL-2.0-only
/*
 * The device /dev/dmemfs: open by one process at a time, ioctls, events by read(2). Also loading and unloading of the
 * module.
 */
#include "dmemfs.h"
#include "compat.h"

#include <linux/capability.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

static bool huge_pages = true;
module_param(huge_pages, bool, 0444);
MODULE_PARM_DESC(huge_pages, "use pages of 2 MiB and 1 GiB (default: Y); reads N if this kernel cannot do so safely");

enum dmemfs_huge dmemfs_huge;

/* Bit 0: the device is open. */
static unsigned long controlled;

/* Of MARK_SET; see dmemfs_ioctl.h. */
static struct dmemfs_mark mark;
static DEFINE_SPINLOCK(mark_lock);

union request {
	u64 id; /* the first member of every struct of a request on an object */
	struct dmemfs_hello hello;
	struct dmemfs_mark mark;
	struct dmemfs_region region;
	struct dmemfs_object_op op;
	struct dmemfs_object_resize resize;
	struct dmemfs_object_zero zero;
	struct dmemfs_object_mode mode;
	struct dmemfs_object_info info;
	struct dmemfs_extent extent;
	struct dmemfs_fault_answer answer;
	struct dmemfs_poison poison;
	struct dmemfs_pinned pinned;
	struct dmemfs_lend lend;
};

u64 dmemfs_page_sizes(void)
{
	u64 sizes = PAGE_SIZE;

	if (dmemfs_huge != DMEMFS_HUGE_SAFE && dmemfs_huge != DMEMFS_HUGE_GUARDED)
		return sizes;
	sizes |= PMD_SIZE;
	if (IS_ENABLED(CONFIG_HAVE_ARCH_TRANSPARENT_HUGEPAGE_PUD))
		sizes |= PUD_SIZE;
	return sizes;
}

u64 dmemfs_discard_page_sizes(void)
{
	return dmemfs_page_sizes() & (DMEMFS_DISCARD_HUGE ? PAGE_SIZE | PMD_SIZE : PAGE_SIZE);
}

static int do_hello(union request *req)
{
	struct dmemfs_hello *hello = &req->hello;
	bool match = hello->abi == DMEMFS_ABI_VERSION;

	hello->abi = DMEMFS_ABI_VERSION;
	hello->huge = dmemfs_huge;
	hello->page_sizes = dmemfs_page_sizes();
	hello->discard_page_sizes = dmemfs_discard_page_sizes();
	hello->features = DMEMFS_FEATURE_DEMAND | DMEMFS_FEATURE_DISCARD | DMEMFS_FEATURE_POISON |
			  (DMEMFS_PAGES ? DMEMFS_FEATURE_PAGES : 0) | (DMEMFS_LEND ? DMEMFS_FEATURE_LEND : 0);
	hello->lend_unit = dmemfs_lend_unit();
	strscpy(hello->version, DMEMFS_VERSION);
	return match ? 0 : -EPROTO;
}

/* .order comes after what is answered. */
static int do_region_claim(union request *req)
{
	const struct dmemfs_region *region = &req->region;
	int ret;

	if (region->owned || region->node_length || region->node)
		return -EINVAL;
	ret = dmemfs_region_claim(&req->region);
	huge_pages = dmemfs_page_sizes() > PAGE_SIZE;
	return ret;
}

/* .state comes before the last input. */
static int do_region_take(union request *req)
{
	return req->lend.state ? -EINVAL : dmemfs_take(&req->lend);
}

static int do_object_create(union request *req)
{
	req->op.state = DMEMFS_OBJECT_NAMED;
	return dmemfs_object_create(req->op.id);
}

static int do_mark_set(union request *req)
{
	spin_lock(&mark_lock);
	mark = req->mark;
	spin_unlock(&mark_lock);
	return 0;
}

static int do_mark_get(union request *req)
{
	spin_lock(&mark_lock);
	req->mark = mark;
	spin_unlock(&mark_lock);
	return 0;
}

static int do_object_zero(struct dmemfs_object *obj, union request *req)
{
	u64 end;

	if (check_add_overflow(req->zero.offset, req->zero.length, &end))
		return -EINVAL;
	return dmemfs_object_zero(obj, req->zero.offset, end);
}

/* Handlers that only make one call. */
/* clang-format off */
#define RUN(name, call) static int do_##name(union request *req) { return call; }
#define ON_OBJECT(name, call) static int do_##name(struct dmemfs_object *obj, union request *req) { return call; }
RUN(region_next, dmemfs_region_next(&req->region))
RUN(region_release, dmemfs_region_release(&req->region))
RUN(object_open, dmemfs_object_open(req->op.id))
RUN(object_drop, dmemfs_object_drop(req->op.id, &req->op.state))
RUN(object_reap, dmemfs_object_reap(req->op.id))
RUN(object_next, dmemfs_object_next(&req->info))
ON_OBJECT(object_resize, dmemfs_object_resize(obj, req->resize.size))
ON_OBJECT(object_mode, dmemfs_object_set_mode(obj, &req->mode))
RUN(region_zero, dmemfs_region_zero(req->zero.offset, req->zero.length))
RUN(poison_add, dmemfs_poison_add(&req->poison))
RUN(poison_next, dmemfs_poison_next(&req->poison))
RUN(pinned_next, dmemfs_pinned_next(&req->pinned))
RUN(region_lend, dmemfs_lend(&req->lend))
RUN(lent_next, dmemfs_lent_next(&req->lend))
ON_OBJECT(extent_add, dmemfs_extent_add(obj, &req->extent))
ON_OBJECT(extent_remove, req->extent.start ? -EINVAL :
	  dmemfs_extent_remove(obj, req->extent.offset, req->extent.length))
ON_OBJECT(extent_next, dmemfs_extent_next(obj, &req->extent))
ON_OBJECT(fault_answer, dmemfs_demand_answer_request(obj, &req->answer))
/* clang-format on */
#undef ON_OBJECT
#undef RUN

/*
 * The requests. The caller fills in the first .inputs bytes of the struct; the rest must be 0. If the request names an
 * object by .id, .on_object handles it, else .run; so does .run if .id is 0 and both exist.
 */
static const struct request_kind {
	unsigned int cmd;
	unsigned int inputs;
	bool idle_too; /* works on IDLE objects as well */
	int (*run)(union request *req);
	int (*on_object)(struct dmemfs_object *obj, union request *req);
} request_kinds[] = {
#define INPUTS(type, member) offsetofend(struct type, member)
	{ DMEMFS_IOC_HELLO, INPUTS(dmemfs_hello, abi), .run = do_hello },
	{ DMEMFS_IOC_MARK_SET, INPUTS(dmemfs_mark, bytes), .run = do_mark_set },
	{ DMEMFS_IOC_MARK_GET, 0, .run = do_mark_get },
	{ DMEMFS_IOC_REGION_CLAIM, INPUTS(dmemfs_region, order), .run = do_region_claim },
	{ DMEMFS_IOC_REGION_NEXT, INPUTS(dmemfs_region, start), .run = do_region_next },
	{ DMEMFS_IOC_REGION_RELEASE, INPUTS(dmemfs_region, length), .run = do_region_release },
	{ DMEMFS_IOC_OBJECT_CREATE, INPUTS(dmemfs_object_op, id), .run = do_object_create },
	{ DMEMFS_IOC_OBJECT_OPEN, INPUTS(dmemfs_object_op, id), .run = do_object_open },
	{ DMEMFS_IOC_OBJECT_DROP, INPUTS(dmemfs_object_op, id), .run = do_object_drop },
	{ DMEMFS_IOC_OBJECT_REAP, INPUTS(dmemfs_object_op, id), .run = do_object_reap },
	{ DMEMFS_IOC_OBJECT_NEXT, INPUTS(dmemfs_object_info, id), .run = do_object_next },
	{ DMEMFS_IOC_OBJECT_RESIZE, INPUTS(dmemfs_object_resize, size), .on_object = do_object_resize },
	{ DMEMFS_IOC_OBJECT_MODE, INPUTS(dmemfs_object_mode, order), .on_object = do_object_mode },
	{ DMEMFS_IOC_OBJECT_ZERO, INPUTS(dmemfs_object_zero, length), .run = do_region_zero,
	  .on_object = do_object_zero },
	{ DMEMFS_IOC_EXTENT_ADD, INPUTS(dmemfs_extent, length), .on_object = do_extent_add },
	{ DMEMFS_IOC_EXTENT_REMOVE, INPUTS(dmemfs_extent, length), .on_object = do_extent_remove },
	{ DMEMFS_IOC_EXTENT_NEXT, INPUTS(dmemfs_extent, offset), .idle_too = true, .on_object = do_extent_next },
	{ DMEMFS_IOC_FAULT_ANSWER, INPUTS(dmemfs_fault_answer, error), .on_object = do_fault_answer },
	{ DMEMFS_IOC_POISON_ADD, INPUTS(dmemfs_poison, length), .run = do_poison_add },
	{ DMEMFS_IOC_POISON_NEXT, INPUTS(dmemfs_poison, start), .run = do_poison_next },
	{ DMEMFS_IOC_PINNED_NEXT, INPUTS(dmemfs_pinned, length), .run = do_pinned_next },
	{ DMEMFS_IOC_REGION_LEND, INPUTS(dmemfs_lend, length), .run = do_region_lend },
	{ DMEMFS_IOC_REGION_TAKE, INPUTS(dmemfs_lend, timeout), .run = do_region_take },
	{ DMEMFS_IOC_LENT_NEXT, INPUTS(dmemfs_lend, start), .run = do_lent_next },
#undef INPUTS
};

/* The ioctl number contains the size of the struct, so a struct of another size is not found. */
static const struct request_kind *find_kind(unsigned int cmd)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(request_kinds); i++) {
		if (request_kinds[i].cmd == cmd)
			return &request_kinds[i];
	}
	return NULL;
}

static int run_request(const struct request_kind *kind, union request *req)
{
	struct dmemfs_object *obj;
	int ret = -ENOENT;

	if (memchr_inv((u8 *)req + kind->inputs, 0, _IOC_SIZE(kind->cmd) - kind->inputs))
		return -EINVAL;
	if (kind->run && (!kind->on_object || !req->id))
		return kind->run(req);
	obj = dmemfs_object_get(req->id);
	if (!obj)
		return ret;
	if (kind->idle_too || !dmemfs_object_is_idle(obj))
		ret = kind->on_object(obj, req);
	dmemfs_object_put(obj);
	return ret;
}

static long dmemfs_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	const struct request_kind *kind = find_kind(cmd);
	void __user *user = (void __user *)arg;
	union request req;
	int ret;

	if (!kind)
		return -ENOTTY;
	if (cmd != DMEMFS_IOC_HELLO && !file->private_data)
		return -EPROTO;
	if (copy_from_user(&req, user, _IOC_SIZE(cmd)))
		return -EFAULT;
	ret = run_request(kind, &req);
	/* HELLO also answers when the versions differ. */
	if (ret && !(cmd == DMEMFS_IOC_HELLO && ret == -EPROTO))
		return ret;
	if ((_IOC_DIR(cmd) & _IOC_READ) && copy_to_user(user, &req, _IOC_SIZE(cmd)))
		return -EFAULT;
	if (cmd == DMEMFS_IOC_HELLO && !ret)
		file->private_data = file; /* not NULL: HELLO has succeeded */
	return ret;
}

static int dmemfs_dev_open(struct inode *inode, struct file *file)
{
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	if (test_and_set_bit_lock(0, &controlled))
		return -EBUSY;
	file->private_data = NULL;
	dmemfs_events_rearm();
	return nonseekable_open(inode, file);
}

static int dmemfs_dev_release(struct inode *inode, struct file *file)
{
	clear_bit_unlock(0, &controlled);
	return 0;
}

static const struct file_operations dmemfs_dev_operations = {
	.owner = THIS_MODULE,
	.open = dmemfs_dev_open,
	.release = dmemfs_dev_release,
	.unlocked_ioctl = dmemfs_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.read = dmemfs_events_read,
	.poll = dmemfs_events_poll,
};

static struct miscdevice dmemfs_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dmemfs",
	.fops = &dmemfs_dev_operations,
	.mode = 0600,
};

static enum dmemfs_huge __init choose_huge(void)
{
	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		return DMEMFS_HUGE_KERNEL;
	if (!huge_pages)
		return DMEMFS_HUGE_PARAMETER;
	/* Or not, as will be seen when the guard is needed. */
	return DMEMFS_MBIND_NEEDS_GUARD ? DMEMFS_HUGE_GUARDED : DMEMFS_HUGE_SAFE;
}

static int __init dmemfs_init(void)
{
	int ret;

	dmemfs_huge = choose_huge();
	huge_pages = dmemfs_page_sizes() > PAGE_SIZE;
	ret = dmemfs_poison_init();
	if (ret)
		return ret;
	ret = dmemfs_sleep_init();
	if (ret)
		goto err_poison;
	ret = misc_register(&dmemfs_device);
	if (ret)
		goto err_sleep;
	return 0;

err_sleep:
	dmemfs_sleep_exit();
err_poison:
	dmemfs_poison_exit();
	return ret;
}

/* The device is closed, no inode exists and nothing is held or lent: each of them would hold a reference to the module. */
static void __exit dmemfs_exit(void)
{
	misc_deregister(&dmemfs_device);
	dmemfs_sleep_exit();
	dmemfs_regions_exit();
	dmemfs_reserved_exit();
	dmemfs_poison_exit();
	dmemfs_objects_exit();
	dmemfs_guards_exit();
	dmemfs_invalidations_exit();
}

module_init(dmemfs_init);
module_exit(dmemfs_exit);
MODULE_DESCRIPTION("Maps reserved RAM as files");
MODULE_VERSION(DMEMFS_VERSION);
MODULE_LICENSE("GPL");
