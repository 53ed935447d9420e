// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The first process of a kernel under test: runs the scenarios of /job.json and restarts.
 *
 * One static binary, built with the nolibc of the tree under test (tools/include/nolibc, for
 * x86-64 and i386 alike), or with the host's C library for trees that have none; so it uses
 * what both offer and nothing newer than the 2.6.33 kernel has. What it says, and in which
 * format, is in relay.h; what it is told, in job.h.
 */
#ifndef NOLIBC
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

#include "job.h"
#include "relay.h"

#define PORT_NAME "org.farm.results"
#define MODULE "/farm_stress.ko"
#define CONTROL "/sys/kernel/debug/farm_stress/"

enum {
	ALIVE_MS = 1000,
	PORT_WAIT_MS = 5000,
	TCSBRK_DRAIN = 0x5409,	/* TCSBRK; with argument 1 it is tcdrain() */
};

static int port = -1;

static void sleep_ms(int milliseconds)
{
	poll(NULL, 0, milliseconds);
}

static void port_put(const char *bytes, size_t size)
{
	while (size) {
		ssize_t put = write(port, bytes, size);

		if (put <= 0) {
			if (put < 0 && (errno == EINTR || errno == EAGAIN))
				continue;
			return;		/* nobody is left to be told */
		}
		bytes += put;
		size -= (size_t)put;
	}
}

static struct relay relay = { .put = port_put, .token = "-" };
static struct job job;

/* The whole of a small file; its size, or -errno, and -EFBIG if the buffer cannot hold it. */
static long file_read(const char *path, char *into, size_t size)
{
	size_t used = 0;
	ssize_t got = 0;
	int file = open(path, O_RDONLY);

	if (file < 0)
		return -errno;
	while (used < size) {
		got = read(file, into + used, size - used);
		if (got <= 0)
			break;
		used += (size_t)got;
	}
	if (got < 0)
		got = -errno;
	close(file);
	if (got < 0)
		return got;
	return used < size ? (long)used : -EFBIG;
}

/* /proc/uptime counts hundredths; reading it needs no time structure, which differ by libc. */
static unsigned long uptime_ms(void)
{
	unsigned long hundredths = 0;
	char buffer[64];
	long size = file_read("/proc/uptime", buffer, sizeof(buffer));
	long at;

	for (at = 0; at < size && buffer[at] != ' '; at++)
		if (buffer[at] != '.')
			hundredths = hundredths * 10 + (unsigned long)(buffer[at] - '0');
	return hundredths * 10;
}

static void mount_all(void)
{
	static const char *const mounts[][2] = {
		{ "proc", "/proc" },
		{ "sysfs", "/sys" },
		{ "devtmpfs", "/dev" },
		{ "debugfs", "/sys/kernel/debug" },
		{ "tracefs", "/sys/kernel/tracing" },
	};
	size_t which;

	/* A kernel may lack any of them: what then cannot be done says so by itself. */
	for (which = 0; which < sizeof(mounts) / sizeof(mounts[0]); which++) {
		mkdir(mounts[which][1], 0755);
		mount(mounts[which][0], mounts[which][1], mounts[which][0], 0, NULL);
	}
}

/* The virtio port by its name; names are tried in turn because nolibc reads no directories. */
static int port_find(void)
{
	char path[64];
	char name[sizeof(PORT_NAME) + 1];
	unsigned long device, number;
	struct text text;

	for (device = 0; device < 8; device++) {
		for (number = 0; number < 8; number++) {
			text_init(&text, path, sizeof(path));
			text_add(&text, "/sys/class/virtio-ports/vport");
			text_number(&text, device);
			text_add(&text, "p");
			text_number(&text, number);
			text_add(&text, "/name");
			if (file_read(path, name, sizeof(name)) < (long)strlen(PORT_NAME) ||
			    !text_starts(name, PORT_NAME))
				continue;
			text_init(&text, path, sizeof(path));
			text_add(&text, "/dev/vport");
			text_number(&text, device);
			text_add(&text, "p");
			text_number(&text, number);
			return open(path, O_WRONLY);
		}
	}
	return -1;
}

/* A virtio console that is bound will show its ports, but only when the host has named them. */
static int port_expected(void)
{
	char path[] = "/sys/bus/virtio/drivers/virtio_console/virtio0/device";
	char *digit = strchr(path, '0');
	int file;

	for (; *digit <= '7'; ++*digit) {
		file = open(path, O_RDONLY);
		if (file >= 0) {
			close(file);
			return 1;
		}
	}
	return 0;
}

static void port_open(void)
{
	int waited = 0;

	port = port_find();
	while (port < 0 && waited < PORT_WAIT_MS && port_expected()) {
		sleep_ms(10);
		waited += 10;
		port = port_find();
	}
	if (port < 0)
		port = open("/dev/console", O_WRONLY);
}

