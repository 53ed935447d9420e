// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Others who change text, on the same page, or who are to be told of every change: the function
 * tracer, static keys, CPUs that go and come, CPUs that run what is being changed.
 */
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/ftrace.h>
#include <linux/jump_label.h>
#include <linux/kthread.h>
#include <linux/sched.h>
#include <linux/string.h>

#include "lifecycle.h"
#include "report.h"

static struct toggler toggler;

static void beside_case(struct agent *agent, unsigned int steps)
{
	toggler_begin(&toggler);
	agent_beside(agent, &toggler, steps);
	toggler_settle(&toggler);
	toggler_end(&toggler);
}

#ifdef CONFIG_DYNAMIC_FTRACE

static atomic_t traced_calls;

static void count_traced(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
			 struct farm_ftrace_regs *regs)
{
	atomic_inc(&traced_calls);
}

static struct ftrace_ops tracer = { .func = count_traced };

static noinline farm_beside_rows int traced(int number)
{
	barrier();
	return number + 1;
}

/* Traced, one call is seen; else none is. */
static int trace_on_and_off(unsigned int round)
{
	int before = atomic_read(&traced_calls);
	int error = register_ftrace_function(&tracer);

	if (error)
		return error;
	if (traced(round) != round + 1)
		error = -EILSEQ;
	unregister_ftrace_function(&tracer);
	if (traced(round) != round + 1)
		error = -EILSEQ;
	if (atomic_read(&traced_calls) != before + 1)
		error = -ENODATA;
	return error;
}

static void tracer_case(unsigned int steps)
{
	static struct agent agent = { .step = trace_on_and_off };
	int error;

	report_case("beside-tracer");
	error = ftrace_set_filter_ip(&tracer, (unsigned long)traced, 0, 1);
	if (error) {
		report_result(false, "ftrace_set_filter_ip: error %d", error);
		return;
	}
	agent.rounds = steps / 20 + 1;
	beside_case(&agent, steps);
	ftrace_set_filter_ip(&tracer, (unsigned long)traced, 1, 0);
}

#else

static void tracer_case(unsigned int steps)
{
	report_case("beside-tracer");
	report_skip("this kernel has no DYNAMIC_FTRACE");
}

#endif

#ifdef CONFIG_JUMP_LABEL

static DEFINE_STATIC_KEY_FALSE(key);

static noinline farm_beside_rows int keyed(int number)
{
	if (static_branch_unlikely(&key))
		return number + 2;
	return number + 1;
}

static int key_on_and_off(unsigned int round)
{
	int error = 0;

	static_branch_enable(&key);
	if (keyed(round) != round + 2)
		error = -EILSEQ;
	static_branch_disable(&key);
	if (keyed(round) != round + 1)
		error = -EILSEQ;
	return error;
}

static void key_case(unsigned int steps)
{
	static struct agent agent = { .step = key_on_and_off };

	report_case("beside-static-key");
	agent.rounds = steps / 4 + 1;
	beside_case(&agent, steps);
}

#else

static void key_case(unsigned int steps)
{
	report_case("beside-static-key");
	report_skip("this kernel has no JUMP_LABEL");
}

#endif

#ifdef CONFIG_HOTPLUG_CPU

/* The last one: the first may not be able to go. */
static int cpu_off_and_on(unsigned int round)
{
	unsigned int cpu = cpumask_last(cpu_present_mask);
	int error = remove_cpu(cpu);

	return error ? error : add_cpu(cpu);
}

static void hotplug_case(unsigned int steps)
{
	static struct agent agent = { .step = cpu_off_and_on };

	report_case("beside-hotplug");
	if (num_present_cpus() < 2) {
		report_skip("there is one CPU");
		return;
	}
	agent.rounds = 4;
	beside_case(&agent, steps);
}

#else

static void hotplug_case(unsigned int steps)
{
	report_case("beside-hotplug");
	report_skip("this kernel has no HOTPLUG_CPU");
}

#endif

static struct hammer {
	struct task_struct *thread;
	unsigned long calls;
} hammers[NR_CPUS];
static atomic_t wrong_results;

/* Runs the rows without a pause but for what keeps a kernel alive that is not preempted. */
static int hammer_run(void *data)
{
	struct hammer *hammer = data;

	while (!kthread_should_stop()) {
		if (!row_works(hammer->calls++ % TOGGLED))
			atomic_inc(&wrong_results);
		if (hammer->calls % 4096 == 0)
			schedule_timeout_interruptible(1);
	}
	return 0;
}

/*
 * Every other CPU is in the text that is being changed. Their calls count too, and so only the
 * results and the end are exact.
 */
static void hammer_case(unsigned int steps)
{
	unsigned long least = ULONG_MAX;
	struct hammer *hammer;
	unsigned int cpu;

	report_case("under-the-hammer");
	if (num_online_cpus() < 2) {
		report_skip("there is one CPU");
		return;
	}
	memset(hammers, 0, sizeof(hammers));
	atomic_set(&wrong_results, 0);
	toggler_begin(&toggler);
	toggler.guess = true;
	for_each_online_cpu(cpu) {
		hammer = &hammers[cpu];
		hammer->thread = kthread_create(hammer_run, hammer, "farm_hammer/%u", cpu);
		if (!expect(&toggler.verdict, !IS_ERR(hammer->thread), "no thread: error %ld",
			    PTR_ERR(hammer->thread)))
			break;
		kthread_bind(hammer->thread, cpu);
		wake_up_process(hammer->thread);
	}
	while (steps--) {
		toggler_step(&toggler);
		if (!choose(4))
			schedule_timeout_uninterruptible(1 + choose(10));
	}
	for_each_online_cpu(cpu) {
		hammer = &hammers[cpu];
		if (!IS_ERR_OR_NULL(hammer->thread))
			kthread_stop(hammer->thread);
		least = min(least, hammer->calls);
	}
	expect(&toggler.verdict, !atomic_read(&wrong_results), "%d wrong results",
	       atomic_read(&wrong_results));
	toggler_recount(&toggler);
	toggler_settle(&toggler);
	toggler_end(&toggler);
	report_evidence("hammered", least);
}

void agent_cases(unsigned int steps)
{
	tracer_case(steps);
	key_case(steps);
	hotplug_case(steps);
	hammer_case(steps / 2);
}
