// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guards: ftrace handlers that keep two kernel functions away from raw memory, which has no struct page. ftrace calls a
 * guard before the guarded function runs. If the call is about a mapping of raw memory of this module, the guard makes
 * the function return at once. The module sets its guards when the first raw region is claimed.
 *
 * - follow_pfnmap_start(), for every caller except KVM. VFIO type 1 maps the memory that this function finds for a
 *   device. It pins nothing, and nothing tells it when the file loses the memory: the device would go on accessing
 *   memory that another file owns by then. KVM is safe, because its MMU notifier drops the memory. Other users, such as
 *   /proc/PID/mem, are served by ->access of the mapping (map.c).
 * - queue_folios_pte_range(), on kernels where it assumes that a 2-MiB entry has a struct page (see compat.h). There,
 *   any process could crash the host by mbind(MPOL_MF_STRICT) on its own mapping. The guard makes it return success:
 *   this memory cannot move, and no page of it counts as misplaced.
 *
 * FTRACE_OPS_FL_PERMANENT: the guards cannot be switched off; the kernel refuses kernel.ftrace_enabled=0.
 * FTRACE_OPS_FL_IPMODIFY: only one handler can redirect a function, as live patches do; the kernel refuses a second.
 */
#include "dmemfs.h"
#include "compat.h"

#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/module.h>
#include <linux/pagewalk.h>

/* The guards set the instruction pointer to one of these. They then return to the caller of the guarded function. */
static noinline notrace int return_refusal(void)
{
	return -EOPNOTSUPP;
}

static noinline notrace int return_success(void)
{
	return 0;
}

/* A cache of return addresses that are in KVM. forget_calls() clears it when a module is unloaded. */
static unsigned long kvm_calls[4];

static bool is_kvm(unsigned long caller)
{
	static unsigned int next;
	char name[KSYM_SYMBOL_LEN];
	int i;

	for (i = 0; i < ARRAY_SIZE(kvm_calls); i++) {
		if (READ_ONCE(kvm_calls[i]) == caller)
			return true;
	}
	sprint_symbol(name, caller);
	/* The function's name is needed if KVM is built in, or a live patch replaced the function. */
	if (!strstr(name, " [kvm]") && !strstarts(name, "hva_to_pfn") && !strstarts(name, "kvm_") &&
	    !strstarts(name, "__kvm_"))
		return false;
	WRITE_ONCE(kvm_calls[READ_ONCE(next) % ARRAY_SIZE(kvm_calls)], caller);
	WRITE_ONCE(next, next + 1);
	return true;
}

/* follow_pfnmap_start(struct follow_pfnmap_args *args) */
static void notrace guard_follow(unsigned long ip, unsigned long caller, struct ftrace_ops *ops,
				 struct ftrace_regs *fregs)
{
	const struct follow_pfnmap_args *args = (void *)ftrace_regs_get_argument(fregs, 0);

	if (args->vma->vm_ops != &dmemfs_vm_operations || !dmemfs_vma_is_raw(args->vma) || is_kvm(caller))
		return;
	pr_warn_ratelimited("%s[%d]: refused: %pS asked for memory that cannot be pinned; no device can use it\n",
			    current->comm, task_tgid_nr(current), (void *)caller);
	ftrace_regs_set_instruction_pointer(fregs, (unsigned long)return_refusal);
}

/* queue_folios_pte_range(pmd_t *pmd, unsigned long addr, unsigned long end, struct mm_walk *walk) */
static void notrace guard_walk(unsigned long ip, unsigned long caller, struct ftrace_ops *ops,
			       struct ftrace_regs *fregs)
{
	const struct mm_walk *walk = (void *)ftrace_regs_get_argument(fregs, 3);

	if (walk->vma->vm_ops == &dmemfs_vm_operations && dmemfs_vma_is_raw(walk->vma))
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)return_success);
}

#define GUARD(handler)                                                                               \
	{                                                                                            \
		.func = (handler),                                                                   \
		.flags = FTRACE_OPS_FL_SAVE_ARGS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT, \
	}

static struct ftrace_ops follow_guard = GUARD(guard_follow);
static struct ftrace_ops walk_guard = GUARD(guard_walk);

/*
 * @effect says in the log what follows if the guard cannot be set. It may be tried again: so the filter stays, because
 * ftrace_free_filter() of Linux 6.12 leaves a pointer to what it has freed.
 */
static int set(struct ftrace_ops *guard, char *function, const char *effect)
{
	int ret = ftrace_set_filter(guard, function, strlen(function), 1);

	ret = ret ?: register_ftrace_function(guard);
	if (ret)
		pr_warn("cannot guard %s: %d%s; %s\n", function, ret,
			ret != -EBUSY ? "" : ": kernel.ftrace_enabled is 0, or a live patch or probe has the function",
			effect);
	return ret;
}

static void lift(struct ftrace_ops *guard)
{
	if (guard->flags & FTRACE_OPS_FL_ENABLED)
		unregister_ftrace_function(guard);
	ftrace_free_filter(guard);
}

/* A module that is loaded later may get the addresses at which KVM was. */
static int forget_calls(struct notifier_block *block, unsigned long event, void *module)
{
	if (event == MODULE_STATE_GOING)
		memset(kvm_calls, 0, sizeof(kvm_calls));
	return NOTIFY_OK;
}

static struct notifier_block modules = { .notifier_call = forget_calls };

int dmemfs_guard_raw(void)
{
	int ret;

	if (follow_guard.flags & FTRACE_OPS_FL_ENABLED)
		return 0;
	ret = register_module_notifier(&modules);
	if (ret)
		return ret;
	if (set(&follow_guard, "follow_pfnmap_start", "no region without struct pages can be claimed")) {
		unregister_module_notifier(&modules);
		return -EUNATCH;
	}
	if (dmemfs_huge == DMEMFS_HUGE_GUARDED &&
	    set(&walk_guard, "queue_folios_pte_range", "only pages of 4 KiB are used"))
		dmemfs_huge = DMEMFS_HUGE_NO_GUARD;
	return 0;
}

void dmemfs_guards_exit(void)
{
	lift(&walk_guard);
	lift(&follow_guard);
	unregister_module_notifier(&modules); /* does nothing if it is not registered */
}
