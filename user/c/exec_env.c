/* execve of itself, with arguments and an environment of its own making.
 * On a host without support for foreign programs, EXEC_WRAPPER names the
 * emulator that runs them; on the kernel it is not set. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void run(char **argv, char **envp)
{
	char *wrapper = getenv("EXEC_WRAPPER");

	if (!wrapper)
		execve(argv[0], argv, envp);
	char *wrapped[16] = { wrapper, "-cpu", "power9" };
	for (int i = 0; wrapper && (wrapped[i + 3] = argv[i]); i++)
		;
	if (wrapper)
		execve(wrapper, wrapped, envp);
	printf("execve: %s\n", strerror(errno));
	_exit(127);
}

int main(int argc, char **argv)
{
	if (argc > 1) {
		for (int i = 1; i < argc; i++)
			printf("argument %d: [%s]\n", i, argv[i]);
		int variables = 0;
		while (environ[variables])
			variables++;
		printf("%d variables: EMPTY [%s], PATH [%s]\n", variables, getenv("EMPTY"), getenv("PATH"));
		/* The descriptor is inherited unless it is close-on-exec. */
		int kept = atoi(getenv("KEPT")), closed = atoi(getenv("CLOSED"));
		printf("kept %d, closed %d\n", fcntl(kept, F_GETFD) >= 0, fcntl(closed, F_GETFD) < 0);
		return 42;
	}

	static char kept[16], closed[16];
	int pipes[2], status;
	if (pipe(pipes))
		return perror("pipe"), 1;
	fcntl(pipes[1], F_SETFD, FD_CLOEXEC);
	snprintf(kept, sizeof kept, "KEPT=%d", pipes[0]);
	snprintf(closed, sizeof closed, "CLOSED=%d", pipes[1]);
	char *arguments[] = { argv[0], "one", "", "three words here", NULL };
	char *variables[] = { kept, closed, "EMPTY=", "PATH=/bin", NULL };

	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0)
		run(arguments, variables);
	waitpid(pid, &status, 0);
	printf("exit code %d\n", WEXITSTATUS(status));
	char *nothing[] = { "nothing", NULL };
	printf("no such program: %d, ENOENT %d\n", execve("/no/such/program", nothing, nothing + 1), errno == ENOENT);
	return 0;
}
