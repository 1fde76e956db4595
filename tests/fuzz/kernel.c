// SPDX-License-Identifier: GPL-2.0-or-later
/* The kernel's half of FUSE: its tables, and replies. */
#include "kernel.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "base/current_request.h"
#include "kernel_request.h"

static void count_lookup(struct kernel *kernel, uint64_t ino)
{
	for (guint i = 0; i < kernel->nodes->len; i++) {
		struct kernel_node *node = &g_array_index(kernel->nodes, struct kernel_node, i);

		if (node->ino == ino) {
			node->lookups++;
			return;
		}
	}

	const struct kernel_node node = { ino, 1 };

	g_array_append_val(kernel->nodes, node);
}

static void take_entry(struct kernel *kernel, const void *payload, size_t size)
{
	struct fuse_entry_out entry;

	g_assert_cmpuint(size, >=, sizeof(entry));
	memcpy(&entry, payload, sizeof(entry));
	kernel->found = entry.nodeid;
	if (entry.nodeid != 0) {
		g_assert_cmpuint(entry.attr.ino, ==, entry.nodeid);
		count_lookup(kernel, entry.nodeid);
	}
}

static void take_open(struct kernel *kernel, uint64_t ino, const void *payload)
{
	struct fuse_open_out reply;
	struct kernel_open open = { .ino = ino, .flags = kernel->open_flags };

	memcpy(&reply, payload, sizeof(reply));
	open.fh = reply.fh;
	g_array_append_val(kernel->opens, open);
}

static void take_created(struct kernel *kernel, const uint8_t *payload, size_t size)
{
	struct fuse_entry_out entry;

	g_assert_cmpuint(size, ==, sizeof(entry) + sizeof(struct fuse_open_out));
	memcpy(&entry, payload, sizeof(entry));
	take_entry(kernel, payload, size);
	take_open(kernel, entry.nodeid, payload + sizeof(entry));
}

/* Each entry but "." and ".." counts a lookup. */
static void take_listing(struct kernel *kernel, const uint8_t *payload, size_t size)
{
	const size_t header = offsetof(struct fuse_direntplus, dirent.name);

	while (size >= header) {
		struct fuse_direntplus entry;

		memcpy(&entry, payload, header);

		size_t length = (header + entry.dirent.namelen + 7) & ~(size_t)7;
		const char *name = (const char *)payload + header;

		g_assert_cmpuint(length, <=, size);
		if (strncmp(name, ".", entry.dirent.namelen) != 0 && strncmp(name, "..", entry.dirent.namelen) != 0)
			take_entry(kernel, payload, length);
		payload += length;
		size -= length;
	}
	g_assert_cmpuint(size, ==, 0);
}

static void take_payload(struct kernel *kernel, const uint8_t *payload, size_t size)
{
	switch (kernel->request.header.opcode) {
	case FUSE_LOOKUP:
	case FUSE_MKNOD:
	case FUSE_MKDIR:
	case FUSE_SYMLINK:
	case FUSE_LINK:
		take_entry(kernel, payload, size);
		break;
	case FUSE_CREATE:
	case FUSE_TMPFILE:
		take_created(kernel, payload, size);
		break;
	case FUSE_OPEN:
		take_open(kernel, kernel->request.header.nodeid, payload);
		break;
	case FUSE_READDIRPLUS:
		take_listing(kernel, payload, size);
		break;
	case FUSE_READ:
	case FUSE_READDIR:
	case FUSE_GETXATTR:
	case FUSE_LISTXATTR:
		g_assert_cmpuint(size, <=, MAX(kernel->room, sizeof(struct fuse_getxattr_out)));
		break;
	default:
		break;
	}
}

ssize_t kernel_take_reply(struct kernel *kernel, const struct iovec *iov, int count)
{
	g_autoptr(GByteArray) bytes = g_byte_array_new();
	struct fuse_out_header out;

	for (int i = 0; i < count; i++)
		g_byte_array_append(bytes, iov[i].iov_base, (guint)iov[i].iov_len);
	g_assert_cmpuint(bytes->len, >=, sizeof(out));
	memcpy(&out, bytes->data, sizeof(out));
	g_assert_cmpuint(out.len, ==, bytes->len);
	g_assert_cmpuint(out.unique, ==, kernel->request.header.unique);
	g_assert_cmpint(out.error, <=, 0);
	g_assert_cmpint(out.error, >, -1000);
	g_assert_true(out.error == 0 || out.len == sizeof(out));
	g_assert_false(kernel->answered);
	kernel->answered = true;
	if (kernel->impatient) {
		errno = ENOENT;
		return -1;
	}
	if (out.error == 0)
		take_payload(kernel, bytes->data + sizeof(out), bytes->len - sizeof(out));
	return (ssize_t)bytes->len;
}

