// SPDX-License-Identifier: GPL-2.0-or-later
/* Requests out of fuzzed bytes: what a process can have the kernel ask, with values from the input. */
#include "kernel_request.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Few, so that requests meet; the last one stands for a name of the input's own. */
static const char *const names[] = { "a", "b", "c", "d", "directory", "a name that is longer than the others", NULL };
static const char *const attributes[] = {
	"user.a",
	"user.b",
	"trusted.a",
	"security.a",
	"trusted.dmemfs.quota.max_bytes",
	"trusted.dmemfs.quota.max_files",
	"dmemfs.node",
	"dmemfs.page_size",
	"dmemfs.alloc",
	"dmemfs.stats",
	"dmemfs.extents",
	"dmemfs.regions",
	"dmemfs.daemon",
	"system.posix_acl_access",
	NULL,
};
static const char *const values[] = { "", "0", "1", "3", "4K", "2M", "8M", "64G", "prefer:0", "local", "0,1", NULL };

static uint64_t pick_node(const struct kernel *kernel, struct fuzz_input *input)
{
	uint64_t which = fuzz_take(input, 1);

	if (which >= 0xf8 || which == 0 || kernel->nodes->len == 0)
		return which >= 0xf8 ? which - 0xf7 : FUSE_ROOT_ID; /* the kernel may know one that is gone here */
	which = (which - 1) % (kernel->nodes->len + 1);
	return which == 0 ? FUSE_ROOT_ID : g_array_index(kernel->nodes, struct kernel_node, which - 1).ino;
}

/* There is one. */
static const struct kernel_open *pick_open(const struct kernel *kernel, struct fuzz_input *input)
{
	return &g_array_index(kernel->opens, struct kernel_open, fuzz_take(input, 1) % kernel->opens->len);
}

static void start_on_open(struct kernel *kernel, uint32_t opcode, const struct kernel_open *open)
{
	kernel_start_request(kernel, opcode, open->ino);
}

/* Of @words, or of the input's own bytes, up to @max of them; the kernel lets no NUL and no @forbidden through. */
static void add_word(struct kernel *kernel, struct fuzz_input *input, const char *const *words, char forbidden,
                     size_t max)
{
	uint64_t which = fuzz_take(input, 1);
	guint count = g_strv_length((char **)words);
	char own[PATH_MAX];
	size_t size = 0;

	if (which < 0xf0) {
		kernel_add(kernel, words[which % count], strlen(words[which % count]) + 1);
		return;
	}
	size = 1 + fuzz_take(input, 2) % max;
	for (size_t i = 0; i < size; i++) {
		char byte = (char)fuzz_take(input, 1);

		own[i] = byte == '\0' || byte == forbidden ? 'x' : byte;
	}
	own[size] = '\0';
	kernel_add(kernel, own, size + 1);
}

/* The kernel lets names past 255 bytes through: FUSE has a limit of 1024. */
static void add_name(struct kernel *kernel, struct fuzz_input *input)
{
	add_word(kernel, input, names, '/', 300);
}

/* Small ones mostly, around units and sizes; some that overflow. */
static uint64_t take_offset(struct fuzz_input *input)
{
	uint64_t kind = fuzz_take(input, 1);
	uint64_t value = fuzz_take(input, 2);

	switch (kind % 8) {
	case 0:
		return value;
	case 1:
		return value << 12;
	case 2:
		return (value % 16) << 20;
	case 3:
		return (value % 16) << 21;
	case 4:
		return ((value % 16 + 1) << 12) - 1;
	case 5:
		return INT64_MAX - 1 - value;
	default:
		return value % 8192;
	}
}

struct range {
	uint64_t offset;
	uint64_t length;
};

/* The VFS lets none through that is empty or ends past the largest offset. */
static struct range take_range(struct fuzz_input *input, uint64_t max)
{
	struct range range = { .offset = take_offset(input), .length = take_offset(input) };

	range.length = CLAMP(range.length, 1, MIN(max, INT64_MAX - range.offset));
	return range;
}

static void make(struct kernel *kernel, struct fuzz_input *input)
{
	static const mode_t types[] = { S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK, S_IFREG | S_ISUID };
	const struct fuse_mknod_in in = {
		.mode = types[fuzz_take(input, 1) % G_N_ELEMENTS(types)] | 0644,
		.rdev = (uint32_t)fuzz_take(input, 1),
	};

	kernel_add(kernel, &in, sizeof(in));
	add_name(kernel, input);
}

