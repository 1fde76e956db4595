// SPDX-License-Identifier: GPL-2.0-or-later
/* A full-screen display on the terminal (console_codes(4)). */
#include "dmemfsctl/terminal.h"

#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#define SCREEN_BEGIN "\033[?1049h\033[?25l" /* the alternate screen, no cursor */
#define SCREEN_END   "\033[?25h\033[?1049l"

static struct termios before;
static volatile sig_atomic_t leave;

static void on_signal(int number)
{
	leave = number;
}

/* The handler does nothing; the signal makes poll(2) return. */
static void on_resize(int number)
{
	(void)number;
}

bool terminal_exists(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

void terminal_begin(void)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction action = { .sa_handler = on_signal };
	struct termios raw;

	/* No SA_RESTART, so that poll(2) returns. */
	for (size_t i = 0; i < G_N_ELEMENTS(signals); i++)
		sigaction(signals[i], &action, NULL);
	action.sa_handler = on_resize;
	sigaction(SIGWINCH, &action, NULL);
	tcgetattr(STDIN_FILENO, &before);
	raw = before;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	fputs(SCREEN_BEGIN, stdout);
	fflush(stdout);
}

void terminal_end(void)
{
	fputs(SCREEN_END, stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

/* The end of the first @width characters of @line, or @end. */
static const char *cut(const char *line, const char *end, unsigned width)
{
	while (line < end && width-- > 0)
		line = g_utf8_next_char(line);
	return MIN(line, end);
}

void terminal_show(const char *text)
{
	struct winsize size = { 0 };
	g_autoptr(GString) screen = g_string_new("\033[H");

	/* Some terminals, such as serial lines, do not know their size. */
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || !size.ws_row || !size.ws_col)
		size = (struct winsize){ .ws_row = 24, .ws_col = 80 };
	for (unsigned row = 0; row < size.ws_row && *text; row++) {
		const char *end = text + strcspn(text, "\n");

		g_string_append_printf(screen, "%s%.*s\033[K", row ? "\n" : "",
		                       (int)(cut(text, end, size.ws_col) - text), text);
		text = *end ? end + 1 : end;
	}
	g_string_append(screen, "\033[J");
	fputs(screen->str, stdout);
	fflush(stdout);
}

bool terminal_wait(int timeout)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char key = 0;

	if (!leave && poll(&input, 1, timeout) > 0 && read(STDIN_FILENO, &key, 1) <= 0)
		return false;
	return !leave && key != 'q' && key != 'Q';
}
