// SPDX-License-Identifier: GPL-2.0-only
/*
 * Refuses hibernation while a region is claimed. The image would contain the module's records of owners, of lent and of
 * zeroed memory, but not the memory itself.
 */
#include "dmemfs.h"

#include <linux/suspend.h>

static int on_sleep(struct notifier_block *block, unsigned long action, void *data)
{
	if ((action != PM_HIBERNATION_PREPARE && action != PM_RESTORE_PREPARE) || !dmemfs_regions_exist())
		return NOTIFY_DONE;
	pr_warn("no hibernation: the image would not contain the memory of claimed regions; unload the module first\n");
	return notifier_from_errno(-EBUSY);
}

static struct notifier_block sleep = { .notifier_call = on_sleep };

int __init dmemfs_sleep_init(void)
{
	return register_pm_notifier(&sleep);
}

void dmemfs_sleep_exit(void)
{
	unregister_pm_notifier(&sleep);
}
