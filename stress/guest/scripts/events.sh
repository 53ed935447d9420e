# SPDX-License-Identifier: GPL-2.0-or-later
# events: probes as a user of tracefs has them, each step of their life counted.
# shellcheck shell=sh disable=SC1091,SC2154

. /scenarios/report.sh "$@"

traced() {
	grep -c "$1" $TRACING/trace
}

# event_case NAME PREFIX DEFINITION PATTERN: add, enable, hit, read back, disable.
event_case() {
	begin "$1-add"
	if ! echo "$2:farm/$1 $3" >>$TRACING/kprobe_events; then
		not_ok "tracefs refuses $2:farm/$1 $3"
		return
	fi
	is 1 "$(grep -c "^$2[0-9]*:farm/$1 " $TRACING/kprobe_events)" "lines in kprobe_events"

	begin "$1-not-yet-enabled"
	call "$hits"
	is "0 0" "$(profile "$1")" "hits and misses of an event that is off"

	begin "$1-hits"
	echo >$TRACING/trace
	echo 1 >$TRACING/events/farm/"$1"/enable
	call "$hits"
	is "$hits 0" "$(profile "$1")" "hits and misses"

	begin "$1-trace"
	is "$hits" "$(traced "$4")" "lines in the trace"

	begin "$1-disable"
	echo 0 >$TRACING/events/farm/"$1"/enable
	call "$hits"
	is "$hits 0" "$(profile "$1")" "hits and misses after it was switched off"
}

hits_optimized_case() {
	begin hits-optimized
	if [ $jumps = 0 ]; then
		skip "the probe is not optimized"
		return
	fi
	before=$(profile hit)
	call "$hits"
	is "$((${before% *} + hits)) 0" "$(profile hit)" "hits and misses"
}

remove_case() {
	begin "$1-remove"
	echo "-:farm/$1" >>$TRACING/kprobe_events
	is "" "$(profile "$1")" "a removed event still has a profile"
}

if ! [ -e $TRACING/kprobe_events ]; then
	echo "# farm error there is no $TRACING/kprobe_events"
	exit
fi
original=$(bytes)
place=$(place)
event_case hit p "farm_stress:$place" "hit: ($SYMBOL+0x"
# Enabled again before its jump was taken away, it would stay a breakpoint: geometry's to find.
wait_bytes "$original"
echo 1 >$TRACING/events/farm/hit/enable
optimized_case
hits_optimized_case
evidence hits "$(profile hit | cut -d ' ' -f 1)"
echo 0 >$TRACING/events/farm/hit/enable
restored_case "$original"
event_case back r "farm_stress:$SYMBOL back=\$retval" "back: (.* <- $SYMBOL) back=0x1\$"
evidence returns "$(profile back | cut -d ' ' -f 1)"
remove_case back
remove_case hit