static void make_directory(struct kernel *kernel, struct fuzz_input *input)
{
	const struct fuse_mkdir_in in = { .mode = (uint32_t)fuzz_take(input, 2) & 07777 };

	kernel_add(kernel, &in, sizeof(in));
	add_name(kernel, input);
}

static void symlink_to(struct kernel *kernel, struct fuzz_input *input)
{
	add_name(kernel, input);
	add_word(kernel, input, names, '\0', PATH_MAX - 1);
}

static void link_to(struct kernel *kernel, struct fuzz_input *input)
{
	const struct fuse_link_in in = { .oldnodeid = pick_node(kernel, input) };

	kernel_add(kernel, &in, sizeof(in));
	add_name(kernel, input);
}

static void rename_to(struct kernel *kernel, struct fuzz_input *input)
{
	const struct fuse_rename2_in in = {
		.newdir = pick_node(kernel, input),
		.flags = (uint32_t)fuzz_take(input, 1) % 4, /* RENAME_NOREPLACE, RENAME_EXCHANGE, both, none */
	};

	kernel_add(kernel, &in, sizeof(in));
	add_name(kernel, input);
	add_name(kernel, input);
}

static void set_attributes(struct kernel *kernel, struct fuzz_input *input)
{
	struct fuse_setattr_in in = { .valid = (uint32_t)fuzz_take(input, 2) & 0x7ff };

	in.size = take_offset(input);
	in.mode = (uint32_t)fuzz_take(input, 2);
	in.uid = (uint32_t)fuzz_take(input, 1);
	in.gid = (uint32_t)fuzz_take(input, 1);
	in.atime = in.mtime = in.ctime = fuzz_take(input, 8);
	in.atimensec = (uint32_t)fuzz_take(input, 4) % 1000000000;
	kernel_add(kernel, &in, sizeof(in));
}

static void get_attributes(struct kernel *kernel, struct fuzz_input *input)
{
	const struct fuse_getattr_in in = { 0 };

	(void)input;
	kernel_add(kernel, &in, sizeof(in));
}

static void open_file(struct kernel *kernel, struct fuzz_input *input)
{
	const struct fuse_open_in in = { .flags = (uint32_t)fuzz_take(input, 1) % 3 };

	kernel->open_flags = in.flags;
	kernel_add(kernel, &in, sizeof(in));
}

static void add_create(struct kernel *kernel, struct fuzz_input *input)
{
	const struct fuse_create_in in = { .flags = O_CREAT | O_RDWR, .mode = S_IFREG | (fuzz_take(input, 2) & 07777) };

	kernel->open_flags = in.flags;
	kernel_add(kernel, &in, sizeof(in));
}

static void create(struct kernel *kernel, struct fuzz_input *input)
{
	add_create(kernel, input);
	add_name(kernel, input);
}

static void create_unnamed(struct kernel *kernel, struct fuzz_input *input)
{
	add_create(kernel, input);
	kernel_add(kernel, "/", 2);
}

static void list(struct kernel *kernel, struct fuzz_input *input)
{
	const struct fuse_read_in in = { .offset = take_offset(input),
		                         .size = (uint32_t)fuzz_take(input, 2) % KERNEL_PAYLOAD_MAX };

	kernel->room = in.size;
	kernel_add(kernel, &in, sizeof(in));
}

static void set_attribute(struct kernel *kernel, struct fuzz_input *input)
{
	struct fuse_setxattr_in in = { 0 };
	uint64_t which = fuzz_take(input, 1);
	size_t size = which < 0xc0 ? 0 : fuzz_take(input, 1);
	const void *value;

	if (which < 0xc0) {
		value = values[which % (G_N_ELEMENTS(values) - 1)];
		size = strlen(value);
	} else {
		value = fuzz_take_bytes(input, &size);
	}
	in.size = (uint32_t)size;
	in.flags = (uint32_t)fuzz_take(input, 1) % 3;
	kernel_add(kernel, &in, FUSE_COMPAT_SETXATTR_IN_SIZE); /* FUSE_SETXATTR_EXT is not agreed on */
	add_word(kernel, input, attributes, '\0', 300);
	kernel_add(kernel, value ? value : "", size);
}

