/* Pipes between parent and child: both ways, full, ended, broken. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 300000 };

static void check(int good, const char *what)
{
	if (!good) {
		printf("failed: %s\n", what);
		exit(1);
	}
}

int main(void)
{
	static unsigned char data[BYTES];
	int there[2], back[2], status;
	size_t got = 0;
	ssize_t count;

	check(!pipe(there) && !pipe(back), "pipe");
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		char buffer[4096];
		close(there[1]);
		close(back[0]);
		while ((count = read(there[0], buffer, sizeof buffer)) > 0) {
			for (ssize_t i = 0; i < count; i++)
				buffer[i] ^= 0x55;
			for (ssize_t done = 0; done < count;) {
				ssize_t n = write(back[1], buffer + done, count - done);
				if (n < 0)
					_exit(1);
				done += n;
			}
		}
		_exit(count < 0 ? 2 : 0);
	}
	close(there[0]);
	close(back[1]);
	/* A second child feeds the first, which would block on a full pipe. */
	pid_t feeder = fork();
	if (feeder == 0) {
		close(back[0]);
		for (size_t i = 0; i < BYTES; i++)
			data[i] = i % 253;
		for (size_t done = 0; done < BYTES; done += count)
			if ((count = write(there[1], data + done, BYTES - done)) < 0)
				_exit(1);
		_exit(0);
	}
	close(there[1]);
	while ((count = read(back[0], data + got, BYTES - got)) > 0)
		got += count;
	check(count == 0, "read at the end");
	for (size_t i = 0; i < got; i++)
		check(data[i] == (i % 253 ^ 0x55), "contents");
	printf("%zu bytes there and back\n", got);
	waitpid(pid, &status, 0);
	printf("echo: %d\n", WEXITSTATUS(status));
	waitpid(feeder, &status, 0);
	printf("feeder: %d\n", WEXITSTATUS(status));

	check(!pipe(there), "pipe");
	printf("nothing from an empty pipe: %zd\n", read(there[0], &status, 0));
	struct stat st;
	check(!fstat(there[0], &st), "fstat");
	printf("a pipe: %o, device %d, %d bytes\n", st.st_mode, (int)st.st_rdev, (int)st.st_size);
	close(there[0]);
	fflush(stdout);
	if ((pid = fork()) == 0) {
		count = write(there[1], "x", 1);
		_exit(3);
	}
	waitpid(pid, &status, 0);
	printf("nobody reads: signalled %d, SIGPIPE %d\n", WIFSIGNALED(status), WTERMSIG(status) == SIGPIPE);
	signal(SIGPIPE, SIG_IGN);
	printf("ignored: EPIPE %d\n", write(there[1], "x", 1) == -1 && errno == EPIPE);
	return 0;
}
