/* Policies, priorities, niceness, affinity: kept, inherited and refused. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { NOBODY = 4000000 };

struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t deadline[3];
	uint32_t more[2];
};

static long told(long result)
{
	return result < 0 ? -errno : result;
}

static void show(const char *what)
{
	struct sched_param param;
	sched_getparam(0, &param);
	errno = 0;
	printf("%s: policy %#lx priority %d nice %d\n", what, told(sched_getscheduler(0)), param.sched_priority,
	       getpriority(PRIO_PROCESS, 0));
	fflush(stdout);
}

static void in_child(const char *what)
{
	fflush(stdout);
	if (fork() == 0) {
		show(what);
		_exit(0);
	}
	wait(NULL);
}

static void policies(void)
{
	struct sched_param none = { 0 }, one = { 1 }, most = { 99 }, over = { 100 }, under = { -1 };

	show("start");
	printf("bad: %ld", told(sched_setscheduler(NOBODY, 0, &none)));
	printf(" %ld", told(sched_setscheduler(0, 99, &none)));
	printf(" %ld", told(sched_setscheduler(0, 4, &none)));
	printf(" %ld", told(sched_setscheduler(0, -1, &none)));
	printf(" %ld", told(sched_setscheduler(-1, 0, &none)));
	printf(" %ld", told(sched_setscheduler(0, 0, NULL)));
	printf(" %ld", told(sched_setscheduler(0, 0, &one)));
	printf(" %ld", told(sched_setscheduler(0, 0, &over)));
	printf(" %ld", told(sched_setscheduler(0, SCHED_FIFO, &none)));
	printf(" %ld", told(sched_setscheduler(0, SCHED_FIFO, &over)));
	printf(" %ld\n", told(sched_setscheduler(0, SCHED_FIFO, &under)));
	printf("fifo: %ld\n", told(sched_setscheduler(0, SCHED_FIFO, &one)));
	show("fifo");
	in_child("its child");
	struct timespec interval;
	printf("interval: %ld", told(sched_rr_get_interval(0, &interval)));
	printf(" %ld %ld\n", (long)interval.tv_sec, interval.tv_nsec);
	printf("param: %ld\n", told(sched_setparam(0, &most)));
	show("most");
	printf("param: %ld %ld\n", told(sched_setparam(0, &none)), told(sched_setparam(0, &over)));
	printf("rr: %ld\n", told(sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &one)));
	show("rr");
	in_child("its child");
	printf("batch: %ld\n", told(sched_setscheduler(0, SCHED_BATCH, &none)));
	show("batch");
	printf("idle: %ld\n", told(sched_setscheduler(0, SCHED_IDLE, &none)));
	show("idle");
	printf("other: %ld\n", told(sched_setscheduler(0, SCHED_OTHER, &none)));
	printf("of others: %ld", told(sched_getscheduler(NOBODY)));
	printf(" %ld", told(sched_getscheduler(-1)));
	printf(" %ld", told(sched_getparam(NOBODY, &none)));
	printf(" %ld", told(sched_getparam(0, NULL)));
	printf(" %ld", told(sched_setparam(NOBODY, &one)));
	printf(" %ld", told(sched_rr_get_interval(NOBODY, &interval)));
	printf(" %ld\n", told(sched_rr_get_interval(-1, &interval)));
	for (int policy = -1; policy < 7; policy++)
		printf("%d: %ld to %ld\n", policy, told(sched_get_priority_min(policy)), told(sched_get_priority_max(policy)));
}

static long set(struct attributes attributes)
{
	return told(syscall(SYS_sched_setattr, 0, &attributes, 0));
}

static void attributes(void)
{
	struct attributes got;

	printf("attr: %ld\n", set((struct attributes){ .size = 48, .policy = SCHED_RR, .priority = 7, .flags = 1 }));
	memset(&got, 0, sizeof got);
	printf("get: %ld", told(syscall(SYS_sched_getattr, 0, &got, 48, 0)));
	printf(" size %u policy %u priority %u flags %lu nice %d\n", got.size, got.policy, got.priority,
	       (unsigned long)got.flags, got.nice);
	printf("nice: %ld\n", set((struct attributes){ .size = 48, .policy = 0, .nice = -5 }));
	show("after");
	printf("errors: %ld", set((struct attributes){ .size = 48, .policy = 77 }));
	printf(" %ld", set((struct attributes){ .size = 48, .policy = SCHED_RR, .priority = 0 }));
	printf(" %ld", told(syscall(SYS_sched_setattr, 0, NULL, 0)));
	printf(" %ld", told(syscall(SYS_sched_getattr, 0, &got, 40, 0)));
	printf(" %ld", told(syscall(SYS_sched_getattr, 0, NULL, 48, 0)));
	printf(" %ld", told(syscall(SYS_sched_getattr, 0, &got, 48, 1)));
	printf(" %ld\n", told(syscall(SYS_sched_getattr, NOBODY, &got, 48, 0)));
	printf("back: %ld\n", set((struct attributes){ .size = 48 }));
}

static void niceness(void)
{
	printf("nice: %d", nice(3));
	printf(" %d", nice(100));
	printf(" %d", nice(-100));
	printf(" %d\n", nice(25));
	show("nice");
	in_child("its child");
	printf("set: %ld", told(setpriority(PRIO_PROCESS, 0, -7)));
	printf(" %d", getpriority(PRIO_PROCESS, getpid()));
	printf(" %ld", told(setpriority(PRIO_PROCESS, 0, 1000)));
	printf(" %d\n", getpriority(PRIO_PROCESS, 0));
	setpgid(0, 0);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		pause();
		_exit(0);
	}
	setpriority(PRIO_PROCESS, child, 4);
	printf("group: %ld", told(setpriority(PRIO_PGRP, getpid(), 2)));
	printf(" %d %d", getpriority(PRIO_PROCESS, child), getpriority(PRIO_PROCESS, 0));
	setpriority(PRIO_PROCESS, child, 5);
	printf(" %d %d\n", getpriority(PRIO_PROCESS, child), getpriority(PRIO_PGRP, 0));
	kill(child, 9);
	waitpid(child, NULL, 0);
	errno = 0;
	printf("errors: %ld", told(getpriority(PRIO_PROCESS, NOBODY)));
	printf(" %ld", told(getpriority(3, 0)));
	printf(" %ld", told(setpriority(-1, 0, 0)));
	printf(" %ld", told(setpriority(PRIO_PGRP, NOBODY, 0)));
	printf(" %ld\n", told(getpriority(PRIO_USER, 12345)));
	setpriority(PRIO_PROCESS, 0, 0);
}

static void affinity(void)
{
	unsigned long one[16] = { 1 }, none[16] = { 0 };

	printf("affinity: %ld", told(syscall(SYS_sched_setaffinity, 0, sizeof one, one)));
	printf(" none %ld", told(syscall(SYS_sched_setaffinity, 0, sizeof none, none)));
	printf(" nobody %ld", told(syscall(SYS_sched_setaffinity, NOBODY, sizeof one, one)));
	printf(" negative %ld", told(syscall(SYS_sched_setaffinity, -1, sizeof one, one)));
	printf(" bad %ld", told(syscall(SYS_sched_setaffinity, 0, sizeof one, (void *)-64)));
	printf(" get %d", syscall(SYS_sched_getaffinity, 0, sizeof none, none) > 0);
	printf(" %lx", none[0]);
	printf(" odd %ld", told(syscall(SYS_sched_getaffinity, 0, 9, none)));
	printf(" nobody %ld\n", told(syscall(SYS_sched_getaffinity, NOBODY, sizeof none, none)));
}

int main(void)
{
	/* Our parent may have been nice. */
	setpriority(PRIO_PROCESS, 0, 0);
	policies();
	attributes();
	niceness();
	affinity();
	return 0;
}
