// SPDX-License-Identifier: GPL-2.0-or-later
/* The control device of dmemfs.ko. */
#include "backend/pfn_device.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "backend/backend.h"

int pfn_call(int device, unsigned long request, void *argument)
{
	int result = ioctl(device, request, argument);

	return result < 0 ? -errno : result;
}

static const char *open_remedy(int err)
{
	switch (err) {
	case ENOENT:
	case ENODEV:
	case ENXIO:
		return "the module is not loaded: run modprobe dmemfs, or use backend=memory";
	case EBUSY:
		return "another daemon controls the module: stop it first";
	case EPERM:
	case EACCES:
		return "CAP_SYS_RAWIO is needed: start the daemon as root";
	default:
		return g_strerror(err);
	}
}

bool pfn_hello(int device, struct dmemfs_hello *hello, GError **error)
{
	int err;

	*hello = (struct dmemfs_hello){ .abi = DMEMFS_ABI_VERSION };
	err = pfn_call(device, DMEMFS_IOC_HELLO, hello);
	if (err == 0 && hello->abi == DMEMFS_ABI_VERSION)
		return true;
	if (err == -EPROTO || err == 0)
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED,
		            DMEMFS_DEVICE
		            ": the module speaks version %u of the protocol, this daemon version %u: install "
		            "module and daemon of the same release",
		            hello->abi, DMEMFS_ABI_VERSION);
	else
		g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_FAILED, DMEMFS_DEVICE ": hello: %s", g_strerror(-err));
	return false;
}

int pfn_device_open(GError **error)
{
	int device = open(DMEMFS_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct dmemfs_hello hello;

	if (device < 0) {
		g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno), DMEMFS_DEVICE ": %s",
		            open_remedy(errno));
		return -1;
	}
	if (!pfn_hello(device, &hello, error)) {
		close(device);
		return -1;
	}
	return device;
}

int pfn_list_pinned(int device, struct extent range, GArray *runs)
{
	uint64_t end = range.start + range.length;
	uint64_t at = range.start;

	while (at < end) {
		struct dmemfs_pinned pinned = { .start = at, .length = end - at };
		struct extent run;
		int err = pfn_call(device, DMEMFS_IOC_PINNED_NEXT, &pinned);

		if (err)
			return err == -ENOENT ? 0 : err;
		run = (struct extent){ pinned.start, pinned.length };
		g_array_append_val(runs, run);
		at = pinned.start + pinned.length;
	}
	return 0;
}
