// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks of processes that map files, mostly guests: what they use that does not work with such memory. */
#include <string.h>
#include <sys/stat.h>

#include "base/qemu_name.h"
#include "dmemfsctl/descriptors.h"
#include "dmemfsctl/doctor.h"
#include "dmemfsctl/files.h"
#include "dmemfsctl/machine.h"
#include "dmemfsctl/qemu_cmdline.h"
#include "dmemfsctl/text.h"
#include "dmemfsctl/view.h"

#define ALIGN(size)                                                                                                   \
	"add align=" size " to QEMU's memory-backend-file (see dmemfsctl guest-args); with libvirt use the emulator " \
	"qemu-aligned"
#define ALIGN_LATER                                                                                                                             \
	"QEMU's command line does not name it: it is of -readconfig, of a symbolic link, or was plugged in while "                              \
	"the guest ran: add align= there or to object-add. libvirt cannot: give the domain a virtio-mem device from the start, and change its " \
	"requested size (see dmemfs-guests(7))"

/* Does an object of QEMU's command line have its memory in @file? One that QEMU made in a directory has no name. */
static bool has_memory_in(const GPtrArray *objects, const struct view *view, const struct dmem_file *file)
{
	for (guint i = 0; i < objects->len; i++) {
		const struct qemu_memory *memory = g_ptr_array_index(objects, i);
		struct stat st;

		if (memory->device == view->device && qemu_memory_stat(memory, &st) &&
		    (S_ISDIR(st.st_mode) ? !file->path : st.st_ino == file->inode))
			return true;
	}
	return false;
}

/* What helps QEMU, with the memory @objects, whose mapping of @file should allow pages of the size @wanted. */
static const char *alignment_remedy(const GPtrArray *objects, uint64_t wanted, const struct view *view,
                                    const struct dmem_file *file)
{
	if (!has_memory_in(objects, view, file))
		return ALIGN_LATER;
	return wanted > DMEMFS_PAGE_2M ? ALIGN("1G") : ALIGN("2M or align=1G");
}

/* A vhost-user server, which has no option for it, need not be told that it could have pages of 1 GiB. */
static void check_alignment(struct doctor *doctor, const struct view *view, const struct dmem_file *file,
                            const struct user *user)
{
	uint64_t wanted = file_page_wanted(file, view, user);
	g_autoptr(GPtrArray) objects = wanted ? qemu_cmdline_read(user->pid) : NULL;
	g_autofree char *process = text_visible(user->name);
	g_autofree char *name = file_name(file);
	g_autofree char *page = text_page_sizes(user->page_size);

	if (objects || (wanted && user->page_size < DMEMFS_PAGE_2M))
		doctor_add(doctor, LEVEL_PROBLEM,
		           objects ? alignment_remedy(objects, wanted, view, file)
		                   : "map it at an address that is a multiple of 2M, as align=2M of QEMU does",
		           "%s(%d) maps %s at an address that allows pages of %s only", process, (int)user->pid, name,
		           page);
}

static void check_nodes(struct doctor *doctor, const struct view *view, const struct dmem_file *file,
                        const struct user *user)
{
	uint64_t unmet = file_unmet_nodes(file, view, user);
	g_autofree char *process = text_visible(user->name);
	g_autofree char *name = file_name(file);
	g_autofree char *nodes = node_names(unmet);

	if (unmet)
		doctor_add(doctor, LEVEL_PROBLEM,
		           "set dmemfs.node on the file's directory before the guest makes the file: the policy of a "
		           "mapping does not move memory (see dmemfs(7), NUMA)",
		           "%s(%d) has bound its mapping of %s to other NUMA nodes, but memory of it is on node %s",
		           process, (int)user->pid, name, nodes);
}

/* The guest of a daemon that was stopped, or died without one that took over. */
static void check_mount(struct doctor *doctor, const struct dmem_file *file, const struct user *user)
{
	g_autofree char *process = text_visible(user->name);
	g_autofree char *name = file_name(file);
	g_autofree char *remedy =
		file->path
			? g_strdup_printf(
				  "restart or migrate it; until then do not truncate %s, and do not give it to another "
				  "guest: both would have the same memory",
				  name)
			: g_strdup("restart or migrate it: the memory comes back when this process ends");

	if (user->is_earlier)
		doctor_add(doctor, LEVEL_PROBLEM, remedy,
		           "%s(%d) maps %s by an earlier mount, of a daemon that was stopped or died: it still has the "
		           "file's memory, but what it has open there fails with ENOTCONN",
		           process, (int)user->pid, name);
}

