/* Round trips of a token, through pipes and futexes; and the switch of sched_yield(2). */
#define _GNU_SOURCE
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static int there[2], back[2];
/* -1: any. */
static int partners_cpu;

static void make_pipes(void)
{
	check(pipe(there) == 0 && pipe(back) == 0, "pipe");
}

/* Sends the token back until the pipe has no more writers. */
static void *answer_pipe(void *unused)
{
	char token;
	if (partners_cpu >= 0)
		bind_to(partners_cpu);
	while (read(there[0], &token, 1) == 1)
		check(write(back[1], &token, 1) == 1, "write");
	return unused;
}

static void round_trips_by_pipe(int count)
{
	char token = 0;
	/* The partner has started and waits. */
	check(write(there[1], &token, 1) == 1 && read(back[0], &token, 1) == 1, "pipe");
	begin();
	for (int i = 0; i < count; i++)
		check(write(there[1], &token, 1) == 1 && read(back[0], &token, 1) == 1, "pipe");
	end();
	close(there[1]);
}

static void run_pipe_threads(int count, int cpu)
{
	pthread_t partner;
	partners_cpu = cpu;
	make_pipes();
	check(pthread_create(&partner, NULL, answer_pipe, NULL) == 0, "pthread_create");
	round_trips_by_pipe(count);
	pthread_join(partner, NULL);
	close(there[0]), close(back[0]), close(back[1]);
}

static void run_pipe_1cpu(int count)
{
	run_pipe_threads(count, 0);
}

static void run_pipe_2cpus(int count)
{
	run_pipe_threads(count, 1);
}

static void run_pipe_anywhere(int count)
{
	unbind();
	run_pipe_threads(count, -1);
	bind_to(0);
}

static void run_pipe_processes(int count)
{
	partners_cpu = 0;
	make_pipes();
	pid_t partner = fork();
	check(partner >= 0, "fork");
	if (partner == 0) {
		close(there[1]);
		answer_pipe(NULL);
		_exit(0);
	}
	round_trips_by_pipe(count);
	check(waitpid(partner, NULL, 0) == partner, "waitpid");
	close(there[0]), close(back[0]), close(back[1]);
}

enum { OURS, THEIRS, OVER };
static atomic_int turn;

static int await_turn(int mine)
{
	int now;
	while (now = atomic_load_explicit(&turn, memory_order_acquire), now != mine && now != OVER)
		syscall(SYS_futex, &turn, FUTEX_WAIT_PRIVATE, now, NULL, NULL, 0);
	return now;
}

static void pass(int next)
{
	atomic_store_explicit(&turn, next, memory_order_release);
	syscall(SYS_futex, &turn, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void *answer_futex(void *unused)
{
	bind_to(partners_cpu);
	while (await_turn(THEIRS) != OVER)
		pass(OURS);
	return unused;
}

static void run_futex(int count, int cpu)
{
	pthread_t partner;
	partners_cpu = cpu;
	atomic_store(&turn, THEIRS);
	check(pthread_create(&partner, NULL, answer_futex, NULL) == 0, "pthread_create");
	await_turn(OURS);
	begin();
	for (int i = 0; i < count; i++) {
		pass(THEIRS);
		await_turn(OURS);
	}
	end();
	pass(OVER);
	pthread_join(partner, NULL);
}

static void run_futex_1cpu(int count)
{
	run_futex(count, 0);
}

static void run_futex_2cpus(int count)
{
	run_futex(count, 1);
}

static volatile int switches, last, yields;

/* Both threads are on one CPU, so what they share needs no order. */
static void *yield(void *me)
{
	while (yields > 0) {
		switches += last != (long)me;
		last = (long)me;
		yields--;
		sched_yield();
	}
	return NULL;
}

static void run_yield(int count)
{
	pthread_t partner;
	yields = count;
	check(pthread_create(&partner, NULL, yield, (void *)1L) == 0, "pthread_create");
	while (yields == count)
		sched_yield();
	begin();
	switches = 0;
	yield((void *)0L);
	end();
	/* A scheduler may let the yielding thread go on. */
	check(switches >= count - 4, "switches");
	pthread_join(partner, NULL);
}

const struct operation switch_operations[] = {
	{ "yield_switch", 400, 1, run_yield },
	{ "pipe_1cpu", 100, 1, run_pipe_1cpu },
	{ "pipe_1cpu_processes", 100, 1, run_pipe_processes },
	{ "pipe_2cpus", 100, 2, run_pipe_2cpus },
	{ "futex_1cpu", 100, 1, run_futex_1cpu },
	{ "futex_2cpus", 100, 2, run_futex_2cpus },
	{ "anywhere_pipe", 100, 1, run_pipe_anywhere },
	{ 0 },
};
