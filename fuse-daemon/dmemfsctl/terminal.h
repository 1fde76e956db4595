/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A terminal whose whole screen is redrawn from time to time, and which is as before afterwards. */
#ifndef DMEMFSCTL_TERMINAL_H
#define DMEMFSCTL_TERMINAL_H

#include <stdbool.h>

/* Are both standard input and output a terminal? */
bool terminal_exists(void);
/* Takes the screen over; signals that end the process give it back. */
void terminal_begin(void);
void terminal_end(void);
/* Shows @text, cut to the size of the screen. */
void terminal_show(const char *text);
/* Waits so long, in milliseconds, for a key or a change of size. False: the user wants to leave (q, Ctrl-C). */
bool terminal_wait(int timeout);

#endif
