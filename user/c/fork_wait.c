/* Children and their exit codes, waited for by number and as any child; orphans. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CHILDREN = 8 };

int main(void)
{
	pid_t pids[CHILDREN];
	int status, sum = 0;

	/* A child would print the buffer that it inherits once more. */
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 0; i < CHILDREN; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			return perror("fork"), 1;
		if (pids[i] == 0)
			_exit(10 + i);
	}
	/* Backwards: the child that was made last is waited for first. */
	for (int i = CHILDREN - 1; i >= CHILDREN / 2; i--) {
		if (waitpid(pids[i], &status, 0) != pids[i])
			return perror("waitpid"), 1;
		printf("child %d: exited %d, code %d\n", i, WIFEXITED(status), WEXITSTATUS(status));
	}
	/* The others in any order. */
	for (int i = 0; i < CHILDREN / 2; i++) {
		if (wait(&status) < 0)
			return perror("wait"), 1;
		sum += WEXITSTATUS(status);
	}
	printf("the others: sum of codes %d\n", sum);
	printf("no child left: %d\n", wait(&status) == -1 && errno == ECHILD);

	/* Not ended yet: WNOHANG does not wait. */
	int go[2];
	char byte;
	if (pipe(go))
		return perror("pipe"), 1;
	pid_t pid = fork();
	if (pid == 0) {
		close(go[1]);
		_exit(read(go[0], &byte, 1) == 0 ? 3 : 4);
	}
	printf("WNOHANG: %d\n", waitpid(pid, &status, WNOHANG));
	close(go[1]);
	printf("then it ends: %d", waitpid(pid, &status, 0) == pid);
	printf(", code %d\n", WEXITSTATUS(status));

	/* exit() flushes in child and parent, each its own buffer. */
	fflush(stdout);
	if (fork() == 0) {
		printf("a child's line\n");
		exit(0);
	}
	wait(&status);
	printf("a parent's line\n");
	return 0;
}
