/* 32 MB touched, copied by fork, written by both sides. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { BYTES = 32 << 20, PAGE = 4096 };

static unsigned *map;

static void fill(unsigned seed, size_t step)
{
	for (size_t at = 0; at < BYTES / sizeof *map; at += step * PAGE / sizeof *map)
		map[at] = seed + at;
}

static size_t count(unsigned seed, size_t step)
{
	size_t right = 0;

	for (size_t at = 0; at < BYTES / sizeof *map; at += step * PAGE / sizeof *map)
		right += map[at] == seed + at;
	return right;
}

int main(void)
{
	int status;

	map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (map == MAP_FAILED)
		return perror("mmap"), 1;
	fill(1, 1);
	printf("filled: %zu pages\n", count(1, 1));
	fflush(stdout);
	pid_t pid = fork();
	if (pid < 0)
		return perror("fork"), 1;
	if (pid == 0) {
		/* Every second page: half of them stay shared. */
		fill(5, 2);
		printf("child: %zu new of %d\n", count(5, 2), BYTES / PAGE / 2);
		fflush(stdout);
		_exit(count(1, 1) == BYTES / PAGE / 2 ? 0 : 1);
	}
	fill(7, 4);
	waitpid(pid, &status, 0);
	printf("child: %d\n", WEXITSTATUS(status));
	printf("parent: %zu new, %zu old\n", count(7, 4), count(1, 1));
	printf("munmap: %d\n", munmap(map, BYTES));
	return 0;
}
