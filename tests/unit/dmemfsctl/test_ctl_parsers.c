// SPDX-License-Identifier: GPL-2.0-or-later
/* The parsers of /proc and of the virtual attributes. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mounts.h"
#include "dmemfsctl/descriptors.h"
#include "dmemfsctl/earlier_mounts.h"
#include "dmemfsctl/files.h"
#include "dmemfsctl/map.h"
#include "dmemfsctl/qemu_cmdline.h"
#include "dmemfsctl/users.h"

#define GIB (UINT64_C(1) << 30)
#define MIB (UINT64_C(1) << 20)

static void mounts(void)
{
	g_autoptr(GPtrArray) list = mounts_parse(
		"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
		"30 22 0:40 / /mnt/dm\\040em rw,nosuid shared:2 master:1 - fuse.dmemfs dmemfs rw,user_id=0\n"
		"31 30 0:41 / /mnt/dm\\040em/over rw - tmpfs none rw\n"
		"32 22 0:42 / /mnt/twice rw - fuse.dmemfs dmemfs rw\n"
		"33 32 0:43 / /mnt/twice rw - tmpfs none rw\n"
		"no mount at all\n"
		"34 22 0:x / /mnt rw - tmpfs none rw\n");

	g_assert_cmpuint(list->len, ==, 5);
	g_assert_cmpstr(mounts_of_path(list, "/mnt/dm em/a")->path, ==, "/mnt/dm em");
	g_assert_true(mounts_of_path(list, "/mnt/dm em")->is_dmemfs);
	g_assert_true(mounts_of_path(list, "/mnt/dm em")->device == makedev(0, 40));
	g_assert_false(mounts_of_path(list, "/mnt/dm em/over/a")->is_dmemfs);
	g_assert_cmpstr(mounts_of_path(list, "/mnt/dm emb")->path, ==, "/");
	g_assert_true(mounts_of_path(list, "/mnt/twice/a")->device == makedev(0, 43));
}

/* Of mounts of which some hide others, the kernel goes to the child of where it is. */
static void mounts_over_mounts(void)
{
	g_autoptr(GPtrArray) list = mounts_parse("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
	                                         "30 22 0:40 / /a/b/mnt rw - fuse.dmemfs dmemfs rw\n"
	                                         "31 22 0:41 / /a/b rw - fuse.sshfs x rw\n"
	                                         "32 22 0:42 / /c rw - nfs4 server:/ rw\n"
	                                         "33 32 0:43 / /c/d rw - tmpfs none rw\n"
	                                         "34 22 0:44 / /e rw - cifs //server/x rw\n"
	                                         "35 34 0:45 / /e rw - ext4 /dev/sdb1 rw\n"
	                                         "36 22 0:46 / /ab rw - fuse.dmemfs dmemfs rw\n");
	g_autoptr(GPtrArray) on_nfs = mounts_parse("22 22 0:30 / / rw - nfs4 server:/root rw\n"
	                                           "23 22 0:31 / /home rw - nfs4 server:/home rw\n"
	                                           "24 22 0:30 /srv /srv/x rw - nfs4 server:/root rw\n");

	g_assert_cmpstr(mounts_of_path(list, "/a/b/mnt/x")->type, ==, "fuse.sshfs");
	g_assert_cmpstr(mounts_blocking_lexically(list, "/a/b/mnt/x")->path, ==, "/a/b");
	g_assert_null(mounts_blocking_lexically(list, "/a/bc"));
	g_assert_null(mounts_blocking_lexically(list, "/ab/x"));
	g_assert_cmpstr(mounts_of_path(list, "/c/d/x")->path, ==, "/c/d");
	g_assert_cmpstr(mounts_blocking_lexically(list, "/c/d/x")->path, ==, "/c"); /* is asked for "d" */
	g_assert_cmpstr(mounts_of_path(list, "/e/x")->type, ==, "ext4");
	g_assert_null(mounts_blocking_lexically(list, "/e/x"));
	g_assert_null(mounts_blocking_lexically(on_nfs, "/etc"));
	g_assert_null(mounts_blocking_lexically(on_nfs, "/srv/x/y"));
	g_assert_cmpstr(mounts_blocking_lexically(on_nfs, "/home/x")->path, ==, "/home");
}