void kernel_deliver(struct kernel *kernel)
{
	struct fuse_in_header *header = &kernel->request.header;
	const struct fuse_buf buffer = { .mem = &kernel->request, .size = kernel->request_size };
	const struct current_request request = { .unique = kernel->unique };
	const struct current_request none = { 0 };
	bool expected = header->opcode != FUSE_FORGET && header->opcode != FUSE_BATCH_FORGET;

	header->len = (uint32_t)kernel->request_size;
	header->unique = kernel->unique;
	kernel->answered = false;
	current_request_set(&request);
	fuse_session_process_buf(kernel->fuse, &buffer);
	current_request_set(&none);
	g_assert_true(kernel->answered == expected);
}

void kernel_start_request(struct kernel *kernel, uint32_t opcode, uint64_t ino)
{
	memset(&kernel->request.header, 0, sizeof(kernel->request.header));
	kernel->request.header.opcode = opcode;
	kernel->request.header.nodeid = ino;
	kernel->request_size = sizeof(kernel->request.header);
	kernel->impatient = false;
	kernel->unique += 2;
	kernel->room = 0;
}

void kernel_add(struct kernel *kernel, const void *data, size_t size)
{
	g_assert_cmpuint(kernel->request_size + size, <=, sizeof(kernel->request));
	memcpy((uint8_t *)&kernel->request + kernel->request_size, data, size);
	kernel->request_size += size;
}

void kernel_initialise(struct kernel *kernel)
{
	struct fuse_init_in init = { .major = FUSE_KERNEL_VERSION, .minor = 40, .max_readahead = 1 << 17 };

	init.flags = init.flags2 = UINT32_MAX;
	kernel_start_request(kernel, FUSE_INIT, 0);
	kernel_add(kernel, &init, sizeof(init));
	kernel_deliver(kernel);
}

static void release(struct kernel *kernel, const struct kernel_open *open)
{
	const struct fuse_release_in in = { .fh = open->fh, .flags = open->flags };

	kernel_start_request(kernel, FUSE_RELEASE, open->ino);
	kernel_add(kernel, &in, sizeof(in));
	kernel_deliver(kernel);
}

void kernel_close_some(struct kernel *kernel, uint64_t which)
{
	if (kernel->opens->len == 0)
		return;

	guint index = (guint)(which % kernel->opens->len);
	const struct kernel_open open = g_array_index(kernel->opens, struct kernel_open, index);

	g_array_remove_index_fast(kernel->opens, index);
	release(kernel, &open);
}

static void forget(struct kernel *kernel, guint index)
{
	const struct kernel_node node = g_array_index(kernel->nodes, struct kernel_node, index);
	const struct fuse_forget_in in = { .nlookup = node.lookups };

	g_array_remove_index_fast(kernel->nodes, index);
	kernel_start_request(kernel, FUSE_FORGET, node.ino);
	kernel_add(kernel, &in, sizeof(in));
	kernel_deliver(kernel);
}

/* The kernel keeps the inodes of open files. */
static bool is_open(const struct kernel *kernel, uint64_t ino)
{
	for (guint i = 0; i < kernel->opens->len; i++) {
		if (g_array_index(kernel->opens, struct kernel_open, i).ino == ino)
			return true;
	}
	return false;
}

void kernel_forget_some(struct kernel *kernel, uint64_t which)
{
	if (kernel->nodes->len == 0)
		return;

	guint index = (guint)(which % kernel->nodes->len);

	if (!is_open(kernel, g_array_index(kernel->nodes, struct kernel_node, index).ino))
		forget(kernel, index);
}

void kernel_forget_all(struct kernel *kernel)
{
	while (kernel->opens->len > 0)
		kernel_close_some(kernel, 0);
	while (kernel->nodes->len > 0)
		forget(kernel, 0);
}

struct kernel *kernel_new(struct fuse_session *fuse)
{
	struct kernel *kernel = g_new0(struct kernel, 1);

	kernel->fuse = fuse;
	kernel->nodes = g_array_new(FALSE, FALSE, sizeof(struct kernel_node));
	kernel->opens = g_array_new(FALSE, FALSE, sizeof(struct kernel_open));
	return kernel;
}

void kernel_free(struct kernel *kernel)
{
	g_array_unref(kernel->nodes);
	g_array_unref(kernel->opens);
	g_free(kernel);
}
