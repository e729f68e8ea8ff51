/* CPU affinity, whatever the number of CPUs: threads walk over all of them. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4 };

static cpu_set_t all;

static void *walk(void *good)
{
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
		cpu_set_t only, now;
		if (!CPU_ISSET(cpu, &all))
			continue;
		CPU_ZERO(&only);
		CPU_SET(cpu, &only);
		if (sched_setaffinity(0, sizeof only, &only) || sched_getaffinity(0, sizeof now, &now))
			*(int *)good = 0;
		*(int *)good &= CPU_EQUAL(&now, &only) != 0;
	}
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	int good[THREADS], status;
	cpu_set_t none, now;

	printf("sched_getaffinity: %d\n", sched_getaffinity(0, sizeof all, &all));
	printf("some CPUs: %d\n", CPU_COUNT(&all) >= 1);
	for (int i = 0; i < THREADS; i++) {
		good[i] = 1;
		pthread_create(&threads[i], NULL, walk, &good[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		printf("thread %d: %d\n", i, good[i]);
	}
	sched_getaffinity(0, sizeof now, &now);
	printf("main thread unchanged: %d\n", CPU_EQUAL(&now, &all) != 0);
	CPU_ZERO(&none);
	printf("no CPU: %d", sched_setaffinity(0, sizeof none, &none));
	printf(", EINVAL %d\n", errno == EINVAL);

	/* A child inherits the set. */
	walk(&good[0]);
	sched_getaffinity(0, sizeof now, &now);
	printf("one CPU: %d\n", CPU_COUNT(&now));
	fflush(stdout);
	if (fork() == 0) {
		cpu_set_t child;
		sched_getaffinity(0, sizeof child, &child);
		_exit(CPU_EQUAL(&child, &now) ? 0 : 1);
	}
	wait(&status);
	printf("child: %d\n", WEXITSTATUS(status));
	return 0;
}
