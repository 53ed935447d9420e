/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * /job.json, as stress/job.py writes it:
 *
 *	{"token": "...", "seed": 1, "clock": "icount", "scenarios": [
 *		{"name": "smoke", "run": "smoke", "parameters": {"hits": 1000}}]}
 *
 * Nothing else is taken: a key that is unknown, missing or there twice, an escape, a blank in a
 * string, a number that is no integer, a text too long, are each refused with their place. No
 * recursion, no allocation; numbers stay text, for they are only passed on.
 */
#ifndef FARM_JOB_H
#define FARM_JOB_H

#include "text.h"

enum {
	JOB_SCENARIOS = 64,
	JOB_PARAMETERS = 16,
	JOB_NAME = 32,
	JOB_VALUE = 64,
};

struct job_parameter {
	char name[JOB_NAME];
	char value[JOB_VALUE];
};

struct job_scenario {
	char name[JOB_NAME];
	char run[JOB_NAME];
	int has_parameters;
	int parameters;
	struct job_parameter parameter[JOB_PARAMETERS];
};

struct job {
	char token[65];
	char seed[21];
	char clock[8];
	int has_scenarios;
	int scenarios;
	struct job_scenario scenario[JOB_SCENARIOS];
};

struct json {
	const char *start;
	const char *at;
	const char *end;
	const char *problem;	/* the first thing that was wrong; NULL: nothing */
};

static int json_refuse(struct json *json, const char *problem)
{
	if (!json->problem)
		json->problem = problem;
	return 0;
}

/* The next byte that is no blank, or NUL at the end (a NUL in the text fits nowhere either). */
static char json_next(struct json *json)
{
	while (json->at < json->end && (*json->at == ' ' || *json->at == '\n' ||
					*json->at == '\t' || *json->at == '\r'))
		json->at++;
	return json->at < json->end ? *json->at : '\0';
}

static int json_take(struct json *json, char wanted, const char *problem)
{
	if (json_next(json) != wanted || json->at == json->end)
		return json_refuse(json, problem);
	json->at++;
	return 1;
}

static int json_string(struct json *json, char *into, size_t size)
{
	size_t used = 0;

	if (into[0])
		return json_refuse(json, "is there twice");
	if (!json_take(json, '"', "is not a string"))
		return 0;
	for (; json->at < json->end && *json->at != '"'; json->at++) {
		if (*json->at <= ' ' || *json->at > '~' || *json->at == '\\')
			return json_refuse(json, "holds a character that no job needs");
		if (used == size - 1)
			return json_refuse(json, "is too long");
		into[used++] = *json->at;
	}
	into[used] = '\0';
	return json_take(json, '"', "does not end");
}

static int json_integer(struct json *json, char *into, size_t size)
{
	const char *digits;
	size_t length;

	if (into[0])
		return json_refuse(json, "is there twice");
	json_next(json);
	digits = json->at;
	if (json->at < json->end && *json->at == '-')
		json->at++;
	length = (size_t)(json->at - digits);
	while (json->at < json->end && *json->at >= '0' && *json->at <= '9')
		json->at++;
	if ((size_t)(json->at - digits) == length)
		return json_refuse(json, "is not an integer");
	length = (size_t)(json->at - digits);
	if (length > size - 1)
		return json_refuse(json, "is too long");
	memcpy(into, digits, length);
	into[length] = '\0';
	return 1;
}

/* true and false go on as 1 and 0, which is what the module reads. */
static int json_scalar(struct json *json, char *into, size_t size)
{
	static const char *const word[] = { "false", "true" };
	int which;

	if (json_next(json) == '"')
		return json_string(json, into, size);
	for (which = 0; which < 2; which++) {
		size_t length = strlen(word[which]);

		if ((size_t)(json->end - json->at) < length ||
		    memcmp(json->at, word[which], length))
			continue;
		json->at += length;
		into[0] = (char)('0' + which);
		into[1] = '\0';
		return 1;
	}
	return json_integer(json, into, size);
}

