// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/kprobes.h>

static struct kprobe first;

void start_kernel(void)
{
	while (register_kprobe(&first) == 0)
		first.hits++;
	for (;;)
		;
}
