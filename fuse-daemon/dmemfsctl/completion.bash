# SPDX-License-Identifier: GPL-2.0-or-later
# bash completion for dmemfsctl(8).

# The options of a command, without those of every command.
_dmemfsctl_options()
{
	case $1 in
	plan) echo --size --pages --node --leave --write --remove --boot-loader --root ;;
	doctor) echo --config --root ;;
	map) echo --output --color ;;
	top) echo --interval --iterations ;;
	wait-clean) echo --timeout ;;
	quota) echo --max-bytes --max-files ;;
	guest-args) echo --vmm --size ;;
	fsck) echo --config --move-aside --force ;;
	reload | prepare-kexec) echo --config ;;
	esac
}

# _dmemfsctl_words WORDS: those that continue what was typed, $current of the caller.
_dmemfsctl_words()
{
	mapfile -t COMPREPLY < <(compgen -W "$1" -- "$current")
}

_dmemfsctl()
{
	local command=${COMP_WORDS[1]} previous=${COMP_WORDS[COMP_CWORD - 1]} current=${COMP_WORDS[COMP_CWORD]}

	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		_dmemfsctl_words "plan doctor status ls extents map top wait-clean quota guest-args fsck reload prepare-kexec --help --version"
		return
	fi
	# "--option=value" is three words.
	[ "$previous" != = ] || previous=${COMP_WORDS[COMP_CWORD - 2]}
	[ "$current" != = ] || current=
	case $previous in
	--boot-loader) _dmemfsctl_words "grub systemd-boot" ;;
	--vmm) _dmemfsctl_words "qemu cloud-hypervisor libvirt" ;;
	--color) _dmemfsctl_words "auto always never" ;;
	--max-bytes | --max-files) _dmemfsctl_words none ;;
	--size | --node | --leave | --interval | --iterations | --timeout) ;;
	*)
		case $current in
		-*) _dmemfsctl_words "$(_dmemfsctl_options "$command") --json --help" ;;
		*) mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
		esac
		;;
	esac
}

complete -o filenames -F _dmemfsctl dmemfsctl
