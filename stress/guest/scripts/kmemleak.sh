# SPDX-License-Identifier: GPL-2.0-or-later
# kmemleak: what the kernel's own leak detector says when probes came and went, those of the
# scenarios before this one in the same boot included.
# shellcheck shell=sh disable=SC1091,SC2154

. /scenarios/report.sh "$@"

KMEMLEAK=/sys/kernel/debug/kmemleak
OURS='farm_|kprobe|optprobe|optinsn|insn_slot'
TOO_YOUNG=6	# seconds; kmemleak leaves out what is younger than 5

# put WORD FILE: writes it there. Leaves in $refused what could not be written first.
put() {
	echo "$1" >>"$2" && return
	refused=${refused:-"$1 to $2"}
	return 1
}

# One probe from adding to removing, hit once. A jump is waited for where the kernel has any.
come_and_go() {
	put "p:farm/hit farm_stress:$place" $TRACING/kprobe_events || return
	if put 1 $TRACING/events/farm/hit/enable; then
		if [ -e /proc/sys/debug/kprobes-optimization ] && wait_bytes "e9*"; then
			jumps=$((jumps + 1))
		fi
		call 1
		counted=$(profile hit | cut -d ' ' -f 1)
		hits=$((hits + ${counted:-0}))
		put 0 $TRACING/events/farm/hit/enable
		wait_bytes "$original" || kept=$((kept + 1))
	fi
	put "-:farm/hit" $TRACING/kprobe_events
}

# The reports, a line each: its fields and the functions of its stack.
reports() {
	awk '/^unreferenced object/ { if (one) print one; one = "" }
		{ one = one " " $0 } END { if (one) print one }' $KMEMLEAK
}

if ! put scan $KMEMLEAK; then
	echo "# farm skip kmemleak is switched off in this boot"
	exit
fi
original=$(bytes)
place=$(place)
refused=
hits=0
jumps=0
kept=0

begin probes
for _ in $(seq "$repetitions"); do
	come_and_go
done
evidence hits $hits
evidence optimized $jumps
if [ -n "$refused" ]; then
	not_ok "the kernel refuses to write $refused"
else
	is "$repetitions 0" "$hits $kept" "hits, and probes whose text was not restored"
fi

begin no-reports
sleep $TOO_YOUNG
# An object is reported when two scans found no pointer to it.
if ! put scan $KMEMLEAK || ! put scan $KMEMLEAK; then
	not_ok "kmemleak refuses to scan"
	exit
fi
found=$(reports | grep -cE "$OURS")
evidence reports "$found"
evidence other-reports "$(reports | grep -cvE "$OURS")"
if [ "$found" = 0 ]; then
	ok
else
	not_ok "$found reports: $(reports | grep -E -m 1 "$OURS" | tr -s ' ' | cut -c 1-300)"
fi
