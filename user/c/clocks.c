/* CPU time: its clocks, timers and limit; getrusage, times and wait4; odd arguments. */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MS = 1000000, TRIES = 20 };

static volatile sig_atomic_t rung;

static void ring(int number)
{
	(void)number;
	rung++;
}

static long told(long result)
{
	return result < 0 ? -errno : result;
}

static long long now(clockid_t clock)
{
	struct timespec time;
	if (clock_gettime(clock, &time))
		return -1;
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Runs until the thread has run for so many more nanoseconds. */
static void spin(long long ns)
{
	long long end = now(CLOCK_THREAD_CPUTIME_ID) + ns;
	while (now(CLOCK_THREAD_CPUTIME_ID) < end)
		;
}

static void *spinner(void *argument)
{
	spin(20 * MS);
	return argument;
}

static volatile int stop;

static void *until_stopped(void *argument)
{
	while (!stop)
		;
	return argument;
}

static long long of(const struct timeval *time)
{
	return (time->tv_sec * 1000000LL + time->tv_usec) * 1000;
}

static long long used(int who)
{
	struct rusage usage;
	if (getrusage(who, &usage))
		return -1;
	return of(&usage.ru_utime) + of(&usage.ru_stime);
}

static void clocks(void)
{
	pthread_t threads[2];
	clockid_t clock;
	struct timespec time, pause = { 0, 50 * MS };

	for (int id = 0; id < 8; id++)
		printf("clock %d: %ld %ld\n", id, told(clock_gettime(id, &time)), told(syscall(SYS_clock_getres, id, &time)));
	printf("none: %ld %ld\n", told(clock_gettime(99, &time)), told(clock_getres(99, &time)));
	/* The CPU clocks run with the thread, and stand still while it sleeps. */
	long long thread = now(CLOCK_THREAD_CPUTIME_ID), process = now(CLOCK_PROCESS_CPUTIME_ID);
	spin(20 * MS);
	printf("spun: %d %d\n", now(CLOCK_THREAD_CPUTIME_ID) - thread >= 20 * MS,
	       now(CLOCK_PROCESS_CPUTIME_ID) - process >= 20 * MS);
	/* On a busy host a CPU may seem to run while it stands still: several tries. */
	long long wall = 0;
	process = 50 * MS;
	for (int i = 0; i < TRIES && process >= 45 * MS; i++) {
		wall = now(CLOCK_MONOTONIC);
		process = now(CLOCK_PROCESS_CPUTIME_ID);
		nanosleep(&pause, NULL);
		process = now(CLOCK_PROCESS_CPUTIME_ID) - process;
	}
	printf("slept: %d %d\n", now(CLOCK_MONOTONIC) - wall >= 50 * MS, process < 45 * MS);
	/* The process's time is that of all its threads, also of those that are gone. */
	process = now(CLOCK_PROCESS_CPUTIME_ID);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, spinner, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("threads: %d\n", now(CLOCK_PROCESS_CPUTIME_ID) - process >= 40 * MS);
	/* The clocks of other processes and threads. */
	printf("own clock: %d %d\n", clock_getcpuclockid(0, &clock), now(clock) >= 60 * MS);
	printf("nobody's: %d\n", clock_getcpuclockid(4000000, &clock));
	stop = 0;
	pthread_create(&threads[0], NULL, until_stopped, NULL);
	printf("a thread's: %d", pthread_getcpuclockid(threads[0], &clock));
	while (now(clock) < 10 * MS)
		usleep(1000);
	printf(" reached\n");
	/* A sleep in the process's time: the other thread's running is enough. */
	process = now(CLOCK_PROCESS_CPUTIME_ID);
	struct timespec span = { 0, 20 * MS };
	printf("sleep in CPU time: %d", clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, 0, &span, NULL));
	printf(" %d\n", now(CLOCK_PROCESS_CPUTIME_ID) - process >= 20 * MS);
	stop = 1;
	pthread_join(threads[0], NULL);
	span = (struct timespec){ 0, 1 };
	printf("in the past: %d\n", clock_nanosleep(CLOCK_PROCESS_CPUTIME_ID, TIMER_ABSTIME, &span, NULL));
}

