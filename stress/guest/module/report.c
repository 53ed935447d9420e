// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The report: a ring of text between the scenario, which writes lines, and init, which reads
 * them from debugfs and hands them to the host. init stamps what begins with "# farm ".
 *
 * Bytes are counted at three points: written by the scenario, taken by a read(), and relayed.
 * init hands on all that it took before it reads again, so a read() that starts tells that all
 * taken before is with the host.
 */
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/math64.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/wait.h>

#include "report.h"

#define RING		(16 * 1024)
#define LINE		2048
#define REASON		128
#define RELAY_LIMIT	(5 * HZ)	/* then init is taken for dead */
#define READ_LIMIT	(HZ / 4)	/* then init sees to its other duties */

static DEFINE_SPINLOCK(lock);		/* for the next six */
static char ring[RING];
static unsigned int written, taken, relayed;
static bool opened;
static bool reading;
static DECLARE_WAIT_QUEUE_HEAD(reader);
static DECLARE_WAIT_QUEUE_HEAD(writer);

/* Only the scenario's task touches these. */
static char scenario[64];
static char current_case[64];
static unsigned int cases;
static unsigned int lost;

static bool has_room(unsigned int size)
{
	bool room;

	spin_lock(&lock);
	room = RING - (written - taken) >= size;
	spin_unlock(&lock);
	return room;
}

static bool all_relayed(void)
{
	bool all;

	spin_lock(&lock);
	all = relayed == written;
	spin_unlock(&lock);
	return all;
}

static bool has_news(void)
{
	bool news;

	spin_lock(&lock);
	news = written != taken || !opened;
	spin_unlock(&lock);
	return news;
}

__printf(1, 2) static void say(const char *format, ...)
{
	static char line[LINE];
	unsigned int size, at;
	va_list arguments;

	va_start(arguments, format);
	size = vsnprintf(line, LINE, format, arguments);
	va_end(arguments);
	if (size >= LINE || !wait_event_timeout(writer, has_room(size), RELAY_LIMIT)) {
		lost++;
		return;
	}
	spin_lock(&lock);
	for (at = 0; at < size; at++)
		ring[written++ % RING] = line[at];
	spin_unlock(&lock);
	wake_up(&reader);
}

static unsigned long uptime_ms(void)
{
	return (unsigned long)div_u64(ktime_get_ns(), 1000000);
}

void report_case(const char *name)
{
	if (current_case[0])
		report_error("%s began before %s ended", name, current_case);
	snprintf(current_case, sizeof(current_case), "%s", name);
	say("# farm begin {\"case\": \"%s.%s\", \"uptime_ms\": %lu}\n",
	    scenario, name, uptime_ms());
	if (!wait_event_timeout(writer, all_relayed(), RELAY_LIMIT))
		lost++;
}

static void end_case(const char *verdict, const char *mark, const char *reason)
{
	if (!current_case[0])
		report_error("a case ended that had not begun");
	say("    %s %u %s.%s%s%s\n", verdict, ++cases, scenario, current_case, mark, reason);
	current_case[0] = '\0';
}

bool report_result(bool ok, const char *format, ...)
{
	char reason[REASON];
	va_list arguments;

	if (ok) {
		report_ok();
		return true;
	}
	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	end_case("not ok", " # ", reason);
	return false;
}

void report_ok(void)
{
	end_case("ok", "", "");
}

void report_skip(const char *format, ...)
{
	char reason[REASON];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	end_case("ok", " # SKIP ", reason);
}

void report_evidence(const char *name, long long value)
{
	say("# farm evidence {\"%s\": %lld}\n", name, value);
}

static unsigned int list(char *text, unsigned int size, const u64 *numbers, unsigned int count)
{
	unsigned int used = 0;
	unsigned int i;

	for (i = 0; i < count; i++)
		used += scnprintf(text + used, size - used, "%s%llu", i ? ", " : "",
				  (unsigned long long)numbers[i]);
	return used;
}

static void say_measure(const char *name, const char *unit, unsigned int calls,
			unsigned int rounds, const u64 *totals, const u64 *base_totals)
{
	static char text[LINE - 256];
	unsigned int used;

	used = list(text, sizeof(text), totals, rounds);
	used += scnprintf(text + used, sizeof(text) - used, "], \"base_%s\": [", unit);
	used += list(text + used, sizeof(text) - used, base_totals, rounds);
	/* A list that was cut short must not pass for a whole one. */
	if (used >= sizeof(text) - 1)
		report_error("the rounds of %s do not fit on a line", name);
	else
		say("# farm measure {\"name\": \"%s.%s\", \"calls\": %u, \"%s\": [%s]}\n",
		    scenario, name, calls, unit, text);
}

void report_measure(const char *name, unsigned int calls, unsigned int rounds,
		    const u64 *ns, const u64 *base_ns)
{
	say_measure(name, "ns", calls, rounds, ns, base_ns);
}

void report_measure_bytes(const char *name, unsigned int count, unsigned int rounds,
			  const u64 *bytes, const u64 *base_bytes)
{
	say_measure(name, "bytes", count, rounds, bytes, base_bytes);
}

void report_skip_scenario(const char *format, ...)
{
	char reason[REASON];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	say("# farm skip %s\n", reason);
}

void report_error(const char *format, ...)
{
	char reason[REASON];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(reason, sizeof(reason), format, arguments);
	va_end(arguments);
	say("# farm error %s\n", reason);
}

/* `run` was opened: a scenario is about to be told. There is one at a time. */
int report_open(void)
{
	int error = -EBUSY;

	spin_lock(&lock);
	if (!opened) {
		opened = true;
		written = 0;
		taken = 0;
		relayed = 0;
		error = 0;
	}
	spin_unlock(&lock);
	return error;
}

/* `run` was closed, even if by the death of the task: the reader gets the rest, then the end. */
void report_close(void)
{
	spin_lock(&lock);
	opened = false;
	spin_unlock(&lock);
	wake_up(&reader);
}

void report_begin(const char *name)
{
	snprintf(scenario, sizeof(scenario), "%s", name);
	current_case[0] = '\0';
	cases = 0;
	lost = 0;
}

int report_end(void)
{
	if (current_case[0])
		report_error("%s never ended", current_case);
	return lost ? -EPIPE : 0;
}

ssize_t report_read(struct file *file, char __user *to, size_t size, loff_t *offset)
{
	static char piece[512];	/* there is one reader, see report_reader_open() */
	unsigned int count = 0;

	spin_lock(&lock);
	relayed = taken;
	spin_unlock(&lock);
	wake_up(&writer);
	if (wait_event_interruptible_timeout(reader, has_news(), READ_LIMIT) < 0)
		return -EINTR;

	spin_lock(&lock);
	while (written != taken && count < size && count < sizeof(piece))
		piece[count++] = ring[taken++ % RING];
	if (!count && opened) {
		spin_unlock(&lock);
		return -EAGAIN;
	}
	spin_unlock(&lock);
	wake_up(&writer);
	return copy_to_user(to, piece, count) ? -EFAULT : count;
}

int report_reader_open(struct inode *inode, struct file *file)
{
	int error = 0;

	spin_lock(&lock);
	if (reading)
		error = -EBUSY;
	reading = true;
	spin_unlock(&lock);
	return error;
}

int report_reader_close(struct inode *inode, struct file *file)
{
	spin_lock(&lock);
	reading = false;
	spin_unlock(&lock);
	return 0;
}
