# SPDX-License-Identifier: GPL-2.0-or-later
# Long steps of quickstart and run-tests: shown with their time, stopped when the script is told to stop. To be sourced
# after common.sh; the script defines clean_up(), which runs once, at any end of it.
# shellcheck shell=bash

child=
beside= # a child that runs beside the steps
step_name=
step_note=
step_since=0

# While a step runs, a terminal shows its name; the seconds follow at its end, and step_note if there is one.
step_begin()
{
	step_name=$1
	step_since=$SECONDS
	[ ! -t 1 ] || printf '  %-56s' "$step_name"
}

step_end()
{
	[ -t 1 ] || printf '  %-56s' "$step_name"
	printf '%4d s%s\n' $((SECONDS - step_since)) "${step_note:+  $step_note}"
	step_name=
	step_note=
}

# spawn LOG COMMAND...: its pid is $!; all output goes to LOG, or to the terminal if LOG is "-". A group of its own, so that
# what it has started can be stopped with it; SIGINT is not ignored as bash does for other background commands.
spawn()
{
	local log=$1

	shift
	if [ "$log" = - ]; then
		setsid env --default-signal=INT,QUIT "$@" </dev/null &
	else
		mkdir -p "${log%/*}"
		setsid env --default-signal=INT,QUIT "$@" </dev/null >"$log" 2>&1 &
	fi
}

# wait_child LOG COMMAND...: its status.
wait_child()
{
	local status=0

	spawn "$@"
	child=$!
	wait "$child" || status=$?
	child=
	return "$status"
}

# start_beside LOG COMMAND...: one child that goes on while steps run. wait_beside: its status.
start_beside()
{
	spawn "$@"
	beside=$!
}

wait_beside()
{
	local status=0

	wait "$beside" || status=$?
	beside=
	return "$status"
}

show_log()
{
	printf '%s: failed: %s\n' "${0##*/}" "$1"
	tail -n "${3:-30}" "$2" | sed 's/^/  | /'
	printf '  full log: %s\n' "$2"
} >&2

# wait_gone PID SECONDS: false if the process, not necessarily a child, is still there then.
wait_gone()
{
	local i

	for ((i = 0; i < $2 * 10; i++)); do
		kill -0 "$1" 2>/dev/null || return 0
		sleep 0.1
	done
	! kill -0 "$1" 2>/dev/null
}

# SIGINT first: it lets pytest and ninja clean up.
stop_child()
{
	local pid

	for pid in $child $beside; do
		kill -INT -- "-$pid" 2>/dev/null || true
	done
	for pid in $child $beside; do
		wait_gone "$pid" 20 || kill -KILL -- "-$pid" 2>/dev/null || true
	done
	child=
	beside=
}

end_script()
{
	local status=$?

	trap '' INT TERM HUP
	trap - EXIT
	[ -z "$step_name" ] || printf '\n'
	stop_child
	clean_up
	exit "$status"
}

trap end_script EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
