/* How faults and signals end a process, as its parent sees it. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* The pointer is volatile too: the compiler must not see its value. */
static volatile int *volatile nowhere = (int *)16;

static void null_read(void) { (void)*nowhere; }
static void null_write(void) { *nowhere = 1; }
static void text_write(void) { *(volatile char *)(*(char **)(void *)null_read) = 0; }
static void kernel_read(void) { (void)*(volatile int *)0xc000000000000000UL; }
static void illegal(void) { __asm__ volatile(".long 0"); }
static void privileged(void) { __asm__ volatile("mfmsr 9" : : : "r9"); }
static void abort_self(void) { abort(); }
static void raise_term(void) { raise(SIGTERM); }
static void kill_self(void) { kill(getpid(), SIGKILL); }

static const struct {
	const char *name;
	void (*deed)(void);
} deeds[] = {
	{ "null read", null_read }, { "null write", null_write }, { "text write", text_write },
	{ "kernel read", kernel_read }, { "illegal instruction", illegal },
	{ "privileged instruction", privileged }, { "abort", abort_self },
	{ "SIGTERM", raise_term }, { "SIGKILL", kill_self },
};

int main(void)
{
	int status;

	for (size_t i = 0; i < sizeof deeds / sizeof deeds[0]; i++) {
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0) {
			deeds[i].deed();
			_exit(0);
		}
		waitpid(pid, &status, 0);
		printf("%s: exited %d, signalled %d, signal %d\n", deeds[i].name, !!WIFEXITED(status),
		       !!WIFSIGNALED(status), WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	}
	return 0;
}
