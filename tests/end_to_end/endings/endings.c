// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The ways in which a guest can end, each of them for real. Stands in the place of the scenarios
 * of farm_stress; run_X is what a scenario with `run: X` starts.
 *
 * All begin a case that the way is named for, so that a verdict can say where it happened.
 */
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/irqflags.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <asm/desc.h>

#include "report.h"
#include "scenarios.h"

/* What a passing smoke shows where the feature is absent, and on any kernel. */
static void show_evidence(void)
{
	report_evidence("hits", 1000);
	report_evidence("disabled-hits", 0);
	report_evidence("text-restored", 1);
	report_evidence("optimized", 0);
}

int run_fine(const struct arguments *arguments)
{
	report_case("fine");
	report_ok();
	show_evidence();
	return 0;
}

/* Long enough for somebody to meddle with the machine meanwhile, and then all is well. */
int run_waits(const struct arguments *arguments)
{
	report_case("waits");
	msleep(2500);
	report_ok();
	show_evidence();
	return 0;
}

int run_panic(const struct arguments *arguments)
{
	report_case("panic");
	panic("out of the blue");
	return 0;
}

int run_oops(const struct arguments *arguments)
{
	report_case("oops");
	WRITE_ONCE(*(int *)8, 1);
	return 0;
}

/* Only the task dies; init finds it gone. */
int run_oops_goes_on(const struct arguments *arguments)
{
	struct file *file = filp_open("/proc/sys/kernel/panic_on_oops", O_WRONLY, 0);
	loff_t at = 0;

	if (IS_ERR(file) || kernel_write(file, "0", 1, &at) != 1) {
		report_error("panic_on_oops cannot be switched off");
		return -EIO;
	}
	filp_close(file, NULL);
	return run_oops(arguments);
}

int run_warning(const struct arguments *arguments)
{
	report_case("warning");
	WARN(1, "not as it should be\n");
	report_ok();
	show_evidence();
	return 0;
}

static void spin(void *unused)
{
	local_irq_disable();
	for (;;)
		cpu_relax();
}

int run_irqs_off(const struct arguments *arguments)
{
	report_case("irqs-off");
	smp_call_function(spin, NULL, 0);
	spin(NULL);
	return 0;
}

static void stop(void *unused)
{
	local_irq_disable();
	for (;;)
		asm volatile("hlt");
}

/* No CPU does anything: to the host the machine idles. */
int run_silence(const struct arguments *arguments)
{
	report_case("silence");
	smp_call_function(stop, NULL, 0);
	stop(NULL);
	return 0;
}

int run_never_ends(const struct arguments *arguments)
{
	report_case("never-ends");
	while (!fatal_signal_pending(current))
		msleep_interruptible(100);
	return 0;
}

int run_chatter(const struct arguments *arguments)
{
	report_case("chatter");
	while (!fatal_signal_pending(current))
		pr_info("and another thing: %*s\n", 200, "");
	return 0;
}

int run_flood(const struct arguments *arguments)
{
	report_case("flood");
	while (!fatal_signal_pending(current))
		report_evidence("hits", 1);
	return 0;
}

/* Pages of the kernel's own: nothing that is killed gives them back. */
int run_out_of_memory(const struct arguments *arguments)
{
	report_case("out-of-memory");
	while (alloc_pages(GFP_KERNEL | __GFP_NOFAIL, 0))
		;
	return 0;
}

int run_triple_fault(const struct arguments *arguments)
{
	static const struct desc_ptr none;

	report_case("triple-fault");
	local_irq_disable();
	load_idt(&none);
	asm volatile("int3");
	return 0;
}

int run_reboot(const struct arguments *arguments)
{
	report_case("reboot");
	emergency_restart();
	return 0;
}

/* S5 through the port of QEMU's power management: these kernels know no ACPI. */
int run_power_off(const struct arguments *arguments)
{
	report_case("power-off");
	outw(0x2000, 0x604);
	return 0;
}

/* Which way smoke goes; a build may write another name over it, of the same length with blanks. */
static char smoke_way[] = "the way of smoke: fine        ";

static const struct {
	const char *name;
	int (*run)(const struct arguments *arguments);
} ways[] = {
	{ "fine", run_fine },
	{ "waits", run_waits },
	{ "irqs_off", run_irqs_off },
	{ "triple_fault", run_triple_fault },
};

int run_smoke(const struct arguments *arguments)
{
	char *way = smoke_way;
	size_t i;

	OPTIMIZER_HIDE_VAR(way);	/* the compiler knows only what it was built with */
	way = strim(way + strlen("the way of smoke: "));
	for (i = 0; i < ARRAY_SIZE(ways); i++)
		if (!strcmp(ways[i].name, way))
			return ways[i].run(arguments);
	report_error("there is no way %s", way);
	return -EINVAL;
}
