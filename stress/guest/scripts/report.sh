# SPDX-License-Identifier: GPL-2.0-or-later
# What scripts of scenarios say of themselves, and the target that they put probes on. A script
# begins with `. /scenarios/report.sh "$@"`; its parameters are then variables of their names, with
# _ for -: no variable may hold that.
# shellcheck shell=sh

TRACING=/sys/kernel/tracing
TARGET=/sys/kernel/debug/farm_stress/target
SYMBOL=farm_traced_target

for word in "$@"; do
	case $word in
	*[!A-Za-z0-9_.:/,+=-]* | [!a-z]*) ;;
	*=*) eval "$(echo "${word%%=*}" | tr - _)='${word#*=}'" ;;
	esac
done

cases=0

# A case begins, and ends by one of the three after it.
begin() {
	current=$scenario.$1
	up=$(awk '{ printf "%.0f", $1 * 1000 }' /proc/uptime)
	echo "# farm begin {\"case\": \"$current\", \"uptime_ms\": $up}"
}

ok() {
	cases=$((cases + 1))
	echo "    ok $cases $current"
}

not_ok() {
	cases=$((cases + 1))
	echo "    not ok $cases $current # $1"
}

skip() {
	cases=$((cases + 1))
	echo "    ok $cases $current # SKIP $1"
}

# is WANTED FOUND WHAT: ends the case.
is() {
	if [ "$1" = "$2" ]; then
		ok
	else
		not_ok "$3: $2, not $1"
	fi
}

evidence() {
	echo "# farm evidence {\"$1\": $2}"
}

# The place in the target that can be optimized, as SYMBOL+OFFSET.
place() {
	cut -d ' ' -f 1 $TARGET
}

# The bytes there now, in hexadecimal.
bytes() {
	cut -d ' ' -f 2 $TARGET
}

# Waits for the jump and says whether it came: what is to be seen at this point of a series, the
# host knows. Leaves $jumps.
optimized_case() {
	begin optimized
	jumps=0
	if wait_bytes "e9*"; then
		jumps=1
		ok
	else
		skip "no jump at the address after 3 s"
	fi
	evidence optimized $jumps
}

# restored_case ORIGINAL
restored_case() {
	begin text-restored
	if wait_bytes "$1"; then
		evidence text-restored 1
		ok
	else
		evidence text-restored 0
		not_ok "the text is $(bytes) after 3 s, not $1"
	fi
}

# profile EVENT: "HITS MISSED", as tracefs counted them.
profile() {
	awk -v name="$1" '$1 == name { print $2, $3 }' $TRACING/kprobe_profile
}

# Calls the target so often.
call() {
	echo "$1" >$TARGET
}

# wait_bytes PATTERN: up to 3 s until the bytes match it.
wait_bytes() {
	for _ in $(seq 30); do
		case $(bytes) in
		$1) return 0 ;;
		esac
		sleep 0.1
	done
	return 1
}
