// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks what AppArmor allows libvirt and its guests: qemu-aligned as an emulator, and files on dmemfs. */
#include <string.h>

#include "dmemfsctl/apparmor_rules.h"
#include "dmemfsctl/doctor.h"

#define QEMU_CONF "/etc/libvirt/qemu.conf"
#define DOMAINS   "/etc/libvirt/qemu"
#define PROFILES  "/sys/kernel/security/apparmor/profiles"
#define ALIGNED   DMEMFS_BINDIR "/qemu-aligned"
#define STAT      "/usr/bin/stat"
/* Below /etc/apparmor.d. Debian 13 includes the directory in the profiles of guests, Debian 12 does not. */
#define DAEMON_PROFILE  "usr.sbin.libvirtd"
#define GUEST_PROFILE   "abstractions/libvirt-qemu"
#define GUEST_DIRECTORY "abstractions/libvirt-qemu.d"

/*
 * AppArmor confines a process only if a profile for it is loaded, and libvirt confines its guests only when it finds
 * the list of profiles. When this process may not read the list, the answer is yes.
 */
static bool confines_libvirt(const struct doctor *doctor)
{
	g_autofree char *profiles = doctor_read(doctor, PROFILES);

	if (!doctor_exists(doctor, QEMU_CONF) || !doctor_exists(doctor, PROFILES))
		return false;
	return !profiles || strstr(profiles, "libvirt") || strstr(profiles, "virtqemud");
}

/* What AppArmor sees when @emulator is executed: a path without symbolic links. g_malloc'ed; NULL: that cannot be examined. */
static char *resolve(struct doctor *doctor, const char *emulator)
{
	const struct mount_point *blocking;

	return doctor_can_examine(doctor, emulator) ? mounts_resolve(doctor->mounts, doctor->root, emulator, &blocking)
	                                            : NULL;
}

/* Adds to @paths what the group of @pattern is in @text. */
static void find_all(GHashTable *paths, const char *text, const char *pattern)
{
	g_autoptr(GRegex) regex = g_regex_new(pattern, G_REGEX_RAW, 0, NULL);
	g_autoptr(GMatchInfo) match = NULL;

	for (g_regex_match(regex, text, 0, &match); g_match_info_matches(match); g_match_info_next(match, NULL))
		g_hash_table_add(paths, g_match_info_fetch(match, 1));
}

/* The emulators of libvirt's domains, the one of the recipe if it is followed, and the files that domains name in arguments of QEMU. */
static void read_domains(const struct doctor *doctor, GHashTable *emulators, GHashTable *files)
{
	g_autofree char *full = g_build_filename(doctor->root, DOMAINS, NULL);
	g_autofree char *backing = doctor_backing_directory(doctor);
	g_autoptr(GDir) directory = g_dir_open(full, 0, NULL);

	if (backing)
		g_hash_table_add(emulators, g_strdup(ALIGNED));
	for (const char *name; directory && (name = g_dir_read_name(directory));) {
		g_autofree char *path = g_build_filename(DOMAINS, name, NULL);
		g_autofree char *text = g_str_has_suffix(name, ".xml") ? doctor_read(doctor, path) : NULL;

		if (text) {
			find_all(emulators, text, "<emulator>([^<]+)</emulator>");
			find_all(files, text, "<qemu:arg value=[^>]*\\bmem-path=([^,'\"&>]+)");
		}
	}
}

/* @missing: what guests with the emulator @program may not execute. */
static void add_missing(struct doctor *doctor, const char *program, GPtrArray *missing)
{
	g_autofree char *directory = apparmor_rules_read(doctor->root, GUEST_DIRECTORY);
	g_autoptr(GString) names = g_string_new(NULL);
	g_autoptr(GString) lines = g_string_new(NULL);
	g_autofree char *remedy = NULL;
	bool shipped = true;

	for (guint i = 0; i < missing->len; i++) {
		const char *path = g_ptr_array_index(missing, i);

		g_string_append_printf(names, "%s%s", i > 0 ? " and " : "", path);
		g_string_append_printf(lines, "%s%s rix,", i > 0 ? " " : "", path);
		shipped = shipped && apparmor_rules_allow(directory, path, 'x');
	}
	remedy = g_strdup_printf("add the line  %s  to /etc/apparmor.d/local/" GUEST_PROFILE,
	                         shipped ? "include if exists <" GUEST_DIRECTORY ">" : lines->str);
	doctor_add(doctor, LEVEL_PROBLEM, remedy,
	           "AppArmor keeps libvirt's guests from executing %s: guests with the emulator %s do not start",
	           names->str, program);
}