static void check_user(struct doctor *doctor, const struct view *view, const struct dmem_file *file,
                       const struct user *user)
{
	g_autofree char *process = text_visible(user->name);
	g_autofree char *name = file_name(file);

	if (user->is_private)
		doctor_add(doctor, LEVEL_PROBLEM, "map it shared: share=on (see dmemfsctl guest-args)",
		           "%s(%d) maps %s privately: each page that it writes is copied to ordinary RAM", process,
		           (int)user->pid, name);
	check_mount(doctor, file, user);
	check_alignment(doctor, view, file, user);
	check_nodes(doctor, view, file, user);
}

/* Whether the process runs a guest. Servers of vhost-user devices map the RAM of a guest as well, and may. */
static bool is_monitor(const struct user *user)
{
	return qemu_name_is(user->name) || g_str_has_prefix(user->name, "cloud-hyper");
}

/* Two guests with the same RAM: each destroys what the other has in it. */
static void check_monitors(struct doctor *doctor, const struct dmem_file *file)
{
	g_autoptr(GString) names = g_string_new(NULL);
	g_autofree char *name = file_name(file);
	guint count = 0;

	for (guint i = 0; i < file->users->len; i++) {
		const struct user *user = g_ptr_array_index(file->users, i);
		g_autofree char *process = text_visible(user->name);

		if (is_monitor(user))
			g_string_append_printf(names, "%s%s(%d)", count++ ? ", " : "", process, (int)user->pid);
	}
	if (count > 1)
		doctor_add(doctor, LEVEL_PROBLEM,
		           "give each guest a file of its own, unless one of them only waits for the other's migration",
		           "%s is the RAM of %u guests at once: %s", name, count, names->str);
}

void doctor_check_mappings(struct doctor *doctor)
{
	guint before = doctor->findings->len, users = 0;

	for (guint i = 0; i < doctor->views->len; i++) {
		const struct view *view = g_ptr_array_index(doctor->views, i);
		g_autoptr(GError) error = NULL;
		struct file_list *list = files_collect(view, FILE_WHERE, &error);

		g_ptr_array_add(doctor->files, list);
		if (!list) {
			g_autofree char *reason = text_visible(error->message); /* has the name of a file */

			doctor_add(doctor, LEVEL_NOTE, "run as root", "%s", reason);
			continue;
		}
		files_read_policies(list->users, view);
		for (guint k = 0; k < list->files->len; k++) {
			const struct dmem_file *file = g_ptr_array_index(list->files, k);

			for (guint n = 0; n < file->users->len; n++)
				check_user(doctor, view, file, g_ptr_array_index(file->users, n));
			check_monitors(doctor, file);
		}
		users += list->users->len;
	}
	if (doctor->views->len > 0 && doctor->findings->len == before)
		doctor_add(doctor, LEVEL_OK, NULL, "%u mapped files: all mappings are shared and aligned", users);
}

/*
 * The processes that map reserved memory without compound pages, which nothing can pin: GPtrArray of struct user, each process once.
 * What a removed file has is not known, so it counts if all regions are of that kind.
 */
static GPtrArray *users_of_raw_memory(const struct doctor *doctor)
{
	GPtrArray *found = g_ptr_array_new();
	g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

	for (guint i = 0; i < doctor->files->len; i++) {
		const struct view *view = g_ptr_array_index(doctor->views, i);
		const struct file_list *list = g_ptr_array_index(doctor->files, i);
		bool all_raw = true;

		if (!list || g_strcmp0(g_hash_table_lookup(view->daemon, "backend"), "pfn") != 0)
			continue;
		for (guint k = 0; k < view->regions->len; k++)
			all_raw &= g_strcmp0(g_array_index(view->regions, struct view_region, k).pages, "none") == 0;
		for (guint k = 0; k < list->files->len; k++) {
			const struct dmem_file *file = g_ptr_array_index(list->files, k);

			if (file->pages ? strcmp(file->pages, "none") != 0 : !all_raw)
				continue;
			for (guint n = 0; n < file->users->len; n++) {
				struct user *user = g_ptr_array_index(file->users, n);

				if (g_hash_table_add(seen, GINT_TO_POINTER(user->pid)))
					g_ptr_array_add(found, user);
			}
		}
	}
	return found;
}

static void add_direct(struct doctor *doctor, const char *process, const struct user *user, const char *name)
{
	g_autofree char *advice = machine_advise_pages(doctor->root, "the guest");
	g_autofree char *remedy =
		g_strconcat("use the page cache for the disk: cache=writeback instead of none or directsync; or ",
	                    advice, NULL);

	doctor_add(doctor, LEVEL_PROBLEM, remedy,
	           "%s(%d) has %s open with O_DIRECT, but memory with pages=none: reading into it fails with "
	           "EFAULT, whatever aio= is",
	           process, (int)user->pid, name);
}

static void add_assigned(struct doctor *doctor, const char *process, const struct user *user, const char *name)
{
	g_autofree char *remedy = machine_advise_pages(doctor->root, "the guest");

	doctor_add(doctor, LEVEL_PROBLEM, remedy,
	           "%s(%d) has %s open, but memory with pages=none: an assigned device (VFIO) cannot reach it", process,
	           (int)user->pid, name);
}

