/* poll on pipes: empty, with one byte that several see, and ended. */
#include <poll.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WATCHERS = 4 };

int main(void)
{
	int gate[2], status, failed = 0;
	char byte;

	if (pipe(gate))
		return perror("pipe"), 1;
	struct pollfd watch = { gate[0], POLLIN, 0 };
	printf("empty: %d\n", poll(&watch, 1, 0));
	printf("empty, 5 ms: %d\n", poll(&watch, 1, 5));
	fflush(stdout);
	for (int i = 0; i < WATCHERS; i++)
		if (fork() == 0) {
			/* The byte is not read: it wakes them all. */
			int ready = poll(&watch, 1, -1);
			_exit(ready == 1 && watch.revents == POLLIN ? 0 : 1);
		}
	if (write(gate[1], "x", 1) != 1)
		return perror("write"), 1;
	for (int i = 0; i < WATCHERS; i++) {
		wait(&status);
		failed += status != 0;
	}
	printf("watchers failed: %d\n", failed);
	printf("byte: %d, %c\n", (int)read(gate[0], &byte, 1), byte);
	close(gate[1]);
	printf("end: %d, POLLHUP %d\n", poll(&watch, 1, -1), watch.revents == POLLHUP);
	struct pollfd gone = { gate[1], POLLIN, 0 };
	printf("closed: %d, POLLNVAL %d\n", poll(&gone, 1, 0), gone.revents == POLLNVAL);
	return 0;
}