static void usage(void)
{
	struct rusage usage;
	struct tms before, after;
	int status;

	long long self = used(RUSAGE_SELF), thread = used(RUSAGE_THREAD), children = used(RUSAGE_CHILDREN);
	times(&before);
	spin(30 * MS);
	printf("self %d thread %d", used(RUSAGE_SELF) - self >= 29 * MS, used(RUSAGE_THREAD) - thread >= 29 * MS);
	times(&after);
	clock_t ticks = after.tms_utime + after.tms_stime - before.tms_utime - before.tms_stime;
	printf(" times %d\n", ticks >= 2);
	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		/* A grandchild's time counts when both were waited for. */
		pid_t grandchild = fork();
		if (grandchild == 0) {
			spin(100 * MS);
			_exit(0);
		}
		waitpid(grandchild, NULL, 0);
		_exit(used(RUSAGE_CHILDREN) >= 95 * MS ? 0 : 1);
	}
	printf("before the wait: %d\n", used(RUSAGE_CHILDREN) == children);
	wait4(child, &status, 0, &usage);
	printf("child: status %d used %d", status, of(&usage.ru_utime) + of(&usage.ru_stime) >= 95 * MS);
	printf(" children %d", used(RUSAGE_CHILDREN) - children >= 95 * MS);
	times(&after);
	printf(" times %d\n", after.tms_cutime + after.tms_cstime >= 1);
	/* A child starts at 0; again several tries. */
	status = -1;
	for (int i = 0; i < TRIES && status != 0; i++) {
		if (fork() == 0)
			_exit(used(RUSAGE_SELF) + used(RUSAGE_CHILDREN) >= 20 * MS);
		wait(&status);
	}
	printf("fresh child: %d\n", status);
	getrusage(RUSAGE_SELF, &usage);
	long voluntary = usage.ru_nvcsw;
	/* On a busy host a sleep's time may be over before it begins. */
	for (int i = 0; i < TRIES && usage.ru_nvcsw - voluntary < 5; i++) {
		usleep(1000);
		getrusage(RUSAGE_SELF, &usage);
	}
	printf("waits: %d\n", usage.ru_nvcsw - voluntary >= 5);
	printf("errors: %ld %ld\n", told(syscall(SYS_getrusage, 7, &usage)), told(syscall(SYS_getrusage, 0, (void *)-8)));
	printf("times of nobody: %d\n", times(NULL) > 0);
}

static void timers(void)
{
	static const struct { int timer, signal; } kinds[] = { { ITIMER_PROF, SIGPROF }, { ITIMER_VIRTUAL, SIGVTALRM } };
	struct itimerval off = { { 0, 0 }, { 0, 0 } }, set = { { 0, 20000 }, { 0, 20000 } }, old;

	for (int i = 0; i < 2; i++) {
		struct sigaction action = { .sa_handler = ring };
		sigaction(kinds[i].signal, &action, NULL);
		rung = 0;
		long long start = now(CLOCK_PROCESS_CPUTIME_ID);
		printf("timer %d: %ld", kinds[i].timer, told(setitimer(kinds[i].timer, &set, NULL)));
		getitimer(kinds[i].timer, &old);
		printf(" left %d interval %ld", old.it_value.tv_usec > 0 && old.it_value.tv_usec <= 20000 + 10000,
		       (long)old.it_interval.tv_usec / 10000);
		while (rung < 3)
			;
		/* Three times 20 ms. Linux rings by the ticks that found us running, which may be early. */
		printf(" used %d", now(CLOCK_PROCESS_CPUTIME_ID) - start >= 10 * MS);
		setitimer(kinds[i].timer, &off, &old);
		printf(" old %d", old.it_value.tv_usec > 0);
		getitimer(kinds[i].timer, &old);
		printf(" off %ld\n", (long)(old.it_value.tv_sec + old.it_value.tv_usec));
	}
	/* Wall-clock timers: one shot, and periodic. */
	struct sigaction action = { .sa_handler = ring };
	sigaction(SIGALRM, &action, NULL);
	rung = 0;
	set = (struct itimerval){ { 0, 0 }, { 0, 30000 } };
	long long start = now(CLOCK_MONOTONIC);
	setitimer(ITIMER_REAL, &set, NULL);
	while (rung < 1)
		;
	getitimer(ITIMER_REAL, &old);
	printf("real: %d left %ld\n", now(CLOCK_MONOTONIC) - start >= 30 * MS, (long)old.it_value.tv_usec);
	set = (struct itimerval){ { 0, 10000 }, { 0, 1 } };
	start = now(CLOCK_MONOTONIC);
	setitimer(ITIMER_REAL, &set, NULL);
	while (rung < 4)
		;
	printf("again: %d\n", now(CLOCK_MONOTONIC) - start >= 20 * MS);
	setitimer(ITIMER_REAL, &off, NULL);
	printf("alarm: %u", alarm(100));
	printf(" %d\n", alarm(0) >= 99);
	struct itimerval bad = { { 0, 0 }, { 0, 1000000 } }, negative = { { 0, 0 }, { -1, 0 } };
	printf("errors: %ld", told(setitimer(ITIMER_REAL, &bad, NULL)));
	printf(" %ld", told(setitimer(ITIMER_REAL, &negative, NULL)));
	printf(" %ld", told(setitimer(7, &off, NULL)));
	printf(" %ld\n", told(getitimer(7, &old)));
}

