/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A full-screen display on the terminal; terminal_end() restores the former contents. */
#ifndef DMEMFSCTL_TERMINAL_H
#define DMEMFSCTL_TERMINAL_H

#include <stdbool.h>

/* Are both standard input and output a terminal? */
bool terminal_exists(void);
/* Switches to the alternate screen. Signals that end the process switch back. */
void terminal_begin(void);
void terminal_end(void);
/* Shows @text, cut to the size of the screen. */
void terminal_show(const char *text);
/* Waits at most @timeout ms for a key or a change of the screen's size. False: the user quits (q, Ctrl-C). */
bool terminal_wait(int timeout);

#endif