static void get_attribute(struct kernel *kernel, struct fuzz_input *input)
{
	const struct fuse_getxattr_in in = { .size = (uint32_t)fuzz_take(input, 2) % KERNEL_PAYLOAD_MAX };

	kernel->room = in.size;
	kernel_add(kernel, &in, sizeof(in));
	if (kernel->request.header.opcode == FUSE_GETXATTR)
		add_word(kernel, input, attributes, '\0', 300);
}

static void remove_attribute(struct kernel *kernel, struct fuzz_input *input)
{
	add_word(kernel, input, attributes, '\0', 300);
}

static void nothing(struct kernel *kernel, struct fuzz_input *input)
{
	(void)kernel;
	(void)input;
}

/* Requests on an inode. */
static const struct {
	uint32_t opcode;
	void (*add)(struct kernel *kernel, struct fuzz_input *input);
} by_node[] = {
	{ FUSE_LOOKUP, add_name },
	{ FUSE_GETATTR, get_attributes },
	{ FUSE_SETATTR, set_attributes },
	{ FUSE_READLINK, nothing },
	{ FUSE_SYMLINK, symlink_to },
	{ FUSE_MKNOD, make },
	{ FUSE_MKDIR, make_directory },
	{ FUSE_UNLINK, add_name },
	{ FUSE_RMDIR, add_name },
	{ FUSE_RENAME2, rename_to },
	{ FUSE_LINK, link_to },
	{ FUSE_OPEN, open_file },
	{ FUSE_STATFS, nothing },
	{ FUSE_SETXATTR, set_attribute },
	{ FUSE_GETXATTR, get_attribute },
	{ FUSE_LISTXATTR, get_attribute },
	{ FUSE_REMOVEXATTR, remove_attribute },
	{ FUSE_CREATE, create },
	{ FUSE_TMPFILE, create_unnamed },
	{ FUSE_READDIR, list },
	{ FUSE_READDIRPLUS, list },
};

static void read_some(struct kernel *kernel, struct fuzz_input *input, const struct kernel_open *open)
{
	struct range range = take_range(input, KERNEL_PAYLOAD_MAX);
	const struct fuse_read_in in = {
		.fh = open->fh,
		.offset = range.offset,
		.size = (uint32_t)range.length,
		.read_flags = FUSE_READ_LOCKOWNER,
		.lock_owner = 1,
	};

	start_on_open(kernel, FUSE_READ, open);
	kernel->room = in.size;
	kernel_add(kernel, &in, sizeof(in));
}

static void write_some(struct kernel *kernel, struct fuzz_input *input, const struct kernel_open *open)
{
	static const uint8_t data[KERNEL_PAYLOAD_MAX] = { 0xaa };
	struct range range = take_range(input, KERNEL_PAYLOAD_MAX);
	const struct fuse_write_in in = { .fh = open->fh, .offset = range.offset, .size = (uint32_t)range.length };

	start_on_open(kernel, FUSE_WRITE, open);
	kernel_add(kernel, &in, sizeof(in));
	kernel_add(kernel, data, in.size);
}

static void allocate_some(struct kernel *kernel, struct fuzz_input *input, const struct kernel_open *open)
{
	struct range range = take_range(input, INT64_MAX);
	const struct fuse_fallocate_in in = {
		.fh = open->fh,
		.offset = range.offset,
		.length = range.length,
		.mode = (uint32_t)fuzz_take(input, 1),
	};

	start_on_open(kernel, FUSE_FALLOCATE, open);
	kernel_add(kernel, &in, sizeof(in));
}

static void seek(struct kernel *kernel, struct fuzz_input *input, const struct kernel_open *open)
{
	const struct fuse_lseek_in in = {
		.fh = open->fh,
		.offset = take_offset(input),
		.whence = (uint32_t)fuzz_take(input, 1) % 6,
	};

	start_on_open(kernel, FUSE_LSEEK, open);
	kernel_add(kernel, &in, sizeof(in));
}

