/* Record locks: which conflict, which process owns them, when they end, and deadlocks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static char path[] = "/tmp/locksXXXXXX";

static void check(int good, const char *what)
{
	if (!good) {
		printf("failed: %s\n", what);
		fflush(stdout);
		_exit(1);
	}
}

static int lock(int fd, int command, int type, int whence, off_t start, off_t len)
{
	struct flock lock = { .l_type = type, .l_whence = whence, .l_start = start, .l_len = len };
	return fcntl(fd, command, &lock) ? errno : 0;
}

static int set(int fd, int type, off_t start, off_t len)
{
	return lock(fd, F_SETLK, type, SEEK_SET, start, len);
}

/* A pipe on which one side waits for the other. */
struct gate {
	int ends[2];
};

static struct gate gate(void)
{
	struct gate made;
	check(!pipe(made.ends), "pipe");
	return made;
}

static void open_gate(struct gate *gate)
{
	check(write(gate->ends[1], "", 1) == 1, "a gate's write");
}

static void pass(struct gate *gate)
{
	char byte;
	check(read(gate->ends[0], &byte, 1) == 1, "a gate's read");
}

/* Runs `what` with a descriptor of its own in a child that exits with its result. */
static int child_of(int (*what)(int))
{
	int status;
	fflush(stdout);
	if (fork() == 0)
		_exit(what(open(path, O_RDWR)));
	wait(&status);
	return WEXITSTATUS(status);
}

/* The locks that another process sees on the first 40 bytes: r, w, or . for free. */
static int show(int fd)
{
	for (int at = 0; at < 40; at++) {
		struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
		check(!fcntl(fd, F_GETLK, &lock), "F_GETLK");
		putchar(lock.l_type == F_UNLCK ? '.' : lock.l_type == F_RDLCK ? 'r' : 'w');
		check(lock.l_type == F_UNLCK || lock.l_pid == getppid(), "the owner");
	}
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	check(!fcntl(fd, F_GETLK, &lock), "F_GETLK");
	printf(" first: type %d from %ld for %ld\n", lock.l_type, (long)lock.l_start, (long)lock.l_len);
	fflush(stdout);
	return 0;
}

static void ranges(void)
{
	int fd = open(path, O_RDWR);
	write(fd, "0123456789", 10);
	set(fd, F_WRLCK, 10, 10);
	child_of(show);
	set(fd, F_RDLCK, 14, 3);
	child_of(show);
	set(fd, F_UNLCK, 12, 1);
	child_of(show);
	set(fd, F_WRLCK, 5, 5);
	child_of(show);
	set(fd, F_RDLCK, 30, 0);
	child_of(show);
	set(fd, F_WRLCK, 0, 35);
	child_of(show);
	set(fd, F_UNLCK, 0, 0);
	child_of(show);
	/* Ranges from the end, from the position, and backwards. */
	lock(fd, F_SETLK, F_WRLCK, SEEK_END, -3, 2);
	lock(fd, F_SETLK, F_RDLCK, SEEK_CUR, 5, 5);
	lock(fd, F_SETLK, F_WRLCK, SEEK_SET, 30, -5);
	child_of(show);
	printf("errors %d %d %d %d %d %d\n", set(fd, F_WRLCK, -1, 1), set(fd, F_WRLCK, 2, -3),
	       lock(fd, F_SETLK, F_WRLCK, 7, 0, 1), set(fd, 9, 0, 1), lock(fd, F_GETLK, F_UNLCK, 0, 0, 1),
	       set(77, F_WRLCK, 0, 1));
	int to_read = open(path, O_RDONLY), to_write = open(path, O_WRONLY);
	printf("access %d %d %d %d\n", set(to_read, F_WRLCK, 0, 1), set(to_write, F_RDLCK, 0, 1),
	       set(to_read, F_RDLCK, 0, 1), set(to_write, F_WRLCK, 0, 1));
	/* Any close of the file drops all of the process's locks. */
	close(to_read);
	child_of(show);
	set(fd, F_WRLCK, 0, 4);
	close(dup(to_write));
	child_of(show);
	set(fd, F_WRLCK, 0, 4);
	dup2(0, to_write);
	child_of(show);
	close(to_write);
	close(fd);
}

static int tries(int fd)
{
	printf("another: write %d, read %d, beside %d\n", set(fd, F_WRLCK, 0, 5), set(fd, F_RDLCK, 4, 1),
	       set(fd, F_WRLCK, 5, 5));
	fflush(stdout);
	return 0;
}

static void conflicts(void)
{
	int fd = open(path, O_RDWR), status;
	set(fd, F_RDLCK, 0, 5);
	child_of(tries);
	set(fd, F_WRLCK, 0, 5);
	child_of(tries);
	/* A child does not inherit its parent's locks, and its close does not drop them. */
	fflush(stdout);
	if (fork() == 0) {
		printf("inherited: %d\n", set(fd, F_WRLCK, 0, 1));
		fflush(stdout);
		close(fd);
		_exit(0);
	}
	wait(&status);
	child_of(tries);
	close(fd);
}

