# SPDX-License-Identifier: GPL-2.0-or-later
# allnoconfig in miniature. Reads Kconfig files that hold nothing but
#
#	config NAME
#		bool "prompt"  |  int "prompt"  |  def_bool y
#		depends on A && !B
#
# in the order of their dependencies, and the fragment named by `wanted`; writes a .config. As in
# Kconfig, a symbol without a prompt does not listen to the fragment.

BEGIN {
	while ((getline line < wanted) > 0)
		if (line ~ /^CONFIG_/)
			asked[substr(line, 8, index(line, "=") - 8)] = substr(line, index(line, "=") + 1)
}

function finish()
{
	if (name == "" || !met)
		return
	if (listens && name in asked)
		value = asked[name]
	set[name] = value
	if (value == "n")
		print "# CONFIG_" name " is not set"
	else
		print "CONFIG_" name "=" value
}

/^(#.*)?$/ { next }

/^config [A-Z0-9_]+$/ {
	finish()
	name = $2
	listens = 0
	met = 1
	value = "n"
	next
}

/^\t(bool|int) "/ { listens = 1; next }

/^\tdef_bool y$/ { value = "y"; next }

/^\tdepends on / {
	for (i = 3; i <= NF; i += 2) {
		symbol = $i
		wish = sub(/^!/, "", symbol) ? "n" : "y"
		if ((symbol in set ? set[symbol] : "n") != wish)
			met = 0
	}
	next
}

{
	print FILENAME ":" FNR ": syntax error" > "/dev/stderr"
	failed = 1
	exit 1
}

END {
	if (!failed)
		finish()
}