static void copy_some(struct kernel *kernel, struct fuzz_input *input, const struct kernel_open *open)
{
	const struct kernel_open *to = pick_open(kernel, input);
	struct range from = take_range(input, INT64_MAX);
	struct range into = take_range(input, from.length);
	const struct fuse_copy_file_range_in in = {
		.fh_in = open->fh,
		.off_in = from.offset,
		.nodeid_out = to->ino,
		.fh_out = to->fh,
		.off_out = into.offset,
		.len = into.length,
	};

	start_on_open(kernel, FUSE_COPY_FILE_RANGE, open);
	kernel_add(kernel, &in, sizeof(in));
}

/* Requests on an open file. */
static void (*const by_open[])(struct kernel *kernel, struct fuzz_input *input, const struct kernel_open *open) = {
	read_some, write_some, allocate_some, seek, copy_some,
};

/* Of the caller, and of its patience. */
static void choose_caller(struct kernel *kernel, struct fuzz_input *input)
{
	uint64_t bits = fuzz_take(input, 1);

	kernel->request.header.uid = bits & 1 ? 1000 : 0;
	kernel->request.header.gid = bits & 2 ? 1000 : 0;
	kernel->impatient = (bits & 0x1c) == 0x1c;
}

/* 0: there is none. */
static uint64_t look_up(struct kernel *kernel, uint64_t dir, const char *name)
{
	kernel->found = 0;
	kernel_start_request(kernel, FUSE_LOOKUP, dir);
	kernel_add(kernel, name, strlen(name) + 1);
	kernel_deliver(kernel);
	return kernel->found;
}

/* Does @name in @dir lead to @into or to a directory around it? */
static bool is_around(struct kernel *kernel, uint64_t dir, const char *name, uint64_t into)
{
	uint64_t moved = look_up(kernel, dir, name);

	while (moved != 0 && into != 0 && into != moved)
		into = into == FUSE_ROOT_ID ? 0 : look_up(kernel, into, "..");
	return moved != 0 && into == moved;
}

/* The request at hand is a rename that would make a directory its own ancestor: the VFS lets none through (lock_rename()). */
static bool makes_a_circle(struct kernel *kernel)
{
	size_t size = kernel->request_size;
	bool impatient = kernel->impatient;
	g_autofree uint8_t *request = g_memdup2(&kernel->request, size);
	uint64_t dir = kernel->request.header.nodeid;
	struct fuse_rename2_in in;
	const char *name = (const char *)request + sizeof(struct fuse_in_header) + sizeof(in);
	const char *new_name = name + strlen(name) + 1;
	bool circle;

	memcpy(&in, request + sizeof(struct fuse_in_header), sizeof(in));
	circle = is_around(kernel, dir, name, in.newdir);
	if (!circle && in.flags == RENAME_EXCHANGE)
		circle = is_around(kernel, in.newdir, new_name, dir);
	kernel_start_request(kernel, FUSE_RENAME2, dir);
	memcpy(&kernel->request, request, size);
	kernel->request_size = size;
	kernel->impatient = impatient;
	return circle;
}

static void send_by_node(struct kernel *kernel, struct fuzz_input *input, uint64_t kind)
{
	uint64_t ino = pick_node(kernel, input);

	kernel_start_request(kernel, by_node[kind].opcode, ino);
	choose_caller(kernel, input);
	by_node[kind].add(kernel, input);
	if (by_node[kind].opcode != FUSE_RENAME2 || !makes_a_circle(kernel))
		kernel_deliver(kernel);
}

static void send_by_open(struct kernel *kernel, struct fuzz_input *input, uint64_t kind)
{
	if (kernel->opens->len == 0)
		return;
	by_open[kind](kernel, input, pick_open(kernel, input));
	choose_caller(kernel, input);
	kernel_deliver(kernel);
}

void kernel_send(struct kernel *kernel, struct fuzz_input *input)
{
	uint64_t kind = fuzz_take(input, 1) % (G_N_ELEMENTS(by_node) + 2 * G_N_ELEMENTS(by_open) + 2);

	if (kind < G_N_ELEMENTS(by_node)) {
		send_by_node(kernel, input, kind);
		return;
	}
	kind -= G_N_ELEMENTS(by_node);
	if (kind < 2 * G_N_ELEMENTS(by_open))
		send_by_open(kernel, input, kind % G_N_ELEMENTS(by_open)); /* twice as often */
	else if (kind == 2 * G_N_ELEMENTS(by_open))
		kernel_close_some(kernel, fuzz_take(input, 1));
	else
		kernel_forget_some(kernel, fuzz_take(input, 1));
}