/* False: guests with this emulator do not start, and a finding says so. */
static bool check_emulator(struct doctor *doctor, const char *program, const char *daemon_rules,
                           const char *guest_rules)
{
	g_autofree char *text = doctor_read(doctor, program);
	const char *executed[] = { program, ALIGNED, STAT };
	g_autoptr(GPtrArray) missing = g_ptr_array_new();
	bool fine = true;

	/* A script that executes qemu-aligned, or this itself: it says its name. */
	if (!*guest_rules || !text || !strstr(text, "qemu-aligned"))
		return true;
	if (*daemon_rules && !apparmor_rules_allow(daemon_rules, program, 'x')) {
		g_autofree char *remedy =
			g_strdup_printf("add the line  %s PUx,  to /etc/apparmor.d/local/" DAEMON_PROFILE
		                        " and run apparmor_parser -r /etc/apparmor.d/" DAEMON_PROFILE,
		                        program);

		doctor_add(doctor, LEVEL_PROBLEM, remedy,
		           "AppArmor keeps libvirtd from executing %s: guests with this emulator do not start",
		           program);
		fine = false;
	}
	for (guint i = 0; i < G_N_ELEMENTS(executed); i++) {
		if (!apparmor_rules_allow(guest_rules, executed[i], 'x') &&
		    (i == 0 || strcmp(executed[i], program) != 0))
			g_ptr_array_add(missing, (gpointer)executed[i]);
	}
	if (missing->len > 0)
		add_missing(doctor, program, missing);
	return fine && missing->len == 0;
}

/* libvirt allows a guest the file that it makes below memory_backing_dir. Any other file needs a rule of the administrator. */
static bool check_file(struct doctor *doctor, const char *path, const char *guest_rules)
{
	g_autofree char *remedy =
		g_strdup_printf("have libvirt make the file (memory_backing_dir), or add the line  \"%s\" rwk,  to "
	                        "/etc/apparmor.d/local/" GUEST_PROFILE ", which allows it to all guests",
	                        path);

	if (!doctor_lies_on_a_mount(doctor, path) || apparmor_rules_allow(guest_rules, path, 'w'))
		return true;
	doctor_add(doctor, LEVEL_PROBLEM, remedy,
	           "AppArmor keeps libvirt's guests from %s, which a domain names in <qemu:commandline>", path);
	return false;
}

/* All guests of libvirt run as the same user, so AppArmor alone keeps them from each other's memory. */
static bool check_isolation(struct doctor *doctor, const char *guest_rules)
{
	g_autofree char *path = g_build_filename(doctor_mountpoint(doctor), "libvirt/qemu/1-guest/ram", NULL);

	if (!apparmor_rules_allow(guest_rules, path, 'r'))
		return true;
	doctor_add(doctor, LEVEL_NOTE, "take the rule out of /etc/apparmor.d/local/" GUEST_PROFILE,
	           "a rule of AppArmor for all of libvirt's guests lets each use the memory of the others, as %s",
	           path);
	return false;
}

void doctor_check_apparmor(struct doctor *doctor)
{
	g_autofree char *enabled = doctor_read(doctor, "/sys/module/apparmor/parameters/enabled");
	g_autofree char *daemon_rules = apparmor_rules_read(doctor->root, DAEMON_PROFILE);
	g_autofree char *guest_rules = apparmor_rules_read(doctor->root, GUEST_PROFILE);
	g_autoptr(GHashTable) emulators = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GHashTable) programs = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	g_autoptr(GHashTable) files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
	GHashTableIter iterator;
	gpointer path;
	bool fine;

	if (!enabled || *enabled != 'Y') {
		doctor_add(doctor, LEVEL_OK, NULL, "AppArmor is off");
		return;
	}
	if (!confines_libvirt(doctor)) {
		doctor_add(doctor, LEVEL_OK, NULL, "AppArmor is on, but does not confine libvirt's guests");
		return;
	}
	fine = check_isolation(doctor, guest_rules);
	read_domains(doctor, emulators, files);
	g_hash_table_iter_init(&iterator, emulators);
	while (g_hash_table_iter_next(&iterator, &path, NULL)) {
		char *program = resolve(doctor, path);

		if (program)
			g_hash_table_add(programs, program);
	}
	g_hash_table_iter_init(&iterator, programs);
	while (g_hash_table_iter_next(&iterator, &path, NULL))
		fine = check_emulator(doctor, path, daemon_rules, guest_rules) && fine;
	g_hash_table_iter_init(&iterator, files);
	while (g_hash_table_iter_next(&iterator, &path, NULL))
		fine = check_file(doctor, path, guest_rules) && fine;
	if (fine)
		doctor_add(doctor, LEVEL_OK, NULL, "AppArmor lets libvirt's guests use dmemfs");
}
