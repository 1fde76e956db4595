// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * dmemfsctl guest-args: prints the arguments with which a virtual machine monitor uses a file on dmemfs as a guest's
 * RAM.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/page_order.h"
#include "config/config.h"
#include "dmemfsctl/command.h"
#include "dmemfsctl/files.h"
#include "dmemfsctl/guest_notes.h"
#include "dmemfsctl/text.h"
#include "dmemfsctl/view.h"

static struct {
	char *vmm;
	char *size;
} arguments;

static const GOptionEntry options[] = { { "vmm", 0, 0, G_OPTION_ARG_STRING, &arguments.vmm,
	                                  "qemu (default), cloud-hypervisor or libvirt", "NAME" },
	                                { "size", 's', 0, G_OPTION_ARG_STRING, &arguments.size,
	                                  "The guest's memory; by default the size of the file", "SIZE" },
	                                G_OPTION_ENTRY_NULL };

struct guest {
	char *path; /* absolute */
	bool is_directory;
	bool exists;    /* the file exists and has a size */
	uint64_t size;  /* bytes; 0: the domain's XML has it in another place */
	uint64_t align; /* the largest page that can map the memory */
	bool prealloc;  /* the monitor has to touch all memory at the start, to find a shortage */
	struct guest_memory memory;
};

/* The result. */
struct advice {
	GPtrArray *prepare;   /* commands to run first */
	GPtrArray *arguments; /* the monitor's arguments; empty with XML */
	GPtrArray *notes;     /* guest_notes() */
	GString *xml;         /* XML for the domain; NULL: none */
	char *setting;        /* a line for a configuration file of the monitor; NULL: none */
	const char *emulator; /* the program for the XML's <emulator>; NULL: any */
};

static bool check_path(const struct guest *guest, GError **error)
{
	struct stat st;
	g_autofree char *parent = g_path_get_dirname(guest->path);

	if (stat(guest->path, &st) == 0) {
		if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
			return true;
		command_fail(error, STATUS_FAILED, "%s: is neither a file nor a directory: name one on dmemfs",
		             guest->path);
	} else if (errno != ENOENT) {
		command_fail(error, STATUS_FAILED, "%s: %s: name a file on dmemfs", guest->path, g_strerror(errno));
	} else if (!g_file_test(parent, G_FILE_TEST_IS_DIR)) {
		command_fail(error, STATUS_FAILED, "%s: %s does not exist: make that directory first", guest->path,
		             parent);
	} else {
		return true;
	}
	return false;
}

static bool get_size(struct guest *guest, uint64_t page_size, GError **error)
{
	g_autoptr(GError) wrong = NULL;
	uint64_t wanted = 0;

	if (arguments.size && !config_parse_size(arguments.size, &wanted, &wrong))
		return command_fail(error, STATUS_USAGE, "--size: %s", wrong->message) == STATUS_DONE;
	if (guest->exists && wanted && wanted != guest->size)
		return command_fail(error, STATUS_USAGE,
		                    "--size %s: %s has %" G_GUINT64_FORMAT " bytes: leave --size out", arguments.size,
		                    guest->path, guest->size) == STATUS_DONE;
	if (guest->exists)
		return true;
	if (!wanted)
		return command_fail(error, STATUS_USAGE, "%s: has no size yet: add --size SIZE", guest->path) ==
		       STATUS_DONE;
	if (wanted % page_size) {
		g_autofree char *unit = config_format_size(page_size);

		return command_fail(error, STATUS_USAGE, "--size %s: is not a multiple of the mount's page size, %s",
		                    arguments.size, unit) == STATUS_DONE;
	}
	guest->size = wanted;
	return true;
}

static uint64_t largest_page(uint64_t bytes)
{
	return bytes >= DMEMFS_PAGE_1G ? DMEMFS_PAGE_1G : bytes >= DMEMFS_PAGE_2M ? DMEMFS_PAGE_2M : DMEMFS_PAGE_4K;
}

