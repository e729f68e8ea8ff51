/* ppoll, select, pselect, eventfd and socket pairs: results and errors. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile int handled, blocked_inside;

static void handler(int number)
{
	sigset_t now;
	(void)number;
	sigprocmask(SIG_BLOCK, NULL, &now);
	/* The call's mask, and the signal itself. */
	blocked_inside = sigismember(&now, SIGUSR1) + 2 * sigismember(&now, SIGUSR2);
	handled++;
}

/* The result, or the negative error number. */
static long told(long result)
{
	return result < 0 ? -errno : result;
}

static void masks(void)
{
	sigset_t usr1, usr2, now;
	struct sigaction action = { .sa_handler = handler };
	struct timespec none = { 0, 0 };
	int gate[2];
	char byte = 'x';

	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	raise(SIGUSR1);
	printf("blocked: ppoll %ld, handled %d\n", told(ppoll(NULL, 0, &none, NULL)), handled);
	/* The signal is pending: it is handled although the time limit is 0. */
	printf("let in: ppoll %ld, handled %d\n", told(ppoll(NULL, 0, &none, &usr2)), handled);
	printf("mask in the handler %d\n", blocked_inside);
	sigprocmask(SIG_BLOCK, NULL, &now);
	printf("after: USR1 %d USR2 %d\n", sigismember(&now, SIGUSR1), sigismember(&now, SIGUSR2));

	/* A ready file comes first; the signal stays pending. */
	if (pipe(gate) || write(gate[1], &byte, 1) != 1)
		return perror("pipe");
	raise(SIGUSR1);
	struct pollfd watch = { gate[0], POLLIN, 0 };
	printf("ready: ppoll %ld, handled %d\n", told(ppoll(&watch, 1, &none, &usr2)), handled);
	sigpending(&now);
	printf("pending %d\n", sigismember(&now, SIGUSR1));
	printf("pselect %ld, handled %d\n", told(pselect(0, NULL, NULL, NULL, &none, &usr2)), handled);

	/* bin/interrupted tests a signal that comes while the call waits: qemu-ppc64 loses it. */
	printf("sets of 4 bytes: %ld\n", told(syscall(SYS_ppoll, NULL, 0, &none, &usr2, 4)));
	printf("bad mask: %ld\n", told(syscall(SYS_ppoll, NULL, 0, &none, (void *)-8, 8)));
	struct timespec bad = { 0, 1000000000 };
	printf("bad time: %ld\n", told(syscall(SYS_ppoll, NULL, 0, &bad, NULL, 8)));
	sigprocmask(SIG_UNBLOCK, &usr1, NULL);
	close(gate[0]);
	close(gate[1]);
}

