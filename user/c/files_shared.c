/* One table of descriptors: threads read through a descriptor that others replace, close and
   open again. Who finds it finds one file, whole, or none. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* MOVED is the descriptor that all use; the table must grow for it, and for those behind. */
enum { READERS = 3, TURNS = 3000, BYTES = 64, MOVED = 40, MANY = 700 };

static void check(int good, const char *what)
{
	if (!good) {
		printf("failed: %s\n", what);
		fflush(stdout);
		_exit(1);
	}
}

static char names[2][32];
static atomic_int done;
static atomic_long found;

/* Looks at the descriptor in several ways. */
static void *reader(void *arg)
{
	char seen[BYTES];
	int odd = 0;
	(void)arg;
	while (!atomic_load(&done)) {
		ssize_t count = pread(MOVED, seen, BYTES, 0);
		if (count < 0) {
			odd += errno != EBADF;
			continue;
		}
		odd += count != BYTES || (seen[0] != 'a' && seen[0] != 'b');
		for (int i = 1; i < BYTES; i++)
			odd += seen[i] != seen[0];
		atomic_fetch_add(&found, 1);
		int copy = dup(MOVED);
		if (copy >= 0)
			odd += pread(copy, seen, BYTES, 0) != BYTES || close(copy) != 0;
		else
			odd += errno != EBADF;
	}
	check(!odd, "a reader saw what no file holds");
	return NULL;
}

/* Opens a file anew, puts it in place of what is there, and closes it from time to time. */
static void *mover(void *arg)
{
	int way = *(int *)arg;
	for (int turn = 0; turn < TURNS; turn++) {
		int fd = open(names[(turn + way) % 2], O_RDONLY | (turn % 3 ? O_CLOEXEC : 0));
		check(fd >= 0 && dup3(fd, MOVED, turn % 2 ? O_CLOEXEC : 0) == MOVED && close(fd) == 0, "a move");
		if (turn % 8 == way)
			check(close(MOVED) == 0 || errno == EBADF, "close");
	}
	return NULL;
}

/* The table grows and shrinks under the readers. */
static void grow(void)
{
	int fds[MANY];
	for (int i = 0; i < MANY; i++)
		check((fds[i] = fcntl(0, F_DUPFD, MOVED + 1)) > MOVED && (!i || fds[i] == fds[i - 1] + 1), "the lowest");
	check(close(fds[1]) == 0 && close(fds[5]) == 0, "close");
	check(fcntl(0, F_DUPFD, MOVED + 1) == fds[1] && fcntl(0, F_DUPFD, MOVED + 1) == fds[5], "the lowest again");
	for (int i = 0; i < MANY; i++)
		check(close(fds[i]) == 0, "close");
}

int main(void)
{
	pthread_t readers[READERS], movers[2];
	int ways[] = { 0, 1 };
	check(dup2(open("/dev/null", O_RDONLY), 0) == 0, "descriptor 0");
	for (int i = 0; i < 2; i++) {
		char block[BYTES];
		memset(block, 'a' + i, BYTES);
		strcpy(names[i], "/tmp/sharedXXXXXX");
		int fd = mkstemp(names[i]);
		check(fd >= 0 && write(fd, block, BYTES) == BYTES && close(fd) == 0, "a file");
	}
	for (int i = 0; i < READERS; i++)
		check(!pthread_create(&readers[i], NULL, reader, NULL), "pthread_create");
	for (int i = 0; i < 2; i++)
		check(!pthread_create(&movers[i], NULL, mover, &ways[i]), "pthread_create");
	grow();
	for (int i = 0; i < 2; i++)
		pthread_join(movers[i], NULL);
	check(dup2(open(names[0], O_RDONLY), MOVED) == MOVED, "the last move");
	for (long before = atomic_load(&found); atomic_load(&found) == before;)
		usleep(1000);
	atomic_store(&done, 1);
	for (int i = 0; i < READERS; i++)
		pthread_join(readers[i], NULL);
	printf("close-on-exec: %d\n", fcntl(MOVED, F_GETFD));
	close(MOVED);
	printf("closed: %d, then %d\n", fcntl(MOVED, F_GETFD), errno == EBADF);
	unlink(names[0]);
	unlink(names[1]);
	return 0;
}
