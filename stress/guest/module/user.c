// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/errno.h>
#include <linux/kmod.h>

#include "user.h"

static int user(const char *verb, const char *what, const char *word)
{
	/* The kernel's interface wants them writable, and leaves them as they are. */
	char *argv[] = { "/init", (char *)verb, (char *)what, (char *)word, NULL };
	static char *envp[] = { NULL };
	int status = call_usermodehelper(argv[0], argv, envp, UMH_WAIT_PROC);

	if (status <= 0)
		return status;
	/* As wait() has it: the signal that killed it, or what it ended with. */
	return (status & 0x7f) ? -EINTR : -((status >> 8) & 0xff);
}

int user_write(const char *file, const char *word)
{
	return user("write", file, word);
}

int user_load(const char *file)
{
	return user("load", file, NULL);
}

int user_unload(const char *module)
{
	return user("unload", module, NULL);
}