static void selects(void)
{
	int gate[2], other[2];
	fd_set in, out, except;
	struct timeval time = { 0, 30000 };

	if (pipe(gate) || pipe(other))
		return perror("pipe");
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_ZERO(&except);
	FD_SET(gate[0], &in);
	FD_SET(gate[1], &out);
	FD_SET(gate[0], &except);
	printf("select %ld", told(select(gate[1] + 1, &in, &out, &except, NULL)));
	printf(" in %d out %d except %d\n", !!FD_ISSET(gate[0], &in), !!FD_ISSET(gate[1], &out),
	       !!FD_ISSET(gate[0], &except));
	/* Nothing comes: the whole time passes. */
	FD_SET(gate[0], &in);
	struct timespec before, after;
	clock_gettime(CLOCK_MONOTONIC, &before);
	printf("nothing: select %ld", told(syscall(SYS__newselect, gate[0] + 1, &in, NULL, NULL, &time)));
	clock_gettime(CLOCK_MONOTONIC, &after);
	long us = (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
	printf(" in %d left %ld waited %d\n", !!FD_ISSET(gate[0], &in), time.tv_sec * 1000000 + time.tv_usec,
	       us >= 30000);
	/* The end of a pipe is readable, a pipe without readers writable; one descriptor in both sets. */
	close(gate[1]);
	close(other[0]);
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(gate[0], &in);
	FD_SET(other[1], &out);
	FD_SET(other[1], &in);
	printf("ends: select %ld", told(select(other[1] + 1, &in, &out, NULL, NULL)));
	printf(" in %d %d out %d\n", !!FD_ISSET(gate[0], &in), !!FD_ISSET(other[1], &in), !!FD_ISSET(other[1], &out));
	/* A pipe that ended does not end a wait for writing alone. */
	FD_ZERO(&out);
	FD_SET(gate[0], &out);
	time = (struct timeval){ 0, 0 };
	printf("not writable: select %ld\n", told(select(gate[0] + 1, NULL, &out, NULL, &time)));
	FD_ZERO(&in);
	FD_SET(gate[1], &in);
	printf("closed: select %ld\n", told(select(gate[1] + 1, &in, NULL, NULL, NULL)));
	printf("beyond: select %ld\n", told(select(gate[1], &in, NULL, NULL, &time)));
	printf("negative: select %ld\n", told(select(-1, &in, NULL, NULL, NULL)));
	printf("bad set: select %ld\n", told(syscall(SYS__newselect, 4, (void *)-8, NULL, NULL, NULL)));
	time = (struct timeval){ -1, 0 };
	printf("bad time: select %ld\n", told(syscall(SYS__newselect, 0, NULL, NULL, NULL, &time)));
	/* Bits beyond the first word. */
	dup2(other[1], 100);
	FD_ZERO(&out);
	FD_SET(100, &out);
	printf("100: select %ld, %d\n", told(select(101, NULL, &out, NULL, NULL)), !!FD_ISSET(100, &out));
	close(100);
	close(gate[0]);
	close(other[1]);
}

static short events(int fd)
{
	struct pollfd watch = { fd, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM | POLLRDHUP, 0 };
	poll(&watch, 1, 0);
	return watch.revents;
}

static void *add_later(void *argument)
{
	usleep(20000);
	eventfd_write(*(int *)argument, 7);
	return NULL;
}

static void *take_later(void *argument)
{
	eventfd_t value;
	usleep(20000);
	eventfd_read(*(int *)argument, &value);
	return NULL;
}

static void counters(void)
{
	uint64_t value = 0;
	pthread_t thread;
	char few[7];

	printf("eventfd flags: %ld\n", told(eventfd(0, 2)));
	int fd = eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC);
	printf("cloexec %d nonblock %d\n", fcntl(fd, F_GETFD), !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	printf("events %#x", events(fd));
	printf(" read %ld", told(read(fd, &value, 8)));
	printf(" value %ld events %#x\n", (long)value, events(fd));
	printf("empty: %ld\n", told(read(fd, &value, 8)));
	printf("few: %ld %ld\n", told(read(fd, few, 7)), told(write(fd, few, 7)));
	printf("bad: %ld", told(write(fd, (void *)-8, 8)));
	value = UINT64_MAX;
	printf(" %ld\n", told(write(fd, &value, 8)));
	value = UINT64_MAX - 2;
	printf("much: %ld", told(write(fd, &value, 8)));
	printf(" events %#x", events(fd));
	value = 1;
	printf(" one more %ld", told(write(fd, &value, 8)));
	printf(" events %#x", events(fd));
	printf(" full %ld", told(write(fd, &value, 8)));
	value = 0;
	printf(" none %ld\n", told(write(fd, &value, 8)));
	char large[12] = { 0 };
	printf("12 bytes: %ld", told(read(fd, large, 12)));
	memcpy(&value, large, 8);
	printf(" value %d\n", value == UINT64_MAX - 1);
	close(fd);

	fd = eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK);
	for (int i = 0; i < 3; i++) {
		long result = told(read(fd, &value, 8));
		printf("semaphore: %ld value %ld\n", result, result > 0 ? (long)value : 0);
	}
	close(fd);

	/* Blocks until the other thread adds, or takes. */
	fd = eventfd(0, 0);
	pthread_create(&thread, NULL, add_later, &fd);
	printf("later: %ld", told(read(fd, &value, 8)));
	printf(" value %ld\n", (long)value);
	pthread_join(thread, NULL);
	value = UINT64_MAX - 1;
	printf("filled: %ld", told(write(fd, &value, 8)));
	pthread_create(&thread, NULL, take_later, &fd);
	value = 5;
	printf(" then: %ld", told(write(fd, &value, 8)));
	pthread_join(thread, NULL);
	printf(" value: %ld", told(read(fd, &value, 8)));
	printf(" %ld\n", (long)value);
	/* poll sees it. */
	pthread_create(&thread, NULL, add_later, &fd);
	struct pollfd watch = { fd, POLLIN, 0 };
	printf("polled: %d %#x\n", poll(&watch, 1, -1), watch.revents);
	pthread_join(thread, NULL);
	close(fd);
}

static void messages(int kind, const char *name)
{
	int pair[2];
	char buffer[8];
	static char huge[300000];

	signal(SIGPIPE, SIG_IGN);
	if (socketpair(AF_UNIX, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair))
		return perror(name);
	printf("%s: cloexec %d nonblock %d", name, fcntl(pair[0], F_GETFD), !!(fcntl(pair[1], F_GETFL) & O_NONBLOCK));
	printf(" events %#x empty %ld\n", events(pair[0]), told(read(pair[0], buffer, 8)));
	printf("writes %ld %ld", told(write(pair[1], "abcdefghijkl", 12)), told(write(pair[1], "mno", 3)));
	printf(" events %#x\n", events(pair[0]));
	for (int i = 0; i < 3; i++) {
		memset(buffer, 0, sizeof buffer);
		printf("read %ld", told(read(pair[0], buffer, 4)));
		printf(" %s\n", buffer);
	}
	printf("huge %ld\n", kind == SOCK_STREAM ? 0 : told(write(pair[0], huge, sizeof huge)));
	/* It fills up, and is emptied. */
	int count = 0;
	while (write(pair[0], huge, 1000) == 1000)
		count++;
	printf("full: errno %d, many %d, not writable %d\n", errno, count > 10, !(events(pair[0]) & POLLOUT));
	while (read(pair[1], huge, 1000) == 1000)
		count--;
	printf("emptied: %d left, events %#x %#x\n", count, events(pair[0]), events(pair[1]));
	/* The end of one socket, with data under way. */
	printf("last %ld\n", told(write(pair[0], "last", 4)));
	close(pair[0]);
	printf("gone: events %#x", events(pair[1]));
	printf(" read %ld", told(read(pair[1], buffer, 8)));
	printf(" read %ld write %ld\n", told(read(pair[1], buffer, 8)), told(write(pair[1], "x", 1)));
	close(pair[1]);
}