/* Lists that no kernel writes. */
static void mounts_without_sense(void)
{
	g_autoptr(GPtrArray) none = mounts_parse("");
	g_autoptr(GPtrArray) circle = mounts_parse("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
	                                           "23 22 0:1 / /a rw - tmpfs none rw\n"
	                                           "22 23 0:2 / /a rw - tmpfs none rw\n");

	g_assert_null(mounts_of_path(none, "/a"));
	g_assert_null(mounts_blocking(none, "/"));
	g_assert_nonnull(mounts_of_path(circle, "/a/b"));
}

/* Within the time limit of a test: many in one directory, and many over each other, as containers leave them behind. */
static void many_mounts(void)
{
	GString *text = g_string_new("1 0 8:1 / / rw - ext4 /dev/sda1 rw\n");

	for (int i = 0; i < 10000; i++)
		g_string_append_printf(text, "%d 1 0:40 / /run/%d rw - fuse.dmemfs dmemfs rw\n", 10000 + i, i);
	for (int i = 0; i < 2000; i++)
		g_string_append_printf(text, "%d %d 0:41 / /mnt/dmemfs rw - fuse.dmemfs dmemfs rw\n", 20000 + i,
		                       i ? 19999 + i : 1);

	g_autofree char *mountinfo = g_string_free(text, FALSE);
	g_autoptr(GPtrArray) list = mounts_parse(mountinfo);
	g_autoptr(GPtrArray) found = mounts_of_dmemfs(list);

	g_assert_cmpuint(found->len, ==, 2);
	g_assert_cmpint(((const struct mount_point *)g_ptr_array_index(found, 0))->id, ==, 10000);
	g_assert_cmpint(((const struct mount_point *)g_ptr_array_index(found, 1))->id, ==, 21999);
}

#define ROOT_DISK  "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
#define BIND_MOUNT "30 22 0:40 /tenant /srv/a rw - fuse.dmemfs dmemfs rw\n"
/* Of this one only parts are mounted, one of them hidden. */
#define PARTS                                                    \
	"33 22 0:41 /hidden /srv/c rw - fuse.dmemfs dmemfs rw\n" \
	"34 33 0:42 / /srv/c rw - tmpfs none rw\n"               \
	"35 22 0:41 /x /srv/d rw - fuse.dmemfs dmemfs rw\n"      \
	"36 22 0:41 /y /srv/e rw - fuse.dmemfs dmemfs rw\n"
#define WHOLE                                                   \
	"31 22 0:40 / /mnt/dmemfs rw - fuse.dmemfs dmemfs rw\n" \
	"32 22 0:40 / /srv/b rw - fuse.dmemfs dmemfs rw\n"      \
	"37 22 0:43 / /mnt/second rw - fuse.dmemfs dmemfs rw\n"

/* @expected: the mounts that stand for the file systems of @mountinfo. */
static void assert_file_systems(const char *mountinfo, const char *expected)
{
	g_autoptr(GPtrArray) list = mounts_parse(mountinfo);
	g_autoptr(GPtrArray) found = mounts_of_dmemfs(list);
	g_autoptr(GString) text = g_string_new(NULL);

	for (guint i = 0; i < found->len; i++) {
		const struct mount_point *mount = g_ptr_array_index(found, i);

		g_string_append_printf(text, " %s%s", mount->path, mount->is_whole ? "" : " (part)");
	}
	g_assert_cmpstr(text->str, ==, expected);
}

static void mounts_of_file_systems(void)
{
	assert_file_systems(ROOT_DISK, "");
	assert_file_systems(ROOT_DISK BIND_MOUNT PARTS WHOLE, " /mnt/dmemfs /mnt/second");
	assert_file_systems(ROOT_DISK BIND_MOUNT PARTS, " /srv/a (part) /srv/d (part)");
}

