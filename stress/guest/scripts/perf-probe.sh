# SPDX-License-Identifier: GPL-2.0-or-later
# perf-probe: a probe from adding to deleting, as a user of perf has it. There is no debug
# information here: perf finds the symbol in the module's file.
# shellcheck shell=sh disable=SC1091,SC2154

. /scenarios/report.sh "$@"

MODULE=/farm_stress.ko
LOG=/tmp/perf.log
export HOME=/tmp	# perf keeps notes there
mkdir -p /tmp

# The last words of perf, on a line.
said() {
	tail -n 3 $LOG | tr '\n' ' ' | cut -c 1-200
}

# What perf counted while the target was called $1 times.
counted() {
	perf stat -x, -o /tmp/stat -e probe:hit /bin/busybox sh -c "echo $1 >$TARGET" >$LOG 2>&1
	awk -F, '/probe:hit/ { print $1 }' /tmp/stat
}

original=$(bytes)

begin add
if perf probe -m $MODULE --add "hit=$(place)" >$LOG 2>&1; then
	ok
else
	not_ok "perf probe --add: $(said)"
	exit
fi

begin list
is 1 "$(perf probe --list 2>$LOG | grep -c probe:hit)" "probes that perf probe --list knows"

begin stat
counts=$(counted "$hits")
evidence hits "${counts:-0}"
is "$hits" "$counts" "hits that perf stat counted"

# While perf counts, the probe is on; so it is switched on by hand to see it as a jump.
echo 1 >$TRACING/events/probe/hit/enable
optimized_case

begin stat-optimized
if [ $jumps = 0 ]; then
	skip "the probe is not optimized"
else
	is "$hits" "$(counted "$hits")" "hits that perf stat counted"
fi
echo 0 >$TRACING/events/probe/hit/enable

begin del
if perf probe --del probe:hit >$LOG 2>&1; then
	is 0 "$(grep -c probe/hit $TRACING/kprobe_events)" "probes left in kprobe_events"
else
	not_ok "perf probe --del: $(said)"
fi
restored_case "$original"
