/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One spelling of the kernel API that this module uses, for the kernels from 2.6.33 to 6.12. It
 * is an out-of-tree module built against each tree under test, hence the version checks.
 */
#ifndef FARM_COMPAT_H
#define FARM_COMPAT_H

#include <linux/kernel.h>
#include <linux/compiler.h>
#include <linux/hrtimer.h>
#include <linux/ktime.h>
#include <linux/types.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#ifndef __printf			/* v3.1 */
#define __printf(a, b)		__attribute__((format(printf, a, b)))
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

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
#define farm_ftrace_regs	pt_regs
#else
#define farm_ftrace_regs	ftrace_regs
#endif

#endif