/* "WHAT: errno N": init carries no table of messages, and the host has one. */
static void problem_errno(struct text *problem, const char *what, long error)
{
	text_add(problem, what);
	text_add(problem, ": errno ");
	text_number(problem, (unsigned long)error);
}

/* The result of a system call that no C library of ours knows: 0 or -errno. */
static long module_call(long number, const void *a, long b, const void *c)
{
#ifdef NOLIBC
	return my_syscall3(number, a, b, c);
#else
	return syscall(number, a, b, c) < 0 ? -errno : 0;
#endif
}

static long module_insert(const char *path)
{
	/* init_module(), because finit_module() came only with 3.8. */
	static char image[8 << 20];
	long size = file_read(path, image, sizeof(image));

	return size < 0 ? size : module_call(__NR_init_module, image, size, "");
}

static void module_load(struct text *problem)
{
	long error = module_insert(MODULE);

	if (error < 0)
		problem_errno(problem, "loading " MODULE, -error);
}

/* What the module is told: "RUN scenario=NAME seed=1 clock=icount hits=1000". */
static void command_write(struct text *command, const struct job_scenario *scenario)
{
	int which;

	text_add(command, scenario->run);
	text_add(command, " scenario=");
	text_add(command, scenario->name);
	text_add(command, " seed=");
	text_add(command, job.seed);
	text_add(command, " clock=");
	text_add(command, job.clock);
	for (which = 0; which < scenario->parameters; which++) {
		text_add(command, " ");
		text_add(command, scenario->parameter[which].name);
		text_add(command, "=");
		text_add(command, scenario->parameter[which].value);
	}
}

/* Hand on what the running scenario says until it closes its side, and be seen alive meanwhile. */
static void relay_all(int from)
{
	static char buffer[RELAY_LINE];
	unsigned long said = uptime_ms();

	for (;;) {
		struct pollfd readable = { .fd = from, .events = POLLIN };
		unsigned long now;
		ssize_t got = 1;

		/* The module's file has no poll: it is always "ready", and its read() waits. */
		if (poll(&readable, 1, ALIVE_MS / 4) > 0) {
			got = read(from, buffer, sizeof(buffer));
			if (got > 0)
				relay_bytes(&relay, buffer, (size_t)got);
			else if (got == 0 || (errno != EAGAIN && errno != EINTR))
				return;
		}
		now = uptime_ms();
		if (now - said >= ALIVE_MS) {
			relay_alive(&relay, now);
			said = now;
		}
	}
}

static void wait_for(pid_t child)
{
	char buffer[64];
	struct text problem;
	int status = 0;

	text_init(&problem, buffer, sizeof(buffer));
	if (waitpid(child, &status, 0) != child)
		problem_errno(&problem, "waiting for the scenario", errno);
	else if (!WIFEXITED(status))
		/* An oops kills the task that runs the scenario: this is how it looks from here. */
		text_add(&problem, "the task that ran the scenario was killed");
	else if (WEXITSTATUS(status))
		problem_errno(&problem, "running the scenario", WEXITSTATUS(status));
	if (problem.used)
		relay_outcome(&relay, "error", problem.at);
}

/*
 * In the module: a child writes the command and is in the kernel until the scenario is through.
 * The report lasts as long as `run` is open, and that is as long as the child lives.
 */
static void run_in_module(const struct job_scenario *scenario)
{
	static char command[RELAY_LINE];
	struct text text;
	int run = open(CONTROL "run", O_WRONLY);
	int report = open(CONTROL "report", O_RDONLY);
	pid_t child = run < 0 || report < 0 ? -1 : fork();

	if (child < 0) {
		text_init(&text, command, sizeof(command));
		problem_errno(&text, "starting " CONTROL, errno);
		relay_outcome(&relay, "error", text.at);
	} else if (child == 0) {
		text_init(&text, command, sizeof(command));
		command_write(&text, scenario);
		exit(write(run, text.at, text.used) < 0 ? errno : 0);
	}
	if (run >= 0)
		close(run);
	if (child > 0) {
		relay_all(report);
		wait_for(child);
	}
	if (report >= 0)
		close(report);
}

