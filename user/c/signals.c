/* Handlers: run, return, interrupt a read, and leave a fault by a long jump. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t caught, last;
static sigjmp_buf back;

static void count(int signal)
{
	caught++;
	last = signal;
}

static void leave(int signal)
{
	siglongjmp(back, signal);
}

int main(void)
{
	struct sigaction action = { .sa_handler = count };
	volatile double kept = 1.5;
	volatile int *volatile nowhere = (int *)16;
	int status, go[2];
	char byte;
	sigset_t set, old;

	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 100; i++)
		raise(SIGUSR1);
	printf("raised: %d, SIGUSR1 %d, kept %g\n", (int)caught, last == SIGUSR1, kept);

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGUSR1);
	printf("blocked: %d\n", (int)caught);
	sigprocmask(SIG_SETMASK, &old, NULL);
	printf("unblocked: %d\n", (int)caught);

	/* A child sends signals until one interrupts the read. */
	if (pipe(go))
		return perror("pipe"), 1;
	fflush(stdout);
	pid_t parent = getpid();
	pid_t pid = fork();
	if (pid == 0)
		for (;;) {
			kill(parent, SIGUSR1);
			usleep(1000);
		}
	/* Without SA_RESTART a call that sleeps is interrupted. */
	ssize_t count = read(go[0], &byte, 1);
	printf("read: %zd, EINTR %d\n", count, errno == EINTR);
	kill(pid, SIGKILL);
	while (wait(&status) < 0 && errno == EINTR)
		;
	printf("child: signal %d\n", WTERMSIG(status));

	action.sa_handler = leave;
	sigaction(SIGSEGV, &action, NULL);
	for (int i = 0; i < 3; i++) {
		int signal = sigsetjmp(back, 1);
		if (!signal)
			(void)*nowhere;
		printf("left by signal %d\n", signal);
	}
	return 0;
}
