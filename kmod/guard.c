// SPDX-License-Identifier: GPL-2.0-only
/*
 * Keeps the kernel from what it must not do with our memory, which has no struct page: ftrace calls us before each of
 * these functions, and for our mappings, and only for them, we send it straight to a return.
 *
 * - follow_pfnmap_start(), for whoever asks but KVM. VFIO type 1 hands the memory that it finds there to a device.
 *   Nothing is pinned, nobody tells it when the file loses that memory: the device would go on reading and writing what
 *   is another's by then. KVM lets go by its MMU notifier. Our own ->access leaves no other need for that function.
 * - queue_folios_pte_range(), on kernels where this walk takes the struct page of a 2-MiB entry for granted (see
 *   compat.h): there, any process could crash the host by mbind(MPOL_MF_STRICT) on its own mapping. Nothing of ours can
 *   move, and no page is on a wrong node.
 *
 * PERMANENT: the guards cannot be switched off, kernel.ftrace_enabled=0 is refused. IPMODIFY: only one can send a
 * function elsewhere, as live patches do; who comes second is refused.
 */
#include "dmemfs.h"
#include "compat.h"

#include <linux/ftrace.h>
#include <linux/kallsyms.h>
#include <linux/module.h>
#include <linux/pagewalk.h>

/* They run in place of the function, with its arguments and its return address. */
static noinline notrace int return_refusal(void)
{
	return -EOPNOTSUPP;
}

static noinline notrace int return_success(void)
{
	return 0;
}

/* Return addresses of calls by KVM. Of modules that are gone there are none. */
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
	/* By name where it is built in, or patched by another module. */
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

	if (args->vma->vm_ops != &dmemfs_vm_operations || is_kvm(caller))
		return;
	pr_warn_ratelimited("%s[%d]: refused: %pS wants memory that cannot be pinned, so no device may have it\n",
			    current->comm, task_tgid_nr(current), (void *)caller);
	ftrace_regs_set_instruction_pointer(fregs, (unsigned long)return_refusal);
}

/* queue_folios_pte_range(pmd_t *pmd, unsigned long addr, unsigned long end, struct mm_walk *walk) */
static void notrace guard_walk(unsigned long ip, unsigned long caller, struct ftrace_ops *ops,
			       struct ftrace_regs *fregs)
{
	const struct mm_walk *walk = (void *)ftrace_regs_get_argument(fregs, 3);

	if (walk->vma->vm_ops == &dmemfs_vm_operations)
		ftrace_regs_set_instruction_pointer(fregs, (unsigned long)return_success);
}

#define GUARD(handler)                                                                               \
	{                                                                                            \
		.func = (handler),                                                                   \
		.flags = FTRACE_OPS_FL_SAVE_ARGS | FTRACE_OPS_FL_IPMODIFY | FTRACE_OPS_FL_PERMANENT, \
	}

static struct ftrace_ops follow_guard = GUARD(guard_follow);
static struct ftrace_ops walk_guard = GUARD(guard_walk);

static int set(struct ftrace_ops *guard, char *function)
{
	int ret = ftrace_set_filter(guard, function, strlen(function), 1);

	ret = ret ?: register_ftrace_function(guard);
	if (!ret)
		return 0;
	ftrace_free_filter(guard);
	pr_warn("cannot guard %s: %d%s\n", function, ret,
		ret != -EBUSY ? "" : ": kernel.ftrace_enabled is 0, or a live patch or probe has the function");
	return ret;
}

static void lift(struct ftrace_ops *guard)
{
	if (!(guard->flags & FTRACE_OPS_FL_ENABLED))
		return;
	unregister_ftrace_function(guard);
	ftrace_free_filter(guard);
}

/* Another module may come to lie where KVM was. */
static int forget_calls(struct notifier_block *block, unsigned long event, void *module)
{
	if (event == MODULE_STATE_GOING)
		memset(kvm_calls, 0, sizeof(kvm_calls));
	return NOTIFY_OK;
}

static struct notifier_block modules = { .notifier_call = forget_calls };

int __init dmemfs_guard_devices(void)
{
	int ret = register_module_notifier(&modules);

	if (ret)
		return ret;
	ret = set(&follow_guard, "follow_pfnmap_start");
	if (ret)
		unregister_module_notifier(&modules);
	return ret;
}

enum dmemfs_huge __init dmemfs_guard_walks(void)
{
	if (!DMEMFS_MBIND_NEEDS_GUARD)
		return DMEMFS_HUGE_SAFE;
	return set(&walk_guard, "queue_folios_pte_range") ? DMEMFS_HUGE_NO_GUARD : DMEMFS_HUGE_GUARDED;
}

void dmemfs_guards_exit(void)
{
	lift(&walk_guard);
	lift(&follow_guard);
	unregister_module_notifier(&modules);
}
