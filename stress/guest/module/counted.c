// SPDX-License-Identifier: GPL-2.0-or-later
#include <linux/string.h>

#include "counted.h"
#include "report.h"

static int count_hit(struct kprobe *p, struct pt_regs *regs)
{
	atomic_inc(&container_of(p, struct counted, kprobe)->hits);
	return 0;
}

static void count_post(struct kprobe *p, struct pt_regs *regs, unsigned long flags)
{
	atomic_inc(&container_of(p, struct counted, kprobe)->posts);
}

void counted_set(struct counted *counted, const void *address, bool post)
{
	/* register_kprobe() wants its own fields as nobody left them. */
	memset(counted, 0, sizeof(*counted));
	counted->kprobe.addr = (kprobe_opcode_t *)address;
	counted->kprobe.pre_handler = count_hit;
	if (post)
		counted->kprobe.post_handler = count_post;
}

int counted_register(struct counted *counted, const void *address)
{
	counted_set(counted, address, false);
	return register_kprobe(&counted->kprobe);
}

int counted_register_post(struct counted *counted, const void *address)
{
	counted_set(counted, address, true);
	return register_kprobe(&counted->kprobe);
}

bool expect(struct verdict *verdict, bool ok, const char *format, ...)
{
	va_list arguments;

	if (ok || verdict->failed)
		return ok;
	verdict->failed = true;
	va_start(arguments, format);
	vsnprintf(verdict->reason, sizeof(verdict->reason), format, arguments);
	va_end(arguments);
	return false;
}

void report_verdict(const struct verdict *verdict)
{
	report_result(!verdict->failed, "%s", verdict->reason);
}
