// SPDX-License-Identifier: GPL-2.0-or-later
/* dmemfsctl plan: chooses RAM to reserve, and prints or writes the boot loader's configuration. */
#include "dmemfsctl/plan.h"

#include <stdio.h>
#include <string.h>

#include "base/page_order.h"
#include "config/config.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/text.h"

static struct {
	char *size;
	char **nodes;
	char *leave;
	char *root;
	char *boot_loader;
	char *pages;
	gboolean write;
	gboolean remove;
} arguments;

static const GOptionEntry options[] = {
	{ "size", 's', 0, G_OPTION_ARG_STRING, &arguments.size,
	  "How much to reserve, a multiple of 1G, or of what --pages needs", "SIZE" },
	{ "pages", 0, 0, G_OPTION_ARG_STRING, &arguments.pages,
	  "pages= of the [region]: 1G, 2M or none; ranges for 1G, the default, fit all", "PAGES" },
	{ "node", 0, 0, G_OPTION_ARG_STRING_ARRAY, &arguments.nodes,
	  "Reserve on this NUMA node; may be given several times, all nodes by default", "N" },
	{ "leave", 0, 0, G_OPTION_ARG_STRING, &arguments.leave,
	  "How much the kernel keeps; 1/16 of the RAM by default, but at least 2G", "SIZE" },
	{ "write", 0, 0, G_OPTION_ARG_NONE, &arguments.write,
	  "Write the boot loader's configuration, and say what to run next", NULL },
	{ "remove", 0, 0, G_OPTION_ARG_NONE, &arguments.remove,
	  "Take back what --write wrote, and say what to run next", NULL },
	{ "boot-loader", 0, 0, G_OPTION_ARG_STRING, &arguments.boot_loader,
	  "grub or systemd-boot; by default the one that is installed", "NAME" },
	{ "root", 0, 0, G_OPTION_ARG_FILENAME, &arguments.root,
	  "Look below DIR instead of /: for another machine's files", "DIR" },
	G_OPTION_ENTRY_NULL
};

static bool get_size(const char *option, const char *text, uint64_t *bytes, GError **error)
{
	g_autoptr(GError) wrong = NULL;

	if (config_parse_size(text, bytes, &wrong))
		return true;
	command_fail(error, STATUS_USAGE, "%s: %s", option, wrong->message);
	return false;
}

static bool get_pages(unsigned *order, GError **error)
{
	if (page_order_parse(arguments.pages ? arguments.pages : "1G", order))
		return true;
	command_fail(error, STATUS_USAGE, "--pages %s: is not known: use 1G, 2M or none", arguments.pages);
	return false;
}

static bool get_requested_size(unsigned order, uint64_t *size, GError **error)
{
	uint64_t alignment = plan_alignment(order);

	if (!arguments.size) {
		command_fail(error, STATUS_USAGE, "--size SIZE is missing: name how much to reserve, such as 64G");
		return false;
	}
	if (!get_size("--size", arguments.size, size, error))
		return false;
	if (*size > 0 && *size % alignment == 0)
		return true;

	g_autofree char *possible = config_format_size((*size / alignment + 1) * alignment);
	g_autofree char *unit = config_format_size(alignment);
	bool others = *size > 0 && *size % plan_alignment(PAGE_ORDER_2M) == 0;

	command_fail(error, STATUS_USAGE, "--size %s: is not a multiple of %s, as pages=%s needs: use %s%s",
	             arguments.size, unit, page_order_name(order), possible, others ? ", or --pages 2M" : "");
	return false;
}

static bool has_node(const struct machine *machine, guint64 node)
{
	for (guint i = 0; i < machine->nodes->len; i++) {
		if ((guint64)g_array_index(machine->nodes, int, i) == node)
			return true;
	}
	return false;
}

static bool fail_node(const struct machine *machine, const char *text, GError **error)
{
	g_autoptr(GString) nodes = g_string_new(NULL);

	for (guint i = 0; i < machine->nodes->len; i++)
		g_string_append_printf(nodes, "%s%d", i ? ", " : "", g_array_index(machine->nodes, int, i));
	command_fail(error, STATUS_USAGE, "--node %s: is not a node of this machine: use %s", text, nodes->str);
	return false;
}

static bool get_nodes(const struct machine *machine, GArray *nodes, GError **error)
{
	for (char **text = arguments.nodes; text && *text; text++) {
		guint64 node;
		int number;

		if (!g_ascii_string_to_unsigned(*text, 10, 0, G_MAXINT, &node, NULL) || !has_node(machine, node))
			return fail_node(machine, *text, error);
		number = (int)node;
		g_array_append_val(nodes, number);
	}
	return true;
}

