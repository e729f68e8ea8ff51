/* Processes and threads that begin and end; and the end of an mm that other CPUs have loaded. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

static void await_child(pid_t child)
{
	int status;
	check(child > 0 && waitpid(child, &status, 0) == child && status == 0, "child");
}

static void run_fork(int count)
{
	begin();
	for (int i = 0; i < count; i++) {
		pid_t child = fork();
		if (child == 0)
			_exit(0);
		await_child(child);
	}
	end();
}

/* The child may run on any idle CPU. */
static void run_fork_anywhere(int count)
{
	unbind();
	let_idle();
	run_fork(count);
	bind_to(0);
}

static void run_vfork(int count)
{
	begin();
	for (int i = 0; i < count; i++) {
		pid_t child = vfork();
		if (child == 0)
			_exit(0);
		await_child(child);
	}
	end();
}

static void run_fork_exec(int count)
{
	char *const arguments[] = { (char *)own_path, "--exit", NULL }, *const environment[] = { NULL };
	begin();
	for (int i = 0; i < count; i++) {
		pid_t child = fork();
		if (child == 0) {
			execve(own_path, arguments, environment);
			_exit(1);
		}
		await_child(child);
	}
	end();
}

static void *do_nothing(void *argument)
{
	return argument;
}

static void run_thread(int count)
{
	pthread_t thread;
	begin();
	for (int i = 0; i < count; i++)
		check(pthread_create(&thread, NULL, do_nothing, NULL) == 0 && pthread_join(thread, NULL) == 0, "thread");
	end();
}

static atomic_int visitors;

/*
 * Ends when no more thread is made, and without the C library's farewell: both change the mm's memory, and make the
 * CPUs that are lazy on it leave.
 */
static void *visit(void *cpu)
{
	bind_to((long)cpu);
	atomic_fetch_add(&visitors, 1);
	while (atomic_load(&visitors) < reach - 1)
		RELAX();
	syscall(SYS_exit, 0);
	return NULL;
}

void *park(void *cpu)
{
	bind_to((long)cpu);
	for (;;)
		pause();
	return NULL;
}

/*
 * The end of a process whose threads have been on `reach` CPUs, from the call of exit to its parent's return
 * from wait. With `park` they sleep there; with `visit` they are gone, and the idle CPUs are still lazy on the mm.
 */
static void run_exit(int count, void *(*thread)(void *))
{
	for (int i = 0; i < count; i++) {
		pid_t child = fork();
		if (child == 0) {
			atomic_store(&visitors, 0);
			prepare();
			for (long cpu = 1; cpu < reach; cpu++) {
				pthread_t other;
				check(pthread_create(&other, NULL, thread, (void *)cpu) == 0, "pthread_create");
			}
			let_idle();
			begin();
			_exit(0);
		}
		await_child(child);
		end();
	}
}

static void run_exit_lazy(int count)
{
	run_exit(count, visit);
}

static void run_exit_parked(int count)
{
	run_exit(count, park);
}

const struct operation process_operations[] = {
	{ "fork_exit", 20, 1, run_fork },
	{ "vfork_exit", 20, 1, run_vfork },
	{ "fork_exec_exit", 10, 1, run_fork_exec },
	{ "thread_start_join", 20, 1, run_thread },
	{ "exit_lazy", 4, 2, run_exit_lazy },
	{ "exit_parked", 4, 2, run_exit_parked },
	{ "anywhere_fork", 20, 1, run_fork_anywhere },
	{ 0 },
};
