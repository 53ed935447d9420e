// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The parts of the stress module that need no kernel, as a program.
 *
 *	helper STATUS		what user_write() returns when that is how init's helper ended
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UMH_WAIT_PROC 2

static int helper_status;

static int call_usermodehelper(const char *path, char **argv, char **envp, int wait)
{
	return wait == UMH_WAIT_PROC ? helper_status : 0;
}

#include "user.c"

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "helper")) {
		helper_status = atoi(argv[2]);
		printf("%d\n", user_write("file", "word"));
		return 0;
	}
	return 2;
}