/* What the running kernel cannot do with the memory. With compound pages as the default, the daemon does without. */
static void add_kernel_warnings(GPtrArray *warnings, unsigned order, const char *root)
{
	bool raw = order == PAGE_ORDER_NONE || !machine_can_have_pages(root);

	if (!machine_can_reserve(root)) {
		g_ptr_array_add(warnings, g_strdup("the running kernel is too old: " MACHINE_RESERVE
		                                   ", on Debian 12 linux-image-amd64 of bookworm-backports"));
		return;
	}
	if (raw && order != PAGE_ORDER_NONE)
		g_ptr_array_add(warnings, g_strdup("the running kernel allows pages=none only: " MACHINE_PAGES
		                                   ": " MACHINE_PAGES_REMEDY));
	if (raw && machine_refuses_nesting(root)) {
		g_autofree char *remedy = machine_refusal_remedy(root);

		g_ptr_array_add(warnings, g_strconcat(MACHINE_REFUSAL ": ", remedy, NULL));
	}
}

/* Reasons why the plan may not be good; none of them is an error. */
static GPtrArray *find_warnings(const GArray *ranges, unsigned order, const char *root)
{
	GPtrArray *warnings = g_ptr_array_new_with_free_func(g_free);

	if (machine_is_locked_down(root))
		g_ptr_array_add(warnings,
		                g_strdup("the kernel is locked down, as with Secure Boot: reserved memory is of no use "
		                         "until it no longer is"));
	if (machine_has_unsafe_nesting(root))
		g_ptr_array_add(warnings, g_strdup(MACHINE_NESTING ": " MACHINE_NESTING_REMEDY));
	add_kernel_warnings(warnings, order, root);
	if (ranges->len > PLAN_RANGES_KASLR)
		g_ptr_array_add(warnings,
		                g_strdup_printf("with %u ranges, more than %d, the kernel does not randomise its own "
		                                "address (KASLR)",
		                                ranges->len, PLAN_RANGES_KASLR));
	for (guint i = 0; i < ranges->len; i++) {
		const struct machine_range *range = &g_array_index(ranges, struct machine_range, i);

		if (range->node < 0)
			g_ptr_array_add(warnings,
			                g_strdup_printf("the NUMA node of 0x%" G_GINT64_MODIFIER "x is not known",
			                                range->extent.start));
	}
	return warnings;
}

struct plan {
	struct plan_request request;
	unsigned order; /* of the compound pages: page_order.h */
	const struct machine *machine;
	GArray *ranges;
	GPtrArray *warnings;
	char *arguments;
	char *grub;
	const struct plan_loader *loader; /* whose configuration was written; NULL: none */
	char *written;                    /* the path that was written; NULL: none */
};

static void plan_clear(struct plan *plan)
{
	g_clear_pointer(&plan->ranges, g_array_unref);
	g_clear_pointer(&plan->warnings, g_ptr_array_unref);
	g_free(plan->arguments);
	g_free(plan->grub);
	g_free(plan->written);
}

static uint64_t saving(const struct plan *plan)
{
	return plan->request.size / DMEMFS_PAGE_4K * PLAN_PAGE_STRUCT;
}

static void print_ranges(const struct plan *plan)
{
	static const char *const headers[] = { ">START", ">END", ">SIZE", ">NODE", NULL };
	g_autoptr(table_t) table = table_new(headers);
	g_autofree char *text = NULL;

	for (guint i = 0; i < plan->ranges->len; i++) {
		const struct machine_range *range = &g_array_index(plan->ranges, struct machine_range, i);

		table_take(table, g_strdup_printf("0x%" G_GINT64_MODIFIER "x", range->extent.start));
		table_take(table,
		           g_strdup_printf("0x%" G_GINT64_MODIFIER "x", range->extent.start + range->extent.length));
		table_take(table, text_size(range->extent.length));
		table_take(table, range->node < 0 ? g_strdup("?") : g_strdup_printf("%d", range->node));
	}
	text = table_text(table, "  ");
	fputs(text, stdout);
}

static void print_plan(const struct plan *plan)
{
	g_autofree char *ram = text_size(plan->machine->bytes);
	g_autofree char *size = text_size(plan->request.size);
	g_autofree char *rest = text_size(plan->machine->bytes - plan->request.size);
	g_autofree char *saved = text_size(saving(plan));

	printf("Of %s of RAM on %u node%s, reserve %s; %s stays with the kernel:\n", ram, plan->machine->nodes->len,
	       plan->machine->nodes->len == 1 ? "" : "s", size, rest);
	print_ranges(plan);
	for (guint i = 0; i < plan->warnings->len; i++)
		printf("Note: %s.\n", (const char *)g_ptr_array_index(plan->warnings, i));
	printf("It saves %s of struct page.\n\nKernel arguments, instead of any memmap= of dmemfs that is there:\n  %s\n\n",
	       saved, plan->arguments);
	if (plan->written) {
		printf("Written: %s\nNext: %s, then reboot.\n", plan->written, plan->loader->next);
		return;
	}
	printf("GRUB: put this into " PLAN_GRUB_DROP_IN " (or use --write), run update-grub, reboot:\n%s\n"
	       "systemd-boot: append the arguments as they are to " PLAN_KERNEL_CMDLINE
	       " (or use --write), then\n  " PLAN_KERNEL_INSTALL "\nand reboot.\n",
	       plan->grub);
}