static struct guest_memory read_memory(const char *path, const struct view *view)
{
	g_autofree char *pages = view_read_attribute(path, "dmemfs.pages", NULL);
	g_autofree char *alloc = view_read_attribute(path, "dmemfs.alloc", NULL);
	g_autofree char *discard = view_read_attribute(path, "dmemfs.discard", NULL);
	struct guest_memory memory = { .order = PAGE_ORDER_NONE };

	memory.is_tmpfs = g_strcmp0(g_hash_table_lookup(view->daemon, "backend"), "memory") == 0;
	if (pages)
		page_order_parse(pages, &memory.order);
	memory.demand = g_strcmp0(alloc, "demand") == 0;
	memory.discard = g_strcmp0(discard, "1") == 0;
	return memory;
}

static bool describe_guest(struct guest *guest, const struct view *view, GError **error)
{
	guest->is_directory = g_file_test(guest->path, G_FILE_TEST_IS_DIR);
	if (!guest->is_directory && g_file_test(guest->path, G_FILE_TEST_EXISTS)) {
		g_autoptr(dmem_file_t) file = file_read(guest->path, FILE_IF_ALLOWED, error);

		if (!file)
			return false;
		guest->size = file->size;
		guest->exists = file->size > 0;
		guest->align = largest_page(files_hide_memory() ? file->size : page_share_sizes(file_pages(file)));
	}
	if (!get_size(guest, view->page_size, error))
		return false;
	if (!guest->exists)
		guest->align = largest_page(guest->size);
	/* tmpfs has pages of at most 2 MiB, and allows mappings of a file that has no memory yet. */
	guest->prealloc = guest->memory.is_tmpfs;
	if (guest->memory.is_tmpfs || guest->memory.order == PAGE_ORDER_2M)
		guest->align = MIN(guest->align, DMEMFS_PAGE_2M);
	return true;
}

static void add_prepare(struct advice *advice, const struct guest *guest)
{
	g_autofree char *size = config_format_size(guest->size);
	g_autofree char *path = g_shell_quote(guest->path);

	if (!guest->exists)
		g_ptr_array_add(advice->prepare, g_strdup_printf("truncate -s %s %s", size, path));
}

/* Writes each comma twice, as QEMU's options need it. */
static char *double_commas(const char *value)
{
	g_auto(GStrv) parts = g_strsplit(value, ",", -1);

	return g_strjoinv(",,", parts);
}

/*
 * QEMU goes on when it cannot set the size of its file. With reserved memory, mmap(2) then fails. On tmpfs it
 * succeeds, so prealloc=on is needed to make QEMU fail; with reserved memory prealloc=on would only take time.
 */
static char *qemu_object(const struct guest *guest)
{
	g_autofree char *size = config_format_size(guest->size);
	g_autofree char *align = config_format_size(guest->align);
	g_autofree char *path = double_commas(guest->path);

	return g_strdup_printf("memory-backend-file,id=dmemfs,size=%s,mem-path=%s,share=on,prealloc=%s%s%s", size, path,
	                       guest->prealloc ? "on" : "off", guest->align > DMEMFS_PAGE_4K ? ",align=" : "",
	                       guest->align > DMEMFS_PAGE_4K ? align : "");
}

static bool advise_qemu(const struct guest *guest, struct advice *advice, GError **error)
{
	(void)error;
	g_ptr_array_add(advice->arguments, g_strdup("-object"));
	g_ptr_array_add(advice->arguments, qemu_object(guest));
	g_ptr_array_add(advice->arguments, g_strdup("-machine"));
	g_ptr_array_add(advice->arguments, g_strdup("memory-backend=dmemfs"));
	g_ptr_array_add(advice->arguments, g_strdup("-m"));
	g_ptr_array_add(advice->arguments, g_strdup_printf("%" G_GUINT64_FORMAT "B", guest->size));
	return true;
}