static void mapping(void)
{
	struct mapping mapping;

	g_assert_true(mapping_parse("7f0000200000-7f0000600000 rw-s 00200000 00:2a 17                 /mnt/dmemfs/vm 1",
	                            &mapping));
	g_assert_cmphex(mapping.address, ==, 0x7f0000200000);
	g_assert_cmphex(mapping.length, ==, 4 * MIB);
	g_assert_cmphex(mapping.offset, ==, 2 * MIB);
	g_assert_cmpuint(mapping.inode, ==, 17);
	g_assert_true(mapping.device == makedev(0, 0x2a));
	g_assert_false(mapping.is_private);
	g_assert_cmpstr(mapping.path, ==, "/mnt/dmemfs/vm 1");
	g_assert_true(mapping_parse("1000-2000 r--p 0 103:02 5 /a", &mapping));
	g_assert_true(mapping.is_private);
	g_assert_false(mapping_parse("7ffc0000-7ffc1000 rw-p 00000000 00:00 0 [stack]", &mapping));
	g_assert_false(mapping_parse("", &mapping));
	g_assert_false(mapping_parse("Rss: 4 kB", &mapping));
}

static void mapping_pages(void)
{
	const struct {
		uint64_t address, length, offset, page_size;
	} cases[] = {
		{ GIB, GIB, 0, GIB },
		{ GIB, GIB - 4096, 0, 2 * MIB },
		{ GIB + 2 * MIB, 4 * GIB, 2 * MIB, GIB },
		{ GIB + 2 * MIB, 4 * GIB, 0, 2 * MIB },
		{ GIB + 4096, 4 * GIB, 0, 4096 },
		{ GIB + 4096, 3 * MIB, 4096, 4096 }, /* agrees, but no whole page lies in it */
		{ GIB + 4096, 4 * MIB, 4096, 2 * MIB },
	};

	for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct mapping mapping = { .address = cases[i].address,
			                   .length = cases[i].length,
			                   .offset = cases[i].offset };

		g_assert_cmphex(mapping_page_size(&mapping), ==, cases[i].page_size);
	}
}

static void assert_bound(const char *line, uint64_t expected)
{
	uint64_t address, bound;

	g_assert_true(numa_line_parse(line, &address, &bound));
	g_assert_cmphex(address, ==, 0x7f0000200000);
	g_assert_cmphex(bound, ==, expected);
}

static void numa_lines(void)
{
	uint64_t address, bound;

	assert_bound("7f0000200000 default file=/mnt/bind:1 mapped=1 N0=1 kernelpagesize_kB=4", 0);
	assert_bound("7f0000200000 bind:1 file=/mnt/dmemfs/vm1", 2);
	assert_bound("7f0000200000 bind:0-1,4", 0x13);
	assert_bound("7f0000200000 bind=static:2 file=/a:b", 4);
	assert_bound("7f0000200000 bind=relative|balancing:63-70", UINT64_C(1) << 63);
	assert_bound("7f0000200000 prefer:1", 0);
	assert_bound("7f0000200000 prefer (many):0-1", 0);
	assert_bound("7f0000200000 interleave:0-1", 0);
	assert_bound("7f0000200000 local", 0);
	g_assert_false(numa_line_parse("", &address, &bound));
	g_assert_false(numa_line_parse("7f0000200000", &address, &bound));
}

static void assert_memory(const GPtrArray *found, guint index, const char *id, const char *path, bool prealloc)
{
	const struct qemu_memory *memory = g_ptr_array_index(found, index);

	g_assert_cmpstr(memory->id, ==, id);
	g_assert_cmpstr(memory->path, ==, path);
	g_assert_true(memory->prealloc == prealloc);
}