static void check_descriptors(struct doctor *doctor, const struct user *user, enum descriptor_kind kind)
{
	g_autoptr(GPtrArray) names = descriptors_find(user->pid, kind);
	g_autofree char *process = text_visible(user->name);

	for (guint i = 0; i < names->len; i++) {
		g_autofree char *name = text_visible(g_ptr_array_index(names, i));

		(kind == DESCRIPTOR_VFIO ? add_assigned : add_direct)(doctor, process, user, name);
	}
	if (names->len == DESCRIPTORS_MAX)
		doctor_add(doctor, LEVEL_NOTE, NULL, "%s(%d): not more than %d of its files are named here", process,
		           (int)user->pid, DESCRIPTORS_MAX);
}

/* False: what a mount has could not be read, so that nothing is known of its users. */
static bool knows_all_files(const struct doctor *doctor)
{
	for (guint i = 0; i < doctor->files->len; i++) {
		if (!g_ptr_array_index(doctor->files, i))
			return false;
	}
	return doctor->files->len > 0;
}

static void check_raw(struct doctor *doctor, enum descriptor_kind kind, const char *healthy)
{
	g_autoptr(GPtrArray) users = users_of_raw_memory(doctor);
	guint before = doctor->findings->len;

	for (guint i = 0; i < users->len; i++)
		check_descriptors(doctor, g_ptr_array_index(users, i), kind);
	if (knows_all_files(doctor) && doctor->findings->len == before)
		doctor_add(doctor, LEVEL_OK, NULL, "%s", healthy);
}

void doctor_check_direct_io(struct doctor *doctor)
{
	check_raw(doctor, DESCRIPTOR_DIRECT, "no process that maps memory without struct page uses O_DIRECT");
}

void doctor_check_vfio(struct doctor *doctor)
{
	check_raw(doctor, DESCRIPTOR_VFIO, "no process that maps memory without struct page uses VFIO");
}

static void check_object(struct doctor *doctor, const struct view *view, const struct user *user,
                         const struct qemu_memory *memory)
{
	g_autofree char *process = text_visible(user->name);
	g_autofree char *id = text_visible(memory->id);
	struct stat st;

	if (!memory->prealloc && memory->device == view->device && qemu_memory_stat(memory, &st))
		doctor_add(doctor, LEVEL_NOTE,
		           "add prealloc=on; with libvirt, <allocation mode=\"immediate\"/> (see dmemfsctl guest-args)",
		           "%s(%d): memory-backend-file %s has no prealloc=on: if its file gets no memory, the guest "
		           "starts all the same and dies of SIGBUS later",
		           process, (int)user->pid, id);
}

static void check_objects(struct doctor *doctor, const struct view *view, const GPtrArray *users)
{
	pid_t last = 0;

	for (guint i = 0; i < users->len; i++) {
		const struct user *user = g_ptr_array_index(users, i);
		g_autoptr(GPtrArray) objects = user->pid == last ? NULL : qemu_cmdline_read(user->pid);

		for (guint k = 0; objects && k < objects->len; k++)
			check_object(doctor, view, user, g_ptr_array_index(objects, k));
		last = user->pid;
	}
}

/* QEMU goes on when its file could not be sized. */
static void check_end(struct doctor *doctor, const struct dmem_file *file, const struct user *user)
{
	g_autofree char *process = text_visible(user->name);
	g_autofree char *name = file_name(file);
	g_autofree char *mapped = text_size(user->end);
	g_autofree char *size = text_size(file->size);

	if (file->path && user->end > file->allocated)
		doctor_add(doctor, LEVEL_PROBLEM,
		           "stop it, make room for its file, and start it with prealloc=on (see dmemfsctl guest-args)",
		           "%s(%d) maps %s of %s, which has only %s: an access past that is SIGBUS", process,
		           (int)user->pid, mapped, name, size);
}

/* Only the memory backend lets a process map more than the file has: the module refuses it. */
void doctor_check_prealloc(struct doctor *doctor)
{
	for (guint i = 0; i < doctor->files->len; i++) {
		const struct view *view = g_ptr_array_index(doctor->views, i);
		const struct file_list *list = g_ptr_array_index(doctor->files, i);

		if (!list || g_strcmp0(g_hash_table_lookup(view->daemon, "backend"), "memory") != 0)
			continue;
		check_objects(doctor, view, list->users);
		for (guint k = 0; k < list->files->len; k++) {
			const struct dmem_file *file = g_ptr_array_index(list->files, k);

			for (guint n = 0; n < file->users->len; n++)
				check_end(doctor, file, g_ptr_array_index(file->users, n));
		}
	}
}
