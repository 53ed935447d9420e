/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One spelling of the kernel API that this module uses. It is an out-of-tree module built against
 * each tree under test, hence the version checks.
 *
 * It is known to build against 6.12. What stands here for older kernels, as far back as 2.6.33,
 * was never compiled, and it is not all that they need: vzalloc(), IS_ENABLED(),
 * ftrace_set_filter_ip(), add_cpu() and remove_cpu(), to name some, are younger than 2.6.33.
 */
#ifndef FARM_COMPAT_H
#define FARM_COMPAT_H

#include <linux/kernel.h>
#include <linux/compiler.h>
#include <linux/hrtimer.h>
#include <linux/kprobes.h>
#include <linux/ktime.h>
#include <linux/mm.h>
#include <linux/percpu.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#ifndef __printf			/* v3.1 */
#define __printf(a, b)		__attribute__((format(printf, a, b)))
#endif

#if LINUX_VERSION_CODE >= KERNEL_VERSION(3, 1, 0)
#include <linux/atomic.h>
#else
#include <asm/atomic.h>
#endif

#ifndef READ_ONCE			/* v3.19 */
#define READ_ONCE(value)	ACCESS_ONCE(value)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 0, 0)
#define totalram_pages()	totalram_pages	/* a variable */
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(2, 6, 39)
#define kstrtol(string, base, value)	strict_strtol(string, base, value)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(3, 17, 0)
static inline u64 ktime_get_ns(void)
{
	return ktime_to_ns(ktime_get());
}
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 8, 0)
#define copy_from_kernel_nofault(to, from, size)	probe_kernel_read(to, (void *)(from), size)
#endif

/* jprobes went with v4.19; from v4.15 on registering one was already refused in this way. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(4, 19, 0)
struct jprobe {
	struct kprobe kp;
	void *entry;
};

static inline int register_jprobe(struct jprobe *probe)
{
	return -ENOSYS;
}

static inline void unregister_jprobe(struct jprobe *probe)
{
}

static inline void jprobe_return(void)
{
}
#endif

/* The pages of a zone on the list that a CPU keeps for itself. */
static inline unsigned long cpu_list_pages(struct zone *zone, int cpu)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(5, 14, 0)
	return per_cpu_ptr(zone->per_cpu_pageset, cpu)->count;
#elif LINUX_VERSION_CODE >= KERNEL_VERSION(2, 6, 34)
	return per_cpu_ptr(zone->pageset, cpu)->pcp.count;
#else
	return zone_pcp(zone, cpu)->pcp.count;
#endif
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(2, 6, 37)
#define zone_page_state_snapshot(zone, item)	zone_page_state(zone, item)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
#define farm_ftrace_regs	pt_regs
#else
#define farm_ftrace_regs	ftrace_regs
#endif

#endif
