/* Memory: anonymous mappings, protections, holes, brk and a busy malloc. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Whole pages whatever their size. */
enum { STEP = 65536, STEPS = 8, BLOCKS = 500 };

/* How a child that touches `at` ends: 0, or the signal. */
static int touch(volatile char *at, int write)
{
	int status;

	fflush(stdout);
	if (fork() == 0) {
		if (write)
			*at = 1;
		else
			(void)*at;
		_exit(0);
	}
	wait(&status);
	return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

int main(void)
{
	char *map = mmap(NULL, STEPS * STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int zero = 1;

	if (map == MAP_FAILED)
		return perror("mmap"), 1;
	for (int i = 0; i < STEPS * STEP; i++)
		zero &= map[i] == 0;
	printf("zero: %d\n", zero);
	memset(map, 7, STEPS * STEP);

	printf("mprotect: %d\n", mprotect(map + STEP, STEP, PROT_READ));
	printf("read of read-only: %d\n", touch(map + STEP, 0));
	printf("write to read-only: %d\n", touch(map + STEP, 1));
	printf("write beside it: %d %d\n", touch(map + STEP - 1, 1), touch(map + 2 * STEP, 1));
	printf("mprotect: %d\n", mprotect(map + 2 * STEP, STEP, PROT_NONE));
	printf("read of PROT_NONE: %d\n", touch(map + 2 * STEP, 0));
	printf("mprotect back: %d\n", mprotect(map + STEP, 2 * STEP, PROT_READ | PROT_WRITE));
	printf("contents: %d %d\n", map[STEP], map[2 * STEP]);

	printf("munmap: %d\n", munmap(map + 4 * STEP, STEP));
	printf("read of the hole: %d\n", touch(map + 4 * STEP, 0));
	printf("beside the hole: %d %d\n", map[4 * STEP - 1], map[5 * STEP]);
	char *again = mmap(map + 4 * STEP, STEP, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	printf("mapped again: %d, %d\n", again == map + 4 * STEP, again[0]);
	again[0] = 9;
	printf("madvise: %d\n", madvise(again, STEP, MADV_DONTNEED));
	printf("after MADV_DONTNEED: %d\n", again[0]);
	printf("munmap: %d\n", munmap(map, STEPS * STEP));
	printf("read of what is gone: %d\n", touch(map, 0));

	/* Below malloc's break; 123 is aligned to nothing. */
	char *old = sbrk(STEP + 123);
	printf("sbrk: %d, grown by %d\n", old != (void *)-1, (int)((char *)sbrk(0) - old));
	old[STEP + 122] = 1;

	static unsigned char *blocks[BLOCKS];
	static size_t sizes[BLOCKS];
	unsigned random = 1, wrong = 0;
	for (int i = 0; i < 20000; i++) {
		random = random * 1103515245 + 12345;
		int at = (random >> 8) % BLOCKS;
		if (blocks[at])
			wrong += blocks[at][0] != at % 256 || blocks[at][sizes[at] - 1] != at % 256;
		free(blocks[at]);
		/* Some are beyond malloc's threshold: it maps each of those. */
		sizes[at] = 1 + (i % 500 ? (random >> 16) % 3000 : 300000);
		blocks[at] = malloc(sizes[at]);
		memset(blocks[at], at % 256, sizes[at]);
	}
	printf("malloc: %u blocks were changed by others\n", wrong);
	return 0;
}