static void qemu_arguments(void)
{
	static const char *const arguments[] = {
		"qemu-system-x86_64",
		"-m",
		"64M",
		"-name",
		"memory-backend-file,mem-path=/name",
		"-object",
		"memory-backend-file,id=a,size=1G,mem-path=/mnt/a,,b,prealloc=on,share=on",
		"--object",
		"memory-backend-file,mem-path=/mnt/c,id=c,prealloc=off",
		"-object",
		"qom-type=memory-backend-file,mem-path=/mnt/d",
		"-object",
		"memory-backend-ram,id=e,size=1G",
		"-object",
		"{\"qom-type\":\"memory-backend-file\",\"id\":\"f\",\"mem-path\":\"/mnt/\\\"f\",\"prealloc\":true}",
		"-object",
		"{\"qom-type\":\"memory-backend-file\",\"id\":\"g\",\"prealloc\":false,\"mem-path\":\"/mnt/g\"}",
		"-object",
		"{\"qom-type\":\"iothread\",\"id\":\"h\"}",
		"-object",
		"{ \"qom-type\" : \"memory-backend-file\", \"prealloc\" : true , \"id\": \"i\", \"mem-path\" : \"/mnt/i\" }",
		"-object",
		NULL,
	};
	static const char *const all[] = { "kvm", "-object", "memory-backend-file,mem-path=/a", "-mem-prealloc", NULL };
	static const char *const plain[] = { "kvm", "-m", "64M", "-mem-path", "/mnt", NULL };
	const char *many[2001] = { NULL };
	g_autoptr(GPtrArray) found = qemu_cmdline_parse(arguments);
	g_autoptr(GPtrArray) touched = qemu_cmdline_parse(all);
	g_autoptr(GPtrArray) whole = qemu_cmdline_parse(plain);

	g_assert_cmpuint(found->len, ==, 6);
	assert_memory(found, 0, "a", "/mnt/a,b", true);
	assert_memory(found, 1, "c", "/mnt/c", false);
	assert_memory(found, 2, "?", "/mnt/d", false);
	assert_memory(found, 3, "f", "/mnt/\"f", true);
	assert_memory(found, 4, "g", "/mnt/g", false);
	assert_memory(found, 5, "i", "/mnt/i", true);
	g_assert_cmpuint(touched->len, ==, 1);
	assert_memory(touched, 0, "?", "/a", true);
	for (size_t i = 0; i + 1 < G_N_ELEMENTS(many); i++)
		many[i] = i % 2 ? "memory-backend-file,mem-path=/a" : "-object";

	g_autoptr(GPtrArray) bounded = qemu_cmdline_parse(many);

	g_assert_cmpuint(bounded->len, ==, 512);
	g_assert_cmpuint(whole->len, ==, 1);
	assert_memory(whole, 0, "of -mem-path", "/mnt", false);
}

/* Of this process: a program that it has open with O_DIRECT twice, a pipe in packet mode, and devices. */
static void open_files(void)
{
	g_autofree char *self = g_file_read_link("/proc/self/exe", NULL);
	int files[] = { open(self, O_RDONLY | O_DIRECT), open(self, O_RDONLY | O_DIRECT), open(self, O_RDONLY) };
	int packets[2];

	g_assert_cmpint(pipe2(packets, O_DIRECT), ==, 0);
	g_assert_cmpint(files[0], >=, 0);

	g_autoptr(GPtrArray) direct = descriptors_find(getpid(), DESCRIPTOR_DIRECT);
	g_autoptr(GPtrArray) devices = descriptors_find(getpid(), DESCRIPTOR_VFIO);

	g_assert_cmpuint(direct->len, ==, 1);
	g_assert_cmpstr(g_ptr_array_index(direct, 0), ==, self);
	g_assert_cmpuint(devices->len, ==, 0);
	for (size_t i = 0; i < G_N_ELEMENTS(files); i++)
		close(files[i]);
	close(packets[0]);
	close(packets[1]);
}

