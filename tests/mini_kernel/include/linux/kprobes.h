/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef LINUX_KPROBES_H
#define LINUX_KPROBES_H

#define EXPORT_SYMBOL(name)

struct kprobe {
	void *addr;
	unsigned long hits;
};

int register_kprobe(struct kprobe *p);

#endif
