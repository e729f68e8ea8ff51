/*
 * membarrier(2): its answers to a sequence of commands, and a flag that two threads raise for each
 * other with only compiler barriers on one side.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 200

static int membarrier(int command, unsigned int flags)
{
	return syscall(__NR_membarrier, command, flags, 0) < 0 ? -errno : 0;
}

static void show(const char *what, int command, unsigned int flags)
{
	printf("%s: %d\n", what, membarrier(command, flags));
}

static void private_commands(const char *who)
{
	puts(who);
	show("private", MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0);
	show("register private", MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0);
	show("register private again", MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0);
	show("private", MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0);
	show("sync core", MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0);
	show("register sync core", MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0);
	show("sync core", MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0);
}

static atomic_int mine, theirs, round_of_fast, missed_by_fast, stop;

/* The fast side: in each round a store and a load, in program order only. */
static void *fast(void *argument)
{
	for (int round = 1; round <= ROUNDS; round++) {
		while (atomic_load(&round_of_fast) != round)
			sched_yield();
		atomic_store_explicit(&theirs, round, memory_order_relaxed);
		atomic_signal_fence(memory_order_seq_cst);
		int seen = atomic_load_explicit(&mine, memory_order_relaxed);
		atomic_store(&missed_by_fast, seen != round);
		atomic_store(&stop, round);
	}
	return argument;
}

static void litmus(const char *name, int command)
{
	pthread_t thread;
	int both_missed = 0;

	atomic_store(&round_of_fast, 0);
	atomic_store(&stop, 0);
	atomic_store(&mine, 0);
	atomic_store(&theirs, 0);
	pthread_create(&thread, NULL, fast, NULL);
	for (int round = 1; round <= ROUNDS; round++) {
		atomic_store(&round_of_fast, round);
		atomic_store_explicit(&mine, round, memory_order_relaxed);
		membarrier(command, 0);
		int seen = atomic_load_explicit(&theirs, memory_order_relaxed);
		while (atomic_load(&stop) != round)
			sched_yield();
		both_missed += seen != round && atomic_load(&missed_by_fast);
	}
	pthread_join(thread, NULL);
	printf("%s: both missed %d times\n", name, both_missed);
}

int main(void)
{
	long all = syscall(__NR_membarrier, MEMBARRIER_CMD_QUERY, 0, 0);

	/* Commands that only some kernels have are left out; user/src/bin/membarriers.rs has them. */
	printf("query: %#lx\n", all & 0x7f);
	show("query with a flag", MEMBARRIER_CMD_QUERY, 1);
	show("no such command", -1, 0);
	show("two commands", MEMBARRIER_CMD_GLOBAL | MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0);
	show("private with a flag", MEMBARRIER_CMD_PRIVATE_EXPEDITED, 1);
	show("global", MEMBARRIER_CMD_GLOBAL, 0);
	show("global with a flag", MEMBARRIER_CMD_GLOBAL, 1);
	show("global expedited", MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0);
	show("register global", MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0);
	show("global expedited", MEMBARRIER_CMD_GLOBAL_EXPEDITED, 0);
	private_commands("first process");
	fflush(stdout);
	/* A fork keeps the registrations. */
	if (fork() == 0) {
		private_commands("its fork");
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	litmus("private", MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	litmus("sync core", MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE);
	litmus("global expedited", MEMBARRIER_CMD_GLOBAL_EXPEDITED);
	litmus("global", MEMBARRIER_CMD_GLOBAL);
	return 0;
}