static void very_many_open_files(void)
{
	g_autofree char *directory = g_dir_make_tmp("descriptors-XXXXXX", NULL);
	int files[2 * DESCRIPTORS_MAX];

	for (int i = 0; i < 2 * DESCRIPTORS_MAX; i++) {
		g_autofree char *path = g_strdup_printf("%s/%d", directory, i);

		files[i] = open(path, O_RDWR | O_CREAT | O_DIRECT, 0600);
		if (files[i] < 0 && errno == EINVAL)
			g_test_skip("the directory for temporary files has no O_DIRECT");
		unlink(path);
	}

	g_autoptr(GPtrArray) direct = descriptors_find(getpid(), DESCRIPTOR_DIRECT);

	if (files[0] >= 0)
		g_assert_cmpuint(direct->len, ==, DESCRIPTORS_MAX);
	for (int i = 0; i < 2 * DESCRIPTORS_MAX; i++)
		close(files[i]);
	rmdir(directory);
}

static void extents_and_faults(void)
{
	g_autoptr(GArray) runs = file_parse_extents("0 4294967296 1073741824\n1073741824 9663676416 2097152");
	g_autoptr(GArray) none = file_parse_extents("");
	g_autoptr(GArray) faults = file_parse_faults("4K 7\n2M 0\n1G 18446744073709551615\nnonsense\nx 1");

	g_assert_cmpuint(runs->len, ==, 2);
	g_assert_cmphex(g_array_index(runs, struct extent_map_run, 1).extent.start, ==, 9 * GIB);
	g_assert_cmphex(g_array_index(runs, struct extent_map_run, 1).extent.length, ==, 2 * MIB);
	g_assert_cmpuint(none->len, ==, 0);
	g_assert_cmpuint(faults->len, ==, 3);
	g_assert_cmphex(g_array_index(faults, struct file_faults, 2).page_size, ==, GIB);
	g_assert_cmpuint(g_array_index(faults, struct file_faults, 0).count, ==, 7);
}

static void assert_pages(uint64_t offset, uint64_t start, uint64_t length, struct page_share expected)
{
	struct extent_map_run run = { offset, { start, length } };
	struct page_share share = file_run_pages(&run);

	g_assert_cmphex(share.bytes_4k, ==, expected.bytes_4k);
	g_assert_cmphex(share.bytes_2m, ==, expected.bytes_2m);
	g_assert_cmphex(share.bytes_1g, ==, expected.bytes_1g);
}

static void run_pages(void)
{
	assert_pages(0, 4 * GIB, 2 * GIB, (struct page_share){ 0, 0, 2 * GIB });
	assert_pages(0, 4 * GIB, GIB + 2 * MIB + 4096, (struct page_share){ 4096, 2 * MIB, GIB });
	assert_pages(2 * MIB, 4 * GIB, 2 * GIB, (struct page_share){ 0, 2 * GIB, 0 });
	assert_pages(4096, 4 * GIB, 4 * MIB, (struct page_share){ 4 * MIB, 0, 0 });
	assert_pages(4096, 4 * GIB + 4096, 4 * MIB, (struct page_share){ 2 * MIB, 2 * MIB, 0 });
	assert_pages(0, 4 * GIB, 4096, (struct page_share){ 4096, 0, 0 });
}

static void scale(void)
{
	g_assert_cmphex(map_scale(GIB, 1024, 4096), ==, MIB);
	g_assert_cmphex(map_scale(GIB + 4096, 1024, 4096), ==, 2 * MIB);
	g_assert_cmphex(map_scale(4096, 1024, 2 * MIB), ==, 2 * MIB);
	g_assert_cmphex(map_scale(UINT64_C(1) << 52, 1, 4096), ==, UINT64_C(1) << 52);
}

static void cell(void)
{
	const struct map_piece pieces[] = { { { 0, 10 }, 1 }, { { 10, 4 }, 0 }, { { 16, 4 }, 0 }, { { 30, 10 }, 2 } };
	g_autoptr(GArray) array = g_array_new(FALSE, FALSE, sizeof(struct map_piece));
	int file;

	g_array_append_vals(array, pieces, G_N_ELEMENTS(pieces));
	g_assert_cmpuint(map_look(array, 0, 40, &file), ==, 28);
	g_assert_cmpint(file, ==, 1);
	g_assert_cmpuint(map_look(array, 8, 12, &file), ==, 10);
	g_assert_cmpint(file, ==, 0);
	g_assert_cmpuint(map_look(array, 20, 10, &file), ==, 0);
	g_assert_cmpint(file, ==, -1);
}

