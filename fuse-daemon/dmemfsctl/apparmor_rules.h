/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the rules of an AppArmor profile allow, as far as files in /etc/apparmor.d tell: enough to find a rule that is missing. */
#ifndef DMEMFSCTL_APPARMOR_RULES_H
#define DMEMFSCTL_APPARMOR_RULES_H

#include <glib.h>
#include <stdbool.h>

/*
 * The text of @path, a file or a directory below /etc/apparmor.d, and of all that it includes. @root: prefix of all paths, "" for this
 * system. What cannot be read is left out. g_malloc'ed.
 */
char *apparmor_rules_read(const char *root, const char *path);
/*
 * Does a rule of @text allow @permission ('x', 'r', 'w') on @path, and none deny it? Rules with variables count only if their value does
 * not matter.
 */
bool apparmor_rules_allow(const char *text, const char *path, char permission);

#endif
