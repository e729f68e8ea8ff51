/* What the program does as init of a Linux before and after its rows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

/* Hundredths of a second that the CPUs were not idle; `cpu  USER NICE SYSTEM IDLE IOWAIT IRQ SOFTIRQ …`. */
static long busy_time(void)
{
	long user, nice, system, idle, wait, irq, softirq;
	FILE *file = fopen("/proc/stat", "r");
	check(file && fscanf(file, "cpu %ld %ld %ld %ld %ld %ld %ld", &user, &nice, &system, &idle, &wait, &irq,
			     &softirq) == 7, "/proc/stat");
	fclose(file);
	return user + nice + system + irq + softirq;
}

/* Linux goes on with its initialisation after init has started. */
static void wait_for_quiet(void)
{
	for (int second = 0, quiet = 0; second < 60 && quiet < 3; second++) {
		long before = busy_time();
		sleep(1);
		quiet = busy_time() - before <= 1 ? quiet + 1 : 0;
	}
}

/* Prints the kernel's functions and data, but no module's. */
static void print_symbols(void)
{
	char line[512], kind;
	FILE *file = fopen("/proc/kallsyms", "r");
	check(file != NULL, "/proc/kallsyms");
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "%*s %c", &kind) == 1 && strchr("tTwWdDbB", kind) && !strchr(line, '['))
			printf("symbol %s", line);
}

static void run(char **arguments)
{
	pid_t child = fork();
	if (child == 0) {
		execv(arguments[0], arguments);
		_exit(127);
	}
	waitpid(child, NULL, 0);
}

void start_linux(char **options)
{
	mkdir("/proc", 0755);
	check(mount("proc", "/proc", "proc", 0, NULL) == 0, "/proc");
	if (options[0] && strcmp(options[0], "--symbols") == 0) {
		print_symbols();
		stop_linux();
	}
	wait_for_quiet();
	if (options[0] && strcmp(options[0], "--run") == 0) {
		run(options + 1);
		stop_linux();
	}
}

void stop_linux(void)
{
	fflush(stdout);
	reboot(RB_POWER_OFF);
}
