// SPDX-License-Identifier: GPL-2.0-or-later
/* What works for a guest, by its monitor and the kind of its memory; dmemfs-guests(7) has more. */
#include "dmemfsctl/guest_notes.h"

#include "base/page_order.h"

static bool is_raw(const struct guest_memory *memory)
{
	return !memory->is_tmpfs && memory->order == PAGE_ORDER_NONE;
}

static const char *cache_note(enum guest_monitor monitor, const struct guest_memory *memory)
{
	if (monitor == GUEST_CLOUD_HYPERVISOR)
		return is_raw(memory) ? "cache: a disk must not have direct=on" : "cache: a disk may have direct=on";
	return is_raw(memory) ? "cache: writeback, writethrough or unsafe; none and directsync fail, with every aio="
	                      : "cache: every mode works, also none and directsync";
}

static const char *prealloc_note(enum guest_monitor monitor, const struct guest_memory *memory)
{
	if (monitor == GUEST_CLOUD_HYPERVISOR)
		return is_raw(memory) ? "prealloc: prefault=on fails" : "prealloc: prefault=on works";
	if (memory->is_tmpfs)
		return "prealloc: needed: else a guest whose file gets no memory dies of SIGBUS later";
	return memory->demand ? "prealloc: would take all memory at the start, in spite of dmemfs.alloc=demand"
	                      : "prealloc: not needed: QEMU ends if the file gets no memory";
}

static const char *align_note(enum guest_monitor monitor)
{
	return monitor == GUEST_LIBVIRT
	               ? "align: qemu-aligned adds it, but not to memory that is plugged in later: give the domain a "
	                 "virtio-mem device from the start, and change its requested size"
	               : "align: without it pages are of 4K; object-add of more memory needs it, too";
}

/* What comes back when the guest gives memory back, and what it needs for that. */
static const char *discard_note(const struct guest_memory *memory)
{
	if (memory->is_tmpfs)
		return "discard: memory that the guest gives back stays with the file";
	if (is_raw(memory) && !memory->discard)
		return "discard: set dmemfs.discard to 1 first, or virtio-mem does not start";
	if (!memory->demand)
		return "discard: memory that the guest gives back comes back with dmemfs.alloc=demand only";
	switch (memory->order) {
	case PAGE_ORDER_NONE:
		return "discard: virtio-mem, free page reporting and a balloon give whole units back";
	case PAGE_ORDER_2M:
		return "discard: virtio-mem and free page reporting give memory back; a balloon does not";
	default:
		return "discard: virtio-mem with block-size=1G gives memory back; free page reporting and a balloon do not";
	}
}

static const char *devices_note(const struct guest_memory *memory)
{
	if (memory->is_tmpfs)
		return "devices: assigned ones (VFIO) are not tested";
	return is_raw(memory) ? "devices: none can be assigned (VFIO)" : "devices: they can be assigned (VFIO)";
}

GPtrArray *guest_notes(enum guest_monitor monitor, const struct guest_memory *memory)
{
	GPtrArray *notes = g_ptr_array_new_with_free_func(g_free);

	g_ptr_array_add(notes, g_strdup(cache_note(monitor, memory)));
	g_ptr_array_add(notes, g_strdup(prealloc_note(monitor, memory)));
	/* Cloud Hypervisor has no option for the alignment, and was not tested with what gives memory back. */
	if (monitor != GUEST_CLOUD_HYPERVISOR) {
		g_ptr_array_add(notes, g_strdup(align_note(monitor)));
		g_ptr_array_add(notes, g_strdup(discard_note(memory)));
	}
	g_ptr_array_add(notes, g_strdup(devices_note(memory)));
	return notes;
}
