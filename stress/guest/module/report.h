/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a scenario says of itself. All of it only from the task that runs the scenario.
 *
 *	report_case("hits");
 *	report_result(hits == calls, "%lu of %lu hits counted", hits, calls);
 *
 * A case that is not ok is the kernel's fault, whatever kernel it is. What only some kernels can
 * do (optimize) is evidence, and the host decides whether it was to be expected.
 */
#ifndef FARM_REPORT_H
#define FARM_REPORT_H

#include <linux/fs.h>

#include "compat.h"

/*
 * A case of that name begins. Returns when the host knows: a crash from here on is this case's.
 * Each case ends with exactly one of the three calls below.
 */
void report_case(const char *name);

/* ok, or not ok with the text as the reason. Returns `ok`. */
__printf(2, 3) bool report_result(bool ok, const char *format, ...);

void report_ok(void);

/* It does not apply here, and why. */
__printf(1, 2) void report_skip(const char *format, ...);

void report_evidence(const char *name, long long value);

/* One measure: nanoseconds for `calls` calls, a number a round, with the probe and without. */
void report_measure(const char *name, unsigned int calls, unsigned int rounds,
		    const u64 *ns, const u64 *base_ns);

/* The same in bytes: memory in use, with `count` probes and without. */
void report_measure_bytes(const char *name, unsigned int count, unsigned int rounds,
			  const u64 *bytes, const u64 *base_bytes);

/* The whole scenario does not apply here, or could not do its work; then it should return. */
__printf(1, 2) void report_skip_scenario(const char *format, ...);
__printf(1, 2) void report_error(const char *format, ...);

/* For main.c: one scenario is told from open to close, and in it the cases from begin to end. */
int report_open(void);
void report_close(void);
void report_begin(const char *name);
int report_end(void);
int report_reader_open(struct inode *inode, struct file *file);
int report_reader_close(struct inode *inode, struct file *file);
ssize_t report_read(struct file *file, char __user *to, size_t size, loff_t *offset);

#endif