/* Without prefault=on, which fails on memory without struct page. */
static bool advise_cloud_hypervisor(const struct guest *guest, struct advice *advice, GError **error)
{
	g_autofree char *size = config_format_size(guest->size);

	if (guest->is_directory)
		return command_fail(error, STATUS_USAGE,
		                    "%s: is a directory, and Cloud Hypervisor opens files that exist: name a "
		                    "file",
		                    guest->path) == STATUS_DONE;
	/* A line break would end the comment that has the path, in the output that a script evaluates. */
	if (strpbrk(guest->path, ",\"[]\n"))
		return command_fail(error, STATUS_FAILED,
		                    "%s: Cloud Hypervisor cannot take such a path: name a file without "
		                    "commas, quotes, brackets and line breaks",
		                    guest->path) == STATUS_DONE;
	add_prepare(advice, guest);
	g_ptr_array_add(advice->arguments, g_strdup("--memory"));
	g_ptr_array_add(advice->arguments, g_strdup("size=0"));
	g_ptr_array_add(advice->arguments, g_strdup("--memory-zone"));
	g_ptr_array_add(advice->arguments, g_strdup_printf("id=dmemfs,size=%s,file=%s,shared=on", size, guest->path));
	return true;
}

static void append_memory(GString *xml, const struct guest *guest)
{
	g_string_append_printf(xml, "<memory unit=\"b\">%" G_GUINT64_FORMAT "</memory>\n", guest->size);
}

/*
 * libvirt makes a file for each guest. It has no option for the alignment, so a script between libvirt and QEMU adds
 * that.
 */
static void advise_libvirt_directory(const struct guest *guest, struct advice *advice)
{
	append_memory(advice->xml, guest);
	g_string_append_printf(advice->xml,
	                       "<memoryBacking>\n"
	                       "  <source type=\"file\"/>\n"
	                       "  <access mode=\"shared\"/>\n"
	                       "  <allocation mode=\"%s\"/>\n"
	                       "</memoryBacking>\n",
	                       guest->prealloc ? "immediate" : "ondemand");
	advice->emulator = DMEMFS_BINDIR "/qemu-aligned";
	advice->setting = g_strdup_printf("memory_backing_dir = \"%s\"", guest->path);
}

/*
 * A file that the user names, with alignment, by QEMU's own arguments. libvirt's memory object exists, too, but is
 * not used.
 */
static void advise_libvirt_file(const struct guest *guest, struct advice *advice)
{
	g_autofree char *object = qemu_object(guest);
	g_autofree char *escaped = g_markup_escape_text(object, -1);

	append_memory(advice->xml, guest);
	g_string_append_printf(advice->xml,
	                       "<qemu:commandline xmlns:qemu=\"http://libvirt.org/schemas/domain/qemu/1.0\">\n"
	                       "  <qemu:arg value=\"-object\"/>\n"
	                       "  <qemu:arg value=\"%s\"/>\n"
	                       "  <qemu:arg value=\"-machine\"/>\n"
	                       "  <qemu:arg value=\"memory-backend=dmemfs\"/>\n"
	                       "</qemu:commandline>\n",
	                       escaped);
}

static bool advise_libvirt(const struct guest *guest, struct advice *advice, GError **error)
{
	if (!g_utf8_validate(guest->path, -1, NULL) || strpbrk(guest->path, "\n\""))
		return command_fail(error, STATUS_FAILED, "%s: libvirt cannot take such a path: name one of plain text",
		                    guest->path) == STATUS_DONE;
	advice->xml = g_string_new(NULL);
	if (guest->is_directory)
		advise_libvirt_directory(guest, advice);
	else
		advise_libvirt_file(guest, advice);
	return true;
}

static const struct monitor {
	const char *name;
	enum guest_monitor kind;
	bool (*advise)(const struct guest *guest, struct advice *advice, GError **error);
} monitors[] = {
	{ "qemu", GUEST_QEMU, advise_qemu },
	{ "cloud-hypervisor", GUEST_CLOUD_HYPERVISOR, advise_cloud_hypervisor },
	{ "libvirt", GUEST_LIBVIRT, advise_libvirt },
};

static const struct monitor *find_monitor(GError **error)
{
	for (size_t i = 0; i < G_N_ELEMENTS(monitors); i++) {
		if (strcmp(arguments.vmm ? arguments.vmm : "qemu", monitors[i].name) == 0)
			return &monitors[i];
	}
	command_fail(error, STATUS_USAGE, "--vmm %s: is not known: use qemu, cloud-hypervisor or libvirt",
	             arguments.vmm);
	return NULL;
}

