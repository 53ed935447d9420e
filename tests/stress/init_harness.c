// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The parts of the guest's init that need no guest, as a program: reads standard input.
 *
 *	job			read it as a job.json; print what was understood, or why not
 *	relay TOKEN SIZE	relay it as what scenario "demo" says, in pieces of SIZE bytes
 *	ktap			one number a line: its KTAP depth, -1 for no KTAP line
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "relay.h"

static char *input;
static size_t input_size;

static void read_input(void)
{
	size_t room = 1 << 20;

	input = malloc(room);
	input_size = fread(input, 1, room, stdin);
	/* The exact size, for the sanitizer to see a byte too far. */
	input = realloc(input, input_size ? input_size : 1);
}

static int read_job(void)
{
	static struct job job;
	char buffer[256];
	struct text problem;

	text_init(&problem, buffer, sizeof(buffer));
	if (!job_read(&job, input, input_size, &problem)) {
		printf("refused %s: %s\n", job.token, problem.at);
		return 1;
	}
	printf("%s %s %s\n", job.token, job.seed, job.clock);
	for (int i = 0; i < job.scenarios; i++) {
		printf("%s %s", job.scenario[i].name, job.scenario[i].run);
		for (int j = 0; j < job.scenario[i].parameters; j++)
			printf(" %s=%s", job.scenario[i].parameter[j].name,
			       job.scenario[i].parameter[j].value);
		printf("\n");
	}
	return 0;
}

static void put(const char *bytes, size_t size)
{
	fwrite(bytes, 1, size, stdout);
}

static int relay_input(const char *token, size_t piece)
{
	static struct relay relay;

	relay.put = put;
	relay.token = token;
	relay_begin(&relay, "demo", 10);
	for (size_t at = 0; at < input_size; at += piece)
		relay_bytes(&relay, input + at, input_size - at < piece ? input_size - at : piece);
	relay_alive(&relay, 1010);
	relay_end(&relay, 1);
	relay_boot_end(&relay, NULL);
	return 0;
}

static int classify_input(void)
{
	char *line = input;

	for (size_t at = 0; at < input_size; at++) {
		int result;

		if (input[at] != '\n')
			continue;
		input[at] = '\0';
		printf("%d\n", ktap_depth(line, &result));
		line = input + at + 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int status = 2;

	read_input();
	if (argc == 2 && !strcmp(argv[1], "job"))
		status = read_job();
	else if (argc == 4 && !strcmp(argv[1], "relay"))
		status = relay_input(argv[2], strtoul(argv[3], NULL, 10));
	else if (argc == 2 && !strcmp(argv[1], "ktap"))
		status = classify_input();
	free(input);
	return status;
}
