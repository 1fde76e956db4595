// SPDX-License-Identifier: GPL-2.0-only
/* Makes the kernel fail when it is loaded, to see that the laboratory notices: insmod faults.ko kind=warn|oops|lockup */
#include <linux/irqflags.h>
#include <linux/module.h>
#include <linux/string.h>

static char *kind = "";
module_param(kind, charp, 0444);

static int __init faults_init(void)
{
	if (!strcmp(kind, "warn")) {
		WARN(1, "asked for by kind=warn\n");
	} else if (!strcmp(kind, "oops")) {
		WRITE_ONCE(*(volatile int *)16, 0);
	} else if (!strcmp(kind, "lockup")) {
		local_irq_disable();
		for (;;)
			cpu_relax();
	}
	return -EINVAL;
}

module_init(faults_init);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Faults for the tests of the laboratory");
