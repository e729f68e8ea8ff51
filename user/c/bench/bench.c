/*
 * bench [--reach N,N…] [NAME...]: the cost of common operations, of all CPUs together.
 *
 * For a deterministic run, where an instruction takes 1 ns of CLOCK_MONOTONIC. A NAME is the beginning of
 * some rows' names. Each row runs four times. The first is not counted, and the median of the others is
 * printed: `row NAME OPERATIONS NS IPIS PIDR-WRITES TLB-INVALIDATIONS`, sums of all its operations; -1 where the
 * kernel does not tell. `--reach 2,4` runs each row twice, once with threads on 2 CPUs and once on 4; the
 * row's name then ends in `_2` and `_4`. The rows called anywhere run if they are asked for. Runs on Linux as init, too: then it waits until the kernel has nothing else to do, and
 * with `--run PATH ARGUMENTS` it runs that program instead, with `--symbols` it prints the kernel's symbols.
 *
 * Instructions that do nothing mark what is measured, for `make profile`: `and 30,30,30` begins it,
 * `and 31,31,31` ends it.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define MARK_BEGIN() __asm__ volatile("and 30,30,30" ::: "memory")
#define MARK_END() __asm__ volatile("and 31,31,31" ::: "memory")

enum { IPIS, PIDR_WRITES, TLB_INVALIDATIONS, COUNTERS };
enum { RUNS = 4 };

struct sums {
	long long ns;
	/* -1: not known. */
	long counted[COUNTERS];
};

/* Shared with children. */
static struct region {
	struct sums before, sums;
} *region;

int cpus, reach;
const char *own_path;
static int is_linux;

void check(int holds, const char *what)
{
	if (!holds) {
		perror(what);
		exit(1);
	}
}

void unbind(void)
{
	cpu_set_t set;
	memset(&set, 0xff, sizeof set);
	check(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

void bind_to(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	check(sched_setaffinity(0, sizeof set, &set) == 0, "sched_setaffinity");
}

void let_idle(void)
{
	const struct timespec time = { .tv_nsec = 2000000 };
	nanosleep(&time, NULL);
}

static long long now_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* The sum of the numbers behind the first word of a line. */
static long sum(char *line)
{
	long total = 0;
	char *at = strpbrk(line, " :"), *end;
	for (long number; at++, number = strtol(at, &end, 10), end != at; at = end)
		total += number;
	return total;
}

/* This kernel's report has the total in the last column, and Linux's table none. */
static void count_line(char *line, long *counted)
{
	const char *last = strrchr(line, ' ');
	if (is_linux && (strstr(line, "IPI") || strstr(line, "DBL:")))
		counted[IPIS] += sum(line);
	else if (is_linux || !last)
		return;
	else if (strncmp(line, "ipi_sent_", 9) == 0)
		counted[IPIS] += atol(last);
	else if (strncmp(line, "pidr_writes", 11) == 0)
		counted[PIDR_WRITES] += atol(last);
	else if (strncmp(line, "tlbie", 5) == 0)
		counted[TLB_INVALIDATIONS] += atol(last);
}

static void count_events(long *counted)
{
	char line[16384];
	FILE *file = fopen(is_linux ? "/proc/interrupts" : "/proc/lazy_tlb", "r");
	check(file != NULL, "counters");
	memset(counted, 0, sizeof(long[COUNTERS]));
	while (fgets(line, sizeof line, file))
		count_line(line, counted);
	fclose(file);
}

void prepare(void)
{
	count_events(region->before.counted);
	region->before.ns = now_ns();
}

void begin(void)
{
	count_events(region->before.counted);
	region->before.ns = now_ns();
	MARK_BEGIN();
}

void end(void)
{
	long after[COUNTERS];
	MARK_END();
	region->sums.ns += now_ns() - region->before.ns;
	count_events(after);
	for (int i = 0; i < COUNTERS; i++)
		region->sums.counted[i] += after[i] - region->before.counted[i];
}

static int compare(const void *a, const void *b)
{
	long long difference = ((const struct sums *)a)->ns - ((const struct sums *)b)->ns;
	return (difference > 0) - (difference < 0);
}

static void measure(const struct operation *operation, const char *suffix)
{
	struct sums runs[RUNS];
	for (int i = 0; i < RUNS; i++) {
		memset(region, 0, sizeof *region);
		operation->run(operation->count);
		runs[i] = region->sums;
	}
	qsort(runs + 1, RUNS - 1, sizeof *runs, compare);
	const struct sums *median = &runs[RUNS / 2];
	const long *counted = median->counted;
	printf("row %s%s %d %lld %ld %ld %ld\n", operation->name, suffix, operation->count, median->ns,
	       counted[IPIS], is_linux ? -1 : counted[PIDR_WRITES], is_linux ? -1 : counted[TLB_INVALIDATIONS]);
}

static int is_wanted(const char *name, char **names)
{
	if (!*names)
		return strncmp(name, "anywhere_", 9) != 0;
	for (; *names; names++)
		if (strncmp(name, *names, strlen(*names)) == 0)
			return 1;
	return 0;
}

/* Runs the rows that are asked for; returns how many. */
static int measure_all(char **names, const char *suffix)
{
	const struct operation *const families[] = { memory_operations, switch_operations, process_operations };
	int found = 0;

	for (size_t family = 0; family < sizeof families / sizeof *families; family++)
		for (const struct operation *row = families[family]; row->name; row++)
			if (cpus >= row->cpus && is_wanted(row->name, names)) {
				measure(row, suffix);
				found++;
			}
	return found;
}

/* The rows for each number of CPUs in a list. */
static int measure_reaches(char *list, char **names)
{
	char suffix[16];
	int found = 0;

	for (char *word = strtok(list, ","); word; word = strtok(NULL, ",")) {
		reach = atoi(word);
		check(reach >= 1 && reach <= cpus, "--reach");
		snprintf(suffix, sizeof suffix, "_%d", reach);
		found += measure_all(names, suffix);
	}
	return found;
}

int main(int argc, char **argv)
{
	struct stat status;
	int found;

	/* What the rows that call exec become. */
	if (argc > 1 && strcmp(argv[1], "--exit") == 0)
		return 0;
	own_path = argv[0];
	if (stat("/proc/lazy_tlb", &status) != 0) {
		is_linux = 1;
		start_linux(argv + 1);
	}
	cpus = reach = sysconf(_SC_NPROCESSORS_ONLN);
	bind_to(0);
	region = mmap(NULL, sizeof *region, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(region != MAP_FAILED, "mmap");
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("bench %d CPUs, pages of %ld\n", cpus, sysconf(_SC_PAGESIZE));
	if (argc > 2 && strcmp(argv[1], "--reach") == 0)
		found = measure_reaches(argv[2], argv + 3);
	else
		found = measure_all(argv + 1, "");
	printf("bench: %d rows\n", found);
	if (is_linux)
		stop_linux();
	return 0;
}