static void *send_later(void *argument)
{
	usleep(20000);
	if (write(*(int *)argument, "hello", 5) != 5)
		perror("write");
	return NULL;
}

static int waiting;

static void *receive_later(void *argument)
{
	char buffer[8];

	usleep(20000);
	/* Reads all of them: Linux wakes a writer when a quarter is left. */
	for (; waiting > 0; waiting--)
		if (read(*(int *)argument, buffer, 8) != 8)
			perror("read");
	return NULL;
}

/* A full socket blocks its writer until there is room. */
static void full(void)
{
	int pair[2];
	static char message[60000];
	pthread_t thread;

	socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair);
	while (write(pair[0], message, sizeof message) > 0)
		waiting++;
	fcntl(pair[0], F_SETFL, 0);
	pthread_create(&thread, NULL, receive_later, &pair[1]);
	printf("full, then room: %ld\n", told(write(pair[0], message, sizeof message)));
	pthread_join(thread, NULL);
	close(pair[0]);
	close(pair[1]);
}

static void pairs(void)
{
	int pair[2];
	char buffer[8];
	pthread_t thread;

	messages(SOCK_DGRAM, "datagrams");
	messages(SOCK_SEQPACKET, "packets");
	socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair);
	pthread_create(&thread, NULL, send_later, &pair[1]);
	printf("packet, later: %ld\n", told(read(pair[0], buffer, 8)));
	pthread_join(thread, NULL);
	close(pair[0]);
	close(pair[1]);
	full();
	/* An empty datagram counts as one. */
	socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair);
	printf("empty: write %ld", told(write(pair[0], "", 0)));
	printf(" read %ld", told(read(pair[1], buffer, 8)));
	printf(" then %ld\n", told(read(pair[1], buffer, 8)));
	close(pair[0]);
	close(pair[1]);
	printf("errors: %ld", told(socketpair(AF_UNIX, 7, 0, pair)));
	printf(" %ld", told(socketpair(AF_UNIX, SOCK_STREAM, 7, pair)));
	printf(" %ld", told(socketpair(AF_INET, SOCK_STREAM, 0, pair)));
	printf(" %ld", told(socketpair(77, SOCK_STREAM, 0, pair)));
	printf(" %ld\n", told(socketpair(AF_UNIX, SOCK_STREAM, 0, (void *)-8)));
	socketpair(AF_UNIX, SOCK_STREAM, AF_UNIX, pair);
	printf("stream: events %#x", events(pair[0]));
	printf(" write %ld", told(write(pair[0], "ab", 2)));
	printf(" write %ld", told(write(pair[0], "cd", 2)));
	printf(" read %ld", told(read(pair[1], buffer, 8)));
	close(pair[0]);
	printf(" gone: events %#x read %ld", events(pair[1]), told(read(pair[1], buffer, 8)));
	printf(" write %ld\n", told(write(pair[1], "x", 1)));
	close(pair[1]);
}

static void polls(void)
{
	int gate[2];

	if (pipe(gate))
		return perror("pipe");
	/* Only the last field is written; a negative descriptor is ignored. */
	struct pollfd watch[3] = { { gate[1], POLLOUT, 0x7f }, { -1, POLLIN, 0x7f }, { gate[0], POLLIN, 0x7f } };
	printf("poll %d:", poll(watch, 3, 0));
	for (int i = 0; i < 3; i++)
		printf(" %d %#x %#x", watch[i].fd < 0, watch[i].events, watch[i].revents);
	printf("\n");
	printf("bad: %ld\n", told(syscall(SYS_poll, (void *)-16, 1, 0)));
	/* A full pipe is not writable; a pipe with a free page is. */
	static char page[4096];
	fcntl(gate[1], F_SETFL, O_NONBLOCK);
	int pages = 0;
	while (write(gate[1], page, sizeof page) == sizeof page)
		pages++;
	printf("pages %d, events %#x", pages, events(gate[1]));
	if (read(gate[0], page, 1) != 1)
		perror("read");
	printf(" a byte less %#x", events(gate[1]));
	if (read(gate[0], page, 4095) != 4095)
		perror("read");
	printf(" a page less %#x\n", events(gate[1]));
	close(gate[0]);
	printf("no reader %#x\n", events(gate[1]));
	close(gate[1]);
}

int main(void)
{
	masks();
	selects();
	counters();
	pairs();
	polls();
	return 0;
}