/* `member` reads the value of one key; it knows the key or refuses it. */
static int json_object(struct json *json,
		       int (*member)(struct json *json, const char *key, void *into), void *into)
{
	if (!json_take(json, '{', "is not an object"))
		return 0;
	if (json_next(json) == '}')
		return json_take(json, '}', "");
	do {
		char key[JOB_NAME] = "";

		if (!json_string(json, key, sizeof(key)) ||
		    !json_take(json, ':', "has a key without a value") ||
		    !member(json, key, into))
			return 0;
	} while (json_next(json) == ',' && json_take(json, ',', ""));
	return json_take(json, '}', "does not end with }");
}

static int json_array(struct json *json, int (*element)(struct json *json, void *into), void *into)
{
	if (!json_take(json, '[', "is not a list"))
		return 0;
	if (json_next(json) == ']')
		return json_take(json, ']', "");
	do {
		if (!element(json, into))
			return 0;
	} while (json_next(json) == ',' && json_take(json, ',', ""));
	return json_take(json, ']', "does not end with ]");
}

static int job_parameter(struct json *json, const char *key, void *into)
{
	struct job_scenario *scenario = into;
	struct job_parameter *parameter;
	int other;

	for (other = 0; other < scenario->parameters; other++)
		if (text_equal(scenario->parameter[other].name, key))
			return json_refuse(json, "is there twice");
	if (scenario->parameters == JOB_PARAMETERS)
		return json_refuse(json, "is one parameter too many");
	parameter = &scenario->parameter[scenario->parameters++];
	memcpy(parameter->name, key, strlen(key) + 1);
	return json_scalar(json, parameter->value, sizeof(parameter->value));
}

static int job_scenario_member(struct json *json, const char *key, void *into)
{
	struct job_scenario *scenario = into;

	if (text_equal(key, "name"))
		return json_string(json, scenario->name, sizeof(scenario->name));
	if (text_equal(key, "run"))
		return json_string(json, scenario->run, sizeof(scenario->run));
	if (!text_equal(key, "parameters"))
		return json_refuse(json, "is an unknown key");
	if (scenario->has_parameters++)
		return json_refuse(json, "is there twice");
	return json_object(json, job_parameter, scenario);
}

static int job_scenario(struct json *json, void *into)
{
	struct job *job = into;
	struct job_scenario *scenario;

	if (job->scenarios == JOB_SCENARIOS)
		return json_refuse(json, "is one scenario too many");
	scenario = &job->scenario[job->scenarios];
	if (!json_object(json, job_scenario_member, scenario))
		return 0;
	if (!scenario->name[0] || !scenario->run[0] || !scenario->has_parameters)
		return json_refuse(json, "lacks name, run or parameters");
	job->scenarios++;
	return 1;
}

static int job_member(struct json *json, const char *key, void *into)
{
	struct job *job = into;

	if (text_equal(key, "token"))
		return json_string(json, job->token, sizeof(job->token));
	if (text_equal(key, "seed"))
		return json_integer(json, job->seed, sizeof(job->seed));
	if (text_equal(key, "clock"))
		return json_string(json, job->clock, sizeof(job->clock));
	if (!text_equal(key, "scenarios"))
		return json_refuse(json, "is an unknown key");
	if (job->has_scenarios++)
		return json_refuse(json, "is there twice");
	return json_array(json, job_scenario, job);
}

/*
 * Read `size` bytes into a zeroed job. Returns 1, or 0 with the reason in `problem`; the token
 * may be known even then, when it stood before the fault.
 */
static int job_read(struct job *job, const char *bytes, size_t size, struct text *problem)
{
	struct json json = { bytes, bytes, bytes + size, NULL };

	if (json_object(&json, job_member, job)) {
		json_next(&json);
		if (json.at != json.end)
			json_refuse(&json, "is followed by something");
		else if (!job->token[0] || !job->seed[0] || !job->clock[0] || !job->scenarios)
			json_refuse(&json, "lacks token, seed, clock or scenarios");
	}
	if (!json.problem)
		return 1;
	text_add(problem, "job.json: what stands before byte ");
	text_number(problem, (unsigned long)(json.at - json.start));
	text_add(problem, " ");
	text_add(problem, json.problem);
	return 0;
}

#endif