static bool is_plain(const char *word)
{
	return *word &&
	       word[strspn(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=,./:+@%")] == '\0';
}

/* Notes go to standard error, so that standard output is what a script needs and nothing else. */
static void print_advice(const struct advice *advice)
{
	for (guint i = 0; i < advice->notes->len; i++)
		fprintf(stderr, "# %s\n", (const char *)g_ptr_array_index(advice->notes, i));
	for (guint i = 0; i < advice->prepare->len; i++)
		printf("# first: %s\n", (const char *)g_ptr_array_index(advice->prepare, i));
	for (guint i = 0; i < advice->arguments->len; i++) {
		const char *word = g_ptr_array_index(advice->arguments, i);
		g_autofree char *quoted = is_plain(word) ? g_strdup(word) : g_shell_quote(word);

		printf("%s%s", i ? " " : "", quoted);
	}
	if (advice->arguments->len)
		putchar('\n');
	if (advice->setting)
		printf("# /etc/libvirt/qemu.conf, then restart libvirt: %s\n", advice->setting);
	if (advice->emulator)
		printf("# in <devices>, so that large pages fit: <emulator>%s</emulator>\n", advice->emulator);
	if (advice->xml)
		fputs(advice->xml->str, stdout);
}

static void describe(struct json *json, const char *vmm, const struct guest *guest, const struct advice *advice)
{
	json_string(json, "vmm", vmm);
	json_string(json, "path", guest->path);
	json_unsigned(json, "size_bytes", guest->size);
	json_unsigned(json, "align_bytes", guest->align);
	json_list(json, "prepare", advice->prepare);
	json_list(json, "arguments", advice->arguments);
	json_list(json, "notes", advice->notes);
	json_string(json, "xml", advice->xml ? advice->xml->str : NULL);
	json_string(json, "libvirt_setting", advice->setting);
	json_string(json, "libvirt_emulator", advice->emulator);
}

static void advice_clear(struct advice *advice)
{
	g_ptr_array_unref(advice->prepare);
	g_ptr_array_unref(advice->arguments);
	g_clear_pointer(&advice->notes, g_ptr_array_unref);
	if (advice->xml)
		g_string_free(advice->xml, TRUE);
	g_free(advice->setting);
}

static enum status run(const struct invocation *invocation, GError **error)
{
	const struct monitor *monitor = find_monitor(error);
	g_autofree char *path = g_canonicalize_filename(invocation->operands[0], NULL);
	g_autofree char *parent = g_path_get_dirname(path);
	struct guest guest = { .path = path };
	struct advice advice = { .prepare = g_ptr_array_new_with_free_func(g_free),
		                 .arguments = g_ptr_array_new_with_free_func(g_free) };

	if (monitor && view_answers(path, error) && check_path(&guest, error)) {
		const char *existing = g_file_test(path, G_FILE_TEST_EXISTS) ? path : parent;
		g_autoptr(view_t) view = view_open(existing, error);

		if (view)
			guest.memory = read_memory(existing, view);
		if (view && describe_guest(&guest, view, error) && monitor->advise(&guest, &advice, error)) {
			advice.notes = guest_notes(monitor->kind, &guest.memory);
			if (guest.exists && files_hide_memory())
				g_ptr_array_add(advice.notes,
				                g_strdup("align: by the size of the file: only root may see where its "
				                         "memory lies, so which pages can map it"));
			if (invocation->json)
				describe(invocation->json, monitor->name, &guest, &advice);
			else
				print_advice(&advice);
		}
	}
	advice_clear(&advice);
	return STATUS_DONE;
}

const struct command command_guest_args = {
	.name = "guest-args",
	.operands = "PATH",
	.summary = "Print the arguments for a virtual machine monitor",
	.details =
		"For a file on dmemfs, or for a directory in which the monitor makes a file. share=on is needed; align\n"
		"makes large pages possible. What works with this kind of memory (cache=, prealloc=, align=, discard, assigned\n"
		"devices) is printed to standard error, in lines that begin with #.",
	.options = options,
	.operands_min = 1,
	.operands_max = 1,
	.run = run,
};
