// SPDX-License-Identifier: GPL-2.0-or-later
/* Buffers whose pages stay in place, unless memory is taken back from the kernel. Whether a pipe has them is seen by its descriptor. */
#include "base/request_buffer.h"

#include <glib.h>
#include <string.h>
#include <sys/ioctl.h>

#define SIZE (128 * 1024)

/* How many bytes of the buffer the kernel does not move. */
static int kept(const struct request_buffer *buffer)
{
	int bytes = 0;

	if (buffer->pin >= 0)
		g_assert_cmpint(ioctl(buffer->pin, FIONREAD, &bytes), ==, 0);
	return bytes;
}

static void pages_stay_but_for_a_while(void)
{
	struct request_buffer first, second;

	g_assert_true(request_buffer_init(&first, SIZE));
	memset(first.data, 7, SIZE);
	g_assert_cmpint(kept(&first), ==, SIZE);
	request_buffers_let_move();
	g_assert_cmpint(kept(&first), ==, 0);
	g_assert_true(request_buffer_init(&second, SIZE));
	g_assert_cmpint(kept(&second), ==, 0);
	request_buffers_let_move();
	request_buffers_keep();
	g_assert_cmpint(kept(&first), ==, 0);
	request_buffers_keep();
	g_assert_cmpint(kept(&first), ==, SIZE);
	g_assert_cmpint(kept(&second), ==, SIZE);
	g_assert_cmpint(((char *)first.data)[SIZE - 1], ==, 7);
	request_buffer_clear(&first);
	request_buffers_let_move();
	request_buffers_keep();
	g_assert_cmpint(kept(&second), ==, SIZE);
	request_buffer_clear(&second);
}

int main(int argc, char **argv)
{
	g_test_init(&argc, &argv, NULL);
	g_test_add_func("/request-buffer/move", pages_stay_but_for_a_while);
	return g_test_run();
}
