/*
 * headline [pipe|futex|line] [ROUNDS]: threads that hand a token to each other, between two marks.
 *
 * pipe, futex: as many threads of one process as there are CPUs, each bound to one, in pairs. A
 * thread waits until its partner has written to a pipe, or has woken it; so each CPU goes into and
 * out of idle once a round. line: two threads on two CPUs store to one word in turn, ROUNDS times
 * in all: a model of caches that counts anything but ROUNDS transfers of that line is wrong.
 *
 * The marks are instructions that do nothing: `and 30,30,30` begins, `and 31,31,31` ends.
 */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MARK_BEGIN() __asm__ volatile("and 30,30,30" ::: "memory")
#define MARK_END() __asm__ volatile("and 31,31,31" ::: "memory")
#define LINE 128

struct pair {
	int there[2], back[2];
	_Alignas(LINE) atomic_uint word;
};

enum { WARM_UP = 20 };
static const char *kind = "pipe";
static int rounds = 200;
static struct pair *pairs;
static pthread_barrier_t barrier;
static _Alignas(LINE) atomic_uint word;
static _Alignas(LINE) atomic_uint has_begun;
static _Alignas(LINE) atomic_uint has_read;

static void check(int holds, const char *what)
{
	if (!holds) {
		perror(what);
		exit(1);
	}
}

static void bind_to(long cpu)
{
	size_t size = CPU_ALLOC_SIZE(cpu + 1);
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	check(sched_setaffinity(0, size, set) == 0, "sched_setaffinity");
	CPU_FREE(set);
}

static void by_futex(struct pair *pair, unsigned mine)
{
	while (atomic_load(&pair->word) != mine)
		syscall(SYS_futex, &pair->word, FUTEX_WAIT_PRIVATE, !mine, NULL, NULL, 0);
	atomic_store(&pair->word, !mine);
	syscall(SYS_futex, &pair->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void by_pipe(struct pair *pair, int answers)
{
	char token = 0;
	if (!answers)
		check(write(pair->there[1], &token, 1) == 1 && read(pair->back[0], &token, 1) == 1, "pipe");
	else
		check(read(pair->there[0], &token, 1) == 1 && write(pair->back[1], &token, 1) == 1, "pipe");
}

static void *play(void *number)
{
	long me = (long)number;
	struct pair *pair = &pairs[me / 2];
	bind_to(me);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < WARM_UP + rounds; i++) {
		if (i == WARM_UP) {
			pthread_barrier_wait(&barrier);
			MARK_BEGIN();
		}
		if (kind[0] == 'f')
			by_futex(pair, me & 1);
		else
			by_pipe(pair, me & 1);
	}
	/* The first thread that is done ends the region: all others still play. */
	MARK_END();
	return NULL;
}

static void *store_by_turns(void *number)
{
	unsigned me = (long)number;
	bind_to(me);
	pthread_barrier_wait(&barrier);
	/* Before the first store the other CPU has read the line: that store is a transfer, too. */
	if (me == 0) {
		MARK_BEGIN();
		atomic_store(&has_begun, 1);
		while (!atomic_load(&has_read))
			;
	} else {
		while (!atomic_load(&has_begun))
			;
		atomic_load(&word);
		atomic_store(&has_read, 1);
	}
	for (int i = 0; i < rounds; i++) {
		if ((i & 1) != (int)me)
			continue;
		while (atomic_load(&word) != (unsigned)i)
			;
		atomic_store(&word, i + 1);
	}
	if (me == (unsigned)(rounds - 1) % 2)
		MARK_END();
	return NULL;
}

int main(int argc, char **argv)
{
	if (argc > 1)
		kind = argv[1];
	if (argc > 2)
		rounds = atoi(argv[2]);
	int is_line = kind[0] == 'l';
	long cpus = is_line ? 2 : sysconf(_SC_NPROCESSORS_ONLN) & ~1L;
	pairs = aligned_alloc(LINE, sizeof *pairs * (cpus / 2 + 1));
	for (long i = 0; i < cpus / 2; i++) {
		atomic_init(&pairs[i].word, 0);
		check(pipe(pairs[i].there) == 0 && pipe(pairs[i].back) == 0, "pipe");
	}
	pthread_t *threads = calloc(cpus + 1, sizeof *threads);
	if (cpus > 0)
		pthread_barrier_init(&barrier, NULL, cpus);
	for (long i = 0; i < cpus; i++)
		check(pthread_create(&threads[i], NULL, is_line ? store_by_turns : play, (void *)i) == 0, "pthread_create");
	for (long i = 0; i < cpus; i++)
		pthread_join(threads[i], NULL);
	printf("headline: %s, %d rounds\n", kind, rounds);
	return 0;
}
