# SPDX-License-Identifier: GPL-2.0-or-later
# A private apt configuration for another suite than the system's, so that its packages can be downloaded and verified
# without adding a source to the system. To be sourced after common.sh.
# shellcheck shell=bash

# Prints "URI SUITE SIGNED-BY COMPONENT..." for each binary source of one-line files (*.list). SIGNED-BY may be "-".
apt_sources_one_line()
{
	awk '
		$1 == "deb" {
			signed = "-"
			field = 2
			if ($field ~ /^\[/) {
				do {
					option = $field
					gsub(/^\[|\]$/, "", option)
					if (option ~ /^signed-by=/)
						signed = substr(option, 11)
				} while ($(field++) !~ /\]$/ && field <= NF)
			}
			line = $field " " $(field + 1) " " signed
			for (field += 2; field <= NF && $field !~ /^#/; field++)
				line = line " " $field
			print line
		}' "$@"
}

# The same for deb822 files (*.sources).
apt_sources_deb822()
{
	awk '
		function flush(  i, j, uri, suite) {
			if (tolower(value["enabled"]) != "no" && value["types"] ~ /(^| )deb( |$)/) {
				split(value["uris"], uri, " ")
				split(value["suites"], suite, " ")
				# A key may stand in the field itself: only a file name is of use here.
				if (value["signed-by"] !~ /^\//)
					value["signed-by"] = "-"
				for (i = 1; i in uri; i++)
					for (j = 1; j in suite; j++)
						print uri[i], suite[j], value["signed-by"], value["components"]
			}
			delete value
			name = ""
		}
		FNR == 1 { flush() }
		/^#/ { next }
		/^[ \t]*$/ { flush(); next }
		/^[ \t]/ { if (name != "") value[name] = value[name] " " $0; next }
		{
			name = tolower(substr($0, 1, index($0, ":") - 1))
			text = substr($0, index($0, ":") + 1)
			gsub(/^[ \t]+|[ \t]+$/, "", text)
			value[name] = text
		}
		END { flush() }' "$@"
}

apt_sources()
{
	local files

	mapfile -t files < <(ls /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null)
	[ "${#files[@]}" -eq 0 ] || apt_sources_one_line "${files[@]}"
	mapfile -t files < <(ls /etc/apt/sources.list.d/*.sources 2>/dev/null)
	[ "${#files[@]}" -eq 0 ] || apt_sources_deb822 "${files[@]}"
}

# Prints "URI SIGNED-BY" of the source that the system's own release comes from; other suites lie beside it.
apt_archive()
{
	local codename uri suite signed components

	codename=$(debian_codename)
	while read -r uri suite signed components; do
		case $suite in
		"$codename" | stable | oldstable | testing | unstable | sid)
			[[ " $components " == *" main "* ]] || continue
			printf '%s %s\n' "$uri" "$signed"
			return
			;;
		esac
	done < <(apt_sources)
	die "no source for \"$codename main\" in /etc/apt/sources.list or /etc/apt/sources.list.d: add one"
}

# The keys to trust for other suites: those that the system trusts for its own, else Debian's.
apt_keyring()
{
	local signed=$1 file

	[ "$signed" = - ] || { printf '%s\n' "$signed"; return; }
	for file in /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
		[ ! -e "$file" ] || { printf '%s\n' "$file"; return; }
	done
	die "no keyring of the Debian archive found: install debian-archive-keyring"
}

# apt_suite SUITE [ARCHITECTURE]: from here on apt-get and apt-cache of this shell know SUITE only, for this machine's architecture
# and that one. Downloads its index.
apt_suite()
{
	local suite=$1 more=${2:-} directory uri signed keyring own

	own=$(dpkg --print-architecture)
	directory=$(cache_directory)/apt/$suite${more:+-$more}
	read -r uri signed < <(apt_archive) || exit 1
	keyring=$(apt_keyring "$signed") || exit 1
	mkdir -p "$directory"/{lists,cache}/partial
	: >"$directory/status" # this apt sees no installed packages
	cat >"$directory/sources.list" <<-EOT
		deb [arch=$own${more:+,$more} signed-by=$keyring] $uri $suite main
		deb-src [signed-by=$keyring] $uri $suite main
	EOT
	# The rest, proxies for example, stays as the system's /etc/apt/apt.conf.d says.
	cat >"$directory/apt.conf" <<-EOT
		Dir::Etc::sourcelist "$directory/sources.list";
		Dir::Etc::sourceparts "/dev/null";
		Dir::Etc::preferences "/dev/null";
		Dir::Etc::preferencesparts "/dev/null";
		Dir::State::lists "$directory/lists";
		Dir::State::status "$directory/status";
		Dir::Cache "$directory/cache";
		Acquire::Languages "none";
		APT::Architectures { "$own"; ${more:+"\"$more\";"} };
		APT::Default-Release "";
	EOT
	export APT_CONFIG=$directory/apt.conf
	run_logged "$(cache_directory)/log/apt-update-$suite" apt-get --error-on=any update ||
		die "cannot read the index of $suite from $uri: check the network, and that this mirror has the suite"
}

# apt_download DIRECTORY PACKAGE...: the .deb files, verified, into DIRECTORY.
apt_download()
{
	local directory=$1

	shift
	apt_user_directory "$directory"
	(cd "$directory" && run_logged "$(cache_directory)/log/apt-download-$1" apt-get download "$@") ||
		die "cannot download $*"
}

# A directory that apt's unprivileged download process can write.
apt_user_directory()
{
	mkdir -p "$1"
	if getent passwd _apt >/dev/null; then
		chown _apt "$1"
	fi
}

# Where a kernel for the laboratory is. Debian 12 has 6.1, without FUSE passthrough (6.9) and without what the kernel module builds on.
default_suite()
{
	if [ "$(debian_version)" -ge 13 ]; then
		debian_codename
	else
		echo "$(debian_codename)-backports"
	fi
}
