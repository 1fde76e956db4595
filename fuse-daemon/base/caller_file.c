// SPDX-License-Identifier: GPL-2.0-or-later
#include "base/caller_file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/log.h"

/* proc(5): the largest is status, with up to 65536 groups. */
#define LENGTH_MAX (1 << 20)

static int mount_proc(void)
{
	int context = fsopen("proc", FSOPEN_CLOEXEC), directory = -1;

	if (context >= 0 && !fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		directory = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (directory < 0)
		log_warning(
			"mounting a procfs failed: %s. The daemon does not know the names and nodes of clients, and takes "
			"what interrupts them for a signal",
			g_strerror(errno));
	if (context >= 0)
		close(context);
	return directory;
}

static int proc(void)
{
	static gsize once;
	static int directory;

	if (g_once_init_enter(&once)) {
		directory = mount_proc();
		g_once_init_leave(&once, 1);
	}
	return directory;
}

void caller_file_init(void)
{
	proc();
}

/* Until the end of the file. NULL: an error, as when the thread has ended. */
static char *read_all(int fd)
{
	g_autoptr(GString) text = g_string_new(NULL);
	char part[4096];
	ssize_t done;

	while ((done = read(fd, part, sizeof(part))) > 0 && text->len < LENGTH_MAX)
		g_string_append_len(text, part, done);
	return done < 0 ? NULL : g_strdup(text->str);
}

char *caller_file_read(pid_t thread, const char *name)
{
	g_autofree char *path = g_strdup_printf("%d/%s", thread, name);
	char *text;
	int fd, err;

	if (proc() < 0) {
		errno = ENOSYS;
		return NULL;
	}
	fd = openat(proc(), path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	text = read_all(fd);
	err = errno;
	close(fd);
	errno = err;
	return text;
}
