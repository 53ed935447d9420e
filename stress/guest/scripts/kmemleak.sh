# SPDX-License-Identifier: GPL-2.0-or-later
# kmemleak: what the kernel's own leak detector says when probes came and went, those of the
# scenarios before this one in the same boot included.
# shellcheck shell=sh disable=SC1091,SC2154

. /scenarios/report.sh "$@"

KMEMLEAK=/sys/kernel/debug/kmemleak
OURS='farm_|kprobe|optprobe|optinsn|insn_slot'
TOO_YOUNG=6	# seconds; kmemleak leaves out what is younger than 5

# One probe from adding to removing. A jump is waited for where the kernel has any.
come_and_go() {
	echo "p:farm/hit farm_stress:$place" >>$TRACING/kprobe_events
	echo 1 >$TRACING/events/farm/hit/enable
	[ -e /proc/sys/debug/kprobes-optimization ] && wait_bytes "e9*"
	call 1
	echo 0 >$TRACING/events/farm/hit/enable
	wait_bytes "$original" || failed=$((failed + 1))
	echo "-:farm/hit" >>$TRACING/kprobe_events
}

# The reports, a line each: its fields and the functions of its stack.
reports() {
	awk '/^unreferenced object/ { if (one) print one; one = "" }
		{ one = one " " $0 } END { if (one) print one }' $KMEMLEAK
}

if ! echo scan >$KMEMLEAK; then
	echo "# farm skip kmemleak is switched off in this boot"
	exit
fi
original=$(bytes)
place=$(place)
failed=0

begin probes
for _ in $(seq "$repetitions"); do
	come_and_go
done
is 0 $failed "probes whose text was not restored"

begin no-reports
sleep $TOO_YOUNG
echo scan >$KMEMLEAK
# An object is reported when two scans found no pointer to it.
echo scan >$KMEMLEAK
found=$(reports | grep -cE "$OURS")
evidence reports "$found"
evidence other-reports "$(reports | grep -cvE "$OURS")"
if [ "$found" = 0 ]; then
	ok
else
	not_ok "$found reports: $(reports | grep -E -m 1 "$OURS" | tr -s ' ' | cut -c 1-300)"
fi