static void describe(struct json *json, const struct plan *plan)
{
	g_auto(GStrv) words = g_strsplit(plan->arguments, " ", -1);

	json_unsigned(json, "ram_bytes", plan->machine->bytes);
	json_unsigned(json, "reserved_bytes", plan->request.size);
	json_unsigned(json, "left_bytes", plan->machine->bytes - plan->request.size);
	json_unsigned(json, "saved_bytes", saving(plan));
	json_begin_array(json, "ranges");
	for (guint i = 0; i < plan->ranges->len; i++) {
		const struct machine_range *range = &g_array_index(plan->ranges, struct machine_range, i);

		json_begin_object(json, NULL);
		json_unsigned(json, "start", range->extent.start);
		json_unsigned(json, "length_bytes", range->extent.length);
		json_node(json, range->node);
		json_end(json);
	}
	json_end(json);
	json_strings(json, "kernel_arguments", (const char *const *)words);
	json_list(json, "warnings", plan->warnings);
	json_begin_object(json, "grub");
	json_string(json, "file", PLAN_GRUB_DROP_IN);
	json_string(json, "contents", plan->grub);
	json_end(json);
	json_begin_object(json, "systemd_boot");
	json_string(json, "file", PLAN_KERNEL_CMDLINE);
	json_string(json, "append", plan->arguments);
	json_end(json);
	json_string(json, "written", plan->written);
	json_string(json, "next", plan->written ? plan->loader->next : NULL);
}

static bool make_plan(struct plan *plan, const char *root, GError **error)
{
	plan->ranges = plan_choose(plan->machine, &plan->request, error);
	if (!plan->ranges)
		return false;
	plan->warnings = find_warnings(plan->ranges, plan->order, root);
	plan->arguments = plan_arguments(plan->ranges);
	plan->grub = plan_grub(plan->ranges);
	if (!arguments.write)
		return true;
	plan->loader = plan_find_loader(root, arguments.boot_loader, error);
	if (plan->loader)
		plan->written = plan_write(plan->loader, root, plan->ranges, error);
	return plan->written;
}

static enum status remove_plan(const char *root, struct json *json, GError **error)
{
	if (arguments.size || arguments.pages || arguments.nodes || arguments.leave || arguments.write)
		return command_fail(
			error, STATUS_USAGE,
			"--remove is given with options of a new plan: use it with --boot-loader and --root only");
	return plan_remove(root, arguments.boot_loader, json, error);
}

static enum status run(const struct invocation *invocation, GError **error)
{
	const char *root = arguments.root ? arguments.root : "";
	g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(int));
	struct plan plan = { .request.nodes = nodes };
	bool done;

	if (arguments.remove)
		return remove_plan(root, invocation->json, error);
	if (!get_pages(&plan.order, error) || !get_requested_size(plan.order, &plan.request.size, error) ||
	    (arguments.leave && !get_size("--leave", arguments.leave, &plan.request.leave, error)))
		return STATUS_USAGE;

	plan.request.alignment = plan_alignment(plan.order);

	g_autoptr(machine_t) machine = machine_read(root, error);

	if (!machine || !get_nodes(machine, nodes, error))
		return STATUS_FAILED;
	if (!arguments.leave)
		plan.request.leave = MAX(machine->bytes / 16, UINT64_C(2) << 30);
	plan.machine = machine;
	done = make_plan(&plan, root, error);
	if (done && invocation->json)
		describe(invocation->json, &plan);
	else if (done)
		print_plan(&plan);
	plan_clear(&plan);
	return STATUS_DONE;
}

const struct command command_plan = {
	.name = "plan",
	.operands = "",
	.summary = "Propose RAM to reserve, and the kernel arguments for it",
	.details =
		"Ranges begin and end at multiples of 1 GiB, or of 128 MiB with --pages 2M or none, above 4 GiB, in RAM that\n"
		"the firmware reports. So the pages fit, and the kernel keeps no struct page for the ranges. Changes nothing\n"
		"without --write or --remove.",
	.options = options,
	.run = run,
};
