# SPDX-License-Identifier: GPL-2.0-or-later
# What the scripts of this directory share: messages, the cache directory, and the release of Debian. To be sourced.
# shellcheck shell=bash

die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# explain "$@": if the first argument asks for help, prints the comment at the top of the script and exits.
explain()
{
	case ${1:-} in
	-h | --help) sed -n '3,/^set /{/^#/s/^# \{0,1\}//p}' "$0"; exit ;;
	esac
}

# check_machine WHY: ends the script where dmemfs cannot run, with the words of dmemfsctl doctor. WHY says what root is needed for.
check_machine()
{
	local release config

	release=$(uname -r)
	config=/boot/config-$release
	[ "$(printf '6.9\n%s\n' "$release" | sort -V | head -n 1)" = 6.9 ] ||
		die "Linux $release has no FUSE passthrough: boot Linux 6.9 or later; Debian 12 has one in bookworm-backports: linux-image-amd64"
	[ ! -r "$config" ] || grep -q '^CONFIG_FUSE_PASSTHROUGH=y' "$config" ||
		die "$config: FUSE passthrough is not built in: boot a kernel with CONFIG_FUSE_PASSTHROUGH=y"
	[ "$(id -u)" -eq 0 ] || die "run as root: $1"
}

# own_mounts "$@": restarts the script in a mount namespace of its own. Else a namespace that is made meanwhile (by a container, by
# unshare(1)) gets a copy of what the script mounts, and the file system stays alive when the script unmounts it.
own_mounts()
{
	[ "${DMEMFS_OWN_MOUNTS-}" = "$$" ] ||
		DMEMFS_OWN_MOUNTS=$$ exec unshare --mount -- "$(readlink -f "$0")" "$@"
}

# Downloads and what is made from them; safe to remove at any time.
cache_directory()
{
	printf '%s\n' "${DMEMFS_CACHE:-/var/cache/dmemfs-build}"
}

# 12, 13, ...; testing and unstable carry no number and count as newest.
debian_version()
{
	(
		. /etc/os-release
		printf '%s\n' "${VERSION_ID:-99}"
	)
}

debian_codename()
{
	(
		. /etc/os-release
		[ -n "${VERSION_CODENAME:-}" ] || die "/etc/os-release has no VERSION_CODENAME: is this Debian?"
		printf '%s\n' "$VERSION_CODENAME"
	)
}

# run_logged LOG COMMAND...: silent when it works; else shows the end of LOG and where the rest is.
run_logged()
{
	local log=$1

	shift
	mkdir -p "${log%/*}"
	"$@" >"$log" 2>&1 && return
	{
		printf '%s: failed: %s\n' "${0##*/}" "$*"
		tail -n 15 "$log" | sed 's/^/  | /'
		printf '  full log: %s\n' "$log"
	} >&2
	return 1
}

# take_lock NAME: waits until no other script of this project downloads into the same place. Held until exit.
take_lock()
{
	if ! mkdir -p "$(cache_directory)" 2>/dev/null || [ ! -w "$(cache_directory)" ]; then
		die "cannot write to $(cache_directory): run as root, or name another directory in DMEMFS_CACHE"
	fi
	exec {lock_fd}>"$(cache_directory)/$1.lock"
	flock "$lock_fd"
}