/* As a script: `sh:NAME` is /scenarios/NAME.sh, with the command's words as its arguments. */
static void run_script(const struct job_scenario *scenario)
{
	static char words[RELAY_LINE];
	char path[JOB_NAME + 16];
	char *argv[JOB_PARAMETERS + 8] = { "sh", path };
	char *envp[] = { "PATH=/bin:/sbin:/usr/bin:/usr/sbin", NULL };
	struct text text;
	int count = 2;
	int ends[2];
	char *word;
	pid_t child;

	if (pipe(ends) < 0) {
		relay_outcome(&relay, "error", "no pipe for the script");
		return;
	}
	child = fork();
	if (child == 0) {
		text_init(&text, path, sizeof(path));
		text_add(&text, "/scenarios/");
		text_add(&text, scenario->run + strlen("sh:"));
		text_add(&text, ".sh");
		text_init(&text, words, sizeof(words));
		command_write(&text, scenario);
		for (word = words; *word; word++) {
			if (*word == ' ') {
				*word = '\0';
				argv[count++] = word + 1;
			}
		}
		dup2(ends[1], 1);
		close(ends[0]);
		close(ends[1]);
		execve("/bin/busybox", argv, envp);
		exit(errno);
	}
	close(ends[1]);
	if (child < 0) {
		relay_outcome(&relay, "error", "no process for the script");
	} else {
		relay_all(ends[0]);
		wait_for(child);
	}
	close(ends[0]);
}

/* On the console too, so that a crash report there can be told to belong to this scenario. */
static void log_begin(const char *name)
{
	char buffer[64];
	struct text text;
	int log = open("/dev/kmsg", O_WRONLY);

	if (log < 0)
		return;
	text_init(&text, buffer, sizeof(buffer));
	text_add(&text, "<6>farm: begin ");
	text_add(&text, name);
	text_add(&text, "\n");
	write(log, text.at, text.used);
	close(log);
}

/* With how many CPUs the scenario runs: the host asked for a number, and a race needs two. */
static void say_cpus(void)
{
	static char buffer[64 * 1024];
	char line[64];
	struct text text;
	unsigned long cpus = 0;
	long size = file_read("/proc/stat", buffer, sizeof(buffer));
	long at;

	for (at = 0; at + 4 < size; at++)
		cpus += buffer[at] == '\n' && text_starts(buffer + at + 1, "cpu");
	text_init(&text, line, sizeof(line));
	text_add(&text, "# farm evidence {\"cpus\": ");
	text_number(&text, cpus);
	text_add(&text, "}\n");
	relay_bytes(&relay, text.at, text.used);
}

static void run_all(const struct text *module_problem)
{
	char buffer[32];
	struct text text;
	int which;

	relay_plain(&relay, "", "KTAP version 1");
	text_init(&text, buffer, sizeof(buffer));
	text_add(&text, "1..");
	text_number(&text, (unsigned long)job.scenarios);
	relay_plain(&relay, "", text.at);
	for (which = 0; which < job.scenarios; which++) {
		const struct job_scenario *scenario = &job.scenario[which];

		log_begin(scenario->name);
		relay_begin(&relay, scenario->name, uptime_ms());
		say_cpus();
		if (text_starts(scenario->run, "sh:"))
			run_script(scenario);
		else if (module_problem->used)
			relay_outcome(&relay, "error", module_problem->at);
		else
			run_in_module(scenario);
		relay_end(&relay, (unsigned long)which + 1);
	}
}

static long file_write(const char *path, const char *word)
{
	int file = open(path, O_WRONLY);
	long error = 0;

	if (file < 0)
		return -errno;
	if (write(file, word, strlen(word)) < 0)
		error = -errno;
	close(file);
	return error;
}

/* The module's hand in user space, when the kernel starts this program as a helper. */
static long help(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "write"))
		return file_write(argv[2], argv[3]);
	if (argc == 3 && !strcmp(argv[1], "load"))
		return module_insert(argv[2]);
	if (argc == 3 && !strcmp(argv[1], "unload"))
		return module_call(__NR_delete_module, argv[2], O_NONBLOCK, NULL);
	return -EINVAL;
}

int main(int argc, char **argv)
{
	static char file[64 * 1024];
	char buffer[256];
	struct text problem;
	long size;

	if (getpid() != 1 && argc > 1)
		return (int)-help(argc, argv);
	mount_all();
	port_open();
	text_init(&problem, buffer, sizeof(buffer));
	size = file_read("/job.json", file, sizeof(file));
	if (size < 0)
		problem_errno(&problem, "reading /job.json", -size);
	else
		job_read(&job, file, (size_t)size, &problem);
	if (job.token[0])
		relay.token = job.token;
	if (problem.used) {
		relay_boot_end(&relay, problem.at);
	} else {
		module_load(&problem);
		run_all(&problem);
		relay_boot_end(&relay, NULL);
	}

	/* Let the last words leave the machine before it restarts. */
	ioctl(port, TCSBRK_DRAIN, (void *)1);
	sleep_ms(100);
	reboot(RB_AUTOBOOT);
	for (;;)
		sleep_ms(ALIVE_MS);
}