static void sleeps(void)
{
	struct timespec bad[] = { { 0, 1000000000 }, { 0, -1 }, { -1, 0 } }, little = { 0, 1 };

	for (int i = 0; i < 3; i++)
		printf("bad %d: %ld %d\n", i, told(nanosleep(&bad[i], NULL)), clock_nanosleep(CLOCK_MONOTONIC, 0, &bad[i], NULL));
	for (int id = 0; id < 12; id++)
		if (id != 2 && id != 8 && id != 9)
			printf("clock %d: %ld\n", id, told(syscall(SYS_clock_nanosleep, id, 0, &little, NULL)));
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	long long start = now(CLOCK_MONOTONIC);
	time.tv_nsec += 20 * MS;
	if (time.tv_nsec >= 1000 * MS) {
		time.tv_nsec -= 1000 * MS;
		time.tv_sec++;
	}
	printf("absolute: %d", clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL));
	printf(" %d\n", now(CLOCK_MONOTONIC) - start >= 19 * MS);
	clock_gettime(CLOCK_REALTIME, &time);
	printf("past: %d\n", clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &time, NULL));
	/* The remaining time when a signal comes. */
	struct itimerval soon = { { 0, 0 }, { 0, 20000 } };
	struct timespec span = { 100, 0 }, left = { 0, 0 };
	setitimer(ITIMER_REAL, &soon, NULL);
	printf("interrupted: %ld", told(nanosleep(&span, &left)));
	printf(" left %d\n", left.tv_sec >= 90 && left.tv_sec < 100);
}

/* A second of CPU time, and then a SIGXCPU. */
static void limit(void)
{
	struct rlimit limit = { 1, RLIM_INFINITY };
	struct sigaction action = { .sa_handler = ring };

	fflush(stdout);
	pid_t child = fork();
	if (child == 0) {
		sigaction(SIGXCPU, &action, NULL);
		rung = 0;
		printf("limit: %ld", told(setrlimit(RLIMIT_CPU, &limit)));
		while (!rung)
			;
		/* Linux counts the ticks that found us running: a busy host's may be early. */
		printf(" used %d", now(CLOCK_PROCESS_CPUTIME_ID) >= 300 * MS);
		getrlimit(RLIMIT_CPU, &limit);
		printf(" next %ld\n", (long)limit.rlim_cur);
		/* The hard limit: the process ends, without a signal that could be handled. */
		fflush(stdout);
		limit = (struct rlimit){ 1, 1 };
		setrlimit(RLIMIT_CPU, &limit);
		for (;;)
			;
	}
	int status;
	waitpid(child, &status, 0);
	printf("ended by %d\n", WTERMSIG(status));
}

int main(void)
{
	clocks();
	usage();
	timers();
	sleeps();
	limit();
	return 0;
}