static void earlier_mounts(void)
{
	struct stat proc;

	g_assert_cmpint(stat("/proc", &proc), ==, 0);

	g_autofree char *text =
		g_strdup_printf("no device 4095:1 %u:%u 4095:2 ", major(proc.st_dev), minor(proc.st_dev));
	g_autoptr(GArray) none = earlier_mounts_parse(NULL, 0);
	g_autoptr(GArray) devices = earlier_mounts_parse(text, makedev(4095, 2));
	dev_t left = makedev(4095, 1);

	g_assert_cmpuint(none->len, ==, 0);
	/* The number is used again by what is mounted here, or by the dmemfs itself. */
	g_assert_cmpuint(devices->len, <=, 1);
	g_array_set_size(devices, 0);
	g_array_append_val(devices, left);
	g_array_append_val(devices, proc.st_dev);

	g_autoptr(GArray) own = earlier_mounts_of(devices, getpid());
	g_autoptr(GArray) unknown = earlier_mounts_of(devices, -1);

	/* The number is used again by what the process sees, or nothing is known of the process. */
	g_assert_cmpuint(own->len, ==, 1);
	g_assert_cmpuint(unknown->len, ==, 0);
	g_assert_true(earlier_mounts_have(own, left));
	g_assert_false(earlier_mounts_have(own, makedev(4095, 2)));
}

/* Makes a mount that the process @other does not see, and looks whether @other has it. For a process of its own. */
static int look_at_new_mount(pid_t other)
{
	g_autoptr(GArray) devices = g_array_new(FALSE, FALSE, sizeof(dev_t));
	const char *place = g_get_tmp_dir();
	struct stat st;

	if (unshare(CLONE_NEWNS | (geteuid() ? CLONE_NEWUSER : 0)) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || mount("tmpfs", place, "tmpfs", 0, NULL) < 0 ||
	    stat(place, &st) < 0)
		return -errno;
	g_array_append_val(devices, st.st_dev);

	g_autoptr(GArray) own = earlier_mounts_of(devices, other);

	return (int)own->len;
}

/* The number of an earlier mount is used again by what was mounted here after the earlier mounts were found. */
static void earlier_mount_that_is_new(void)
{
	pid_t child = fork();
	int status;

	if (!child)
		_exit(look_at_new_mount(getppid()) != 0);
	g_assert_cmpint(waitpid(child, &status, 0), ==, child);
	g_assert_cmpint(status, ==, 0);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/ctl/mounts", mounts);
	g_test_add_func("/ctl/mounts_of_file_systems", mounts_of_file_systems);
	g_test_add_func("/ctl/mounts_over_mounts", mounts_over_mounts);
	g_test_add_func("/ctl/mounts_without_sense", mounts_without_sense);
	g_test_add_func("/ctl/many_mounts", many_mounts);
	g_test_add_func("/ctl/earlier_mounts", earlier_mounts);
	g_test_add_func("/ctl/earlier_mount_that_is_new", earlier_mount_that_is_new);
	g_test_add_func("/ctl/mapping", mapping);
	g_test_add_func("/ctl/mapping_pages", mapping_pages);
	g_test_add_func("/ctl/numa_lines", numa_lines);
	g_test_add_func("/ctl/qemu_arguments", qemu_arguments);
	g_test_add_func("/ctl/open_files", open_files);
	g_test_add_func("/ctl/very_many_open_files", very_many_open_files);
	g_test_add_func("/ctl/extents_and_faults", extents_and_faults);
	g_test_add_func("/ctl/run_pages", run_pages);
	g_test_add_func("/ctl/scale", scale);
	g_test_add_func("/ctl/cell", cell);
	return g_test_run();
}
