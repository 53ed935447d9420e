// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The parts of the stress module that need no kernel, as a program.
 *
 *	helper STATUS		what user_write() returns when that is how init's helper ended
 *	keep WANTED NUMBER...	the number that is kept for all rounds
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rounds.h"

#define UMH_WAIT_PROC 2

static int helper_status;

static int call_usermodehelper(const char *path, char **argv, char **envp, int wait)
{
	return wait == UMH_WAIT_PROC ? helper_status : 0;
}

#include "user.c"

int main(int argc, char **argv)
{
	unsigned long kept = 0;
	int at;

	if (argc == 3 && !strcmp(argv[1], "helper")) {
		helper_status = atoi(argv[2]);
		printf("%d\n", user_write("file", "word"));
		return 0;
	}
	if (argc > 3 && !strcmp(argv[1], "keep")) {
		for (at = 3; at < argc; at++)
			keep(&kept, strtoul(argv[at], NULL, 10), strtoul(argv[2], NULL, 10), at - 3);
		printf("%lu\n", kept);
		return 0;
	}
	return 2;
}