/* F_SETLKW: sleeps until the other's lock ends, by unlock, by close, or by its exit. */
static void waiting(void)
{
	for (int way = 0; way < 3; way++) {
		struct gate held = gate(), waits = gate();
		int status;
		fflush(stdout);
		pid_t holder = fork();
		if (holder == 0) {
			int fd = open(path, O_RDWR);
			check(!set(fd, F_WRLCK, 0, 10), "the holder's lock");
			open_gate(&held);
			pass(&waits);
			if (way == 0)
				set(fd, F_UNLCK, 0, 10);
			else if (way == 1)
				close(fd);
			else
				_exit(0);
			pause();
		}
		pass(&held);
		int fd = open(path, O_RDWR);
		printf("way %d: held %d", way, set(fd, F_WRLCK, 5, 1));
		open_gate(&waits);
		printf(", then %d\n", lock(fd, F_SETLKW, F_WRLCK, SEEK_SET, 5, 1));
		kill(holder, SIGKILL);
		waitpid(holder, &status, 0);
		close(fd);
	}
}

static void on_alarm(int signal)
{
	(void)signal;
}

/* A signal ends the wait, and without SA_RESTART the call. */
static void interrupted(void)
{
	struct gate held = gate();
	struct sigaction action = { .sa_handler = on_alarm };
	struct itimerval soon = { .it_value = { 0, 20000 }, .it_interval = { 0, 20000 } }, never = { 0 };
	fflush(stdout);
	pid_t holder = fork();
	if (holder == 0) {
		check(!set(open(path, O_RDWR), F_WRLCK, 0, 10), "the holder's lock");
		open_gate(&held);
		pause();
	}
	pass(&held);
	sigaction(SIGALRM, &action, NULL);
	/* Periodic: the first signal may come before the wait. */
	setitimer(ITIMER_REAL, &soon, NULL);
	int fd = open(path, O_RDWR);
	printf("interrupted: %d\n", lock(fd, F_SETLKW, F_WRLCK, SEEK_SET, 0, 1));
	setitimer(ITIMER_REAL, &never, NULL);
	kill(holder, SIGKILL);
	wait(NULL);
	printf("after its end: %d\n", lock(fd, F_SETLKW, F_WRLCK, SEEK_SET, 0, 1));
	close(fd);
}

/* Three processes, each with one byte that the next one wants: exactly one gets EDEADLK. */
static void ring(void)
{
	enum { PROCESSES = 3 };
	struct gate held = gate(), start = gate();
	int status, told = 0, good = 0;
	fflush(stdout);
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			int fd = open(path, O_RDWR);
			check(!set(fd, F_WRLCK, i, 1), "a lock of the ring");
			open_gate(&held);
			pass(&start);
			/* Its exit lets the process before it go on. */
			_exit(lock(fd, F_SETLKW, F_WRLCK, SEEK_SET, (i + 1) % PROCESSES, 1));
		}
	for (int i = 0; i < PROCESSES; i++)
		pass(&held);
	for (int i = 0; i < PROCESSES; i++)
		open_gate(&start);
	while (wait(&status) > 0) {
		told += WEXITSTATUS(status) == EDEADLK;
		good += WEXITSTATUS(status) == 0;
	}
	printf("ring: %d told of the deadlock, %d got their lock\n", told, good);
}

/* Many processes lock a range exclusively: its bytes are never seen half changed. */
static void contended(void)
{
	enum { PROCESSES = 4, TURNS = 100 };
	int status;
	int fd = open(path, O_RDWR);
	long zero = 0, sum = 0;
	pwrite(fd, &zero, sizeof zero, 0);
	fflush(stdout);
	for (int i = 0; i < PROCESSES; i++)
		if (fork() == 0) {
			int own = open(path, O_RDWR);
			for (int turn = 0; turn < TURNS; turn++) {
				long value;
				check(!lock(own, F_SETLKW, F_WRLCK, SEEK_SET, 0, 8), "F_SETLKW");
				pread(own, &value, sizeof value, 0);
				value++;
				pwrite(own, &value, sizeof value, 0);
				check(!set(own, F_UNLCK, 0, 8), "F_UNLCK");
			}
			_exit(0);
		}
	while (wait(&status) > 0)
		check(status == 0, "a child");
	pread(fd, &sum, sizeof sum, 0);
	printf("contended: %ld\n", sum);
	close(fd);
}

static void *other_thread(void *fd)
{
	return (void *)(long)set(*(int *)fd, F_WRLCK, 0, 10);
}

/* Threads of a process have one owner. */
static void threads(void)
{
	pthread_t thread;
	void *result;
	int fd = open(path, O_RDWR);
	set(fd, F_WRLCK, 0, 10);
	pthread_create(&thread, NULL, other_thread, &fd);
	pthread_join(thread, &result);
	printf("a thread: %ld\n", (long)result);
	close(fd);
}

int main(void)
{
	check(mkstemp(path) >= 0, "mkstemp");
	ranges();
	conflicts();
	waiting();
	interrupted();
	ring();
	contended();
	threads();
	unlink(path);
	return 0;
}
