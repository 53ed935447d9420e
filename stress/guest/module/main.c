// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * farm_stress: kprobe scenarios for a kernel under test, run from debugfs.
 *
 *	farm_stress/run		write "smoke scenario=smoke seed=1 clock=wall hits=1000"; the write
 *				returns when the scenario is through
 *	farm_stress/report	what it says; a read waits for a moment (EAGAIN: nothing yet) and
 *				returns 0 when `run` was closed and all was read
 *	farm_stress/target	for scripts: writing 100 calls farm_traced_target() so often; reading
 *				gives the place in it that can be optimized, "SYMBOL+OFFSET", and
 *				the bytes there in hexadecimal
 */
#include <linux/debugfs.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/string.h>

#include "compat.h"
#include "probe.h"
#include "report.h"
#include "scenarios.h"

#define MAX_ARGUMENTS 24

struct arguments {
	int count;
	char *name[MAX_ARGUMENTS];
	char *value[MAX_ARGUMENTS];
};

static const struct {
	const char *name;
	int (*run)(const struct arguments *arguments);
} scenarios[] = {
#define SCENARIO_ROW(name) { #name, run_##name },
	FARM_SCENARIOS(SCENARIO_ROW)
};

static const char *argument(const struct arguments *arguments, const char *name)
{
	int i;

	for (i = 0; i < arguments->count; i++)
		if (!strcmp(arguments->name[i], name))
			return arguments->value[i];
	return NULL;
}

int argument_int(const struct arguments *arguments, const char *name,
		 int low, int high, int *value)
{
	const char *text = argument(arguments, name);
	long number;

	if (!text || kstrtol(text, 10, &number) || number < low || number > high) {
		report_error("parameter %s is %s, not %d to %d", name, text ? text : "missing",
			     low, high);
		return -EINVAL;
	}
	*value = number;
	return 0;
}

/* "RUN name=value name=value ...": cut in place; returns RUN. */
static char *parse(char *command, struct arguments *arguments)
{
	char *run = strsep(&command, " ");
	char *word, *value;

	while ((word = strsep(&command, " ")) && arguments->count < MAX_ARGUMENTS) {
		value = strchr(word, '=');
		if (!value)
			continue;
		*value++ = '\0';
		arguments->name[arguments->count] = word;
		arguments->value[arguments->count++] = value;
	}
	return run;
}

static int run(char *command)
{
	struct arguments arguments = { .count = 0 };
	const char *entry = parse(command, &arguments);
	const char *name = argument(&arguments, "scenario");
	int error, lost;
	size_t i;

	report_begin(name ? name : entry);
	for (i = 0; i < ARRAY_SIZE(scenarios); i++) {
		if (strcmp(scenarios[i].name, entry))
			continue;
		error = scenarios[i].run(&arguments);
		lost = report_end();
		return error ? error : lost;
	}
	report_error("this module has no scenario %s", entry);
	return -ENOENT;
}

static int run_open(struct inode *inode, struct file *file)
{
	return report_open();
}

static int run_close(struct inode *inode, struct file *file)
{
	report_close();
	return 0;
}

static ssize_t run_write(struct file *file, const char __user *from, size_t size, loff_t *offset)
{
	static char command[2048];	/* `run` is open once at a time */
	int error;

	if (size >= sizeof(command))
		return -E2BIG;
	if (copy_from_user(command, from, size))
		return -EFAULT;
	command[size] = '\0';
	error = run(strim(command));
	return error ? error : size;
}

static const struct file_operations run_operations = {
	.owner = THIS_MODULE,
	.open = run_open,
	.release = run_close,
	.write = run_write,
};

static const struct file_operations report_operations = {
	.owner = THIS_MODULE,
	.open = report_reader_open,
	.release = report_reader_close,
	.read = report_read,
};

noinline long farm_traced_target(void)
{
	long one;

	asm volatile("7:	mov %1, %0\n"
		     "	nop; nop; nop; nop; nop\n"
		     "	.pushsection .rodata\n"
		     "	.balign 4\n"
		     "farm_traced_place:\n"
		     "	.long 7b - .\n"
		     "	.popsection\n"
		     : "=r" (one) : "i" (1L));
	return one;
}

static ssize_t target_write(struct file *file, const char __user *from, size_t size,
			    loff_t *offset)
{
	char text[16];
	long calls;

	if (size >= sizeof(text))
		return -E2BIG;
	if (copy_from_user(text, from, size))
		return -EFAULT;
	text[size] = '\0';
	if (kstrtol(strim(text), 10, &calls) || calls < 0)
		return -EINVAL;
	while (calls--)
		farm_traced_target();
	return size;
}

static ssize_t target_read(struct file *file, char __user *to, size_t size, loff_t *offset)
{
	unsigned long place = (unsigned long)&farm_traced_place + farm_traced_place;
	unsigned char bytes[16];
	char text[128];
	size_t used, i;

	if (copy_from_kernel_nofault(bytes, (void *)place, sizeof(bytes)))
		return -EFAULT;
	used = scnprintf(text, sizeof(text), "farm_traced_target+%lu ",
			 place - (unsigned long)farm_traced_target);
	for (i = 0; i < sizeof(bytes); i++)
		used += scnprintf(text + used, sizeof(text) - used, "%02x", bytes[i]);
	used += scnprintf(text + used, sizeof(text) - used, "\n");
	return simple_read_from_buffer(to, size, offset, text, used);
}

static const struct file_operations target_operations = {
	.owner = THIS_MODULE,
	.write = target_write,
	.read = target_read,
};

static struct dentry *folder;

static int __init farm_stress_init(void)
{
	folder = debugfs_create_dir("farm_stress", NULL);
	if (IS_ERR_OR_NULL(folder))
		return -ENODEV;
	debugfs_create_file("run", 0200, folder, NULL, &run_operations);
	debugfs_create_file("report", 0400, folder, NULL, &report_operations);
	debugfs_create_file("target", 0600, folder, NULL, &target_operations);
	return 0;
}

static void __exit farm_stress_exit(void)
{
	debugfs_remove_recursive(folder);
}

module_init(farm_stress_init);
module_exit(farm_stress_exit);

MODULE_DESCRIPTION("kprobe scenarios for a kernel under test");
MODULE_LICENSE("GPL");
