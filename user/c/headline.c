/*
 * headline [pipe|futex|fault|mprotect|read|line|loop] [ROUNDS]: threads at work, between two marks.
 *
 * pipe, futex: as many threads of one process as there are CPUs, each bound to one, in pairs. A
 * thread waits until its partner has written to a pipe, or has woken it; so each CPU goes into and
 * out of idle once a round. The region begins when the last pair plays, and ends when the first has
 * played ROUNDS rounds of it: all CPUs work all the time. line: two threads on two CPUs store to one
 * word in turn, ROUNDS times in all: a model of caches that counts anything but ROUNDS transfers of
 * that line is wrong. fault, mprotect, read: as many threads as CPUs, each in memory of its own, or
 * with a descriptor of its own, ROUNDS times: first stores to pages, two changes of a page's
 * permissions, reads of a byte. The region begins when all are ready, and ends when all are done. loop: between the marks 2 * ROUNDS + 1 instructions of the program.
 *
 * The marks are instructions that do nothing: `and 30,30,30` begins, `and 31,31,31` ends.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MARK_BEGIN() __asm__ volatile("and 30,30,30" ::: "memory")
#define MARK_END() __asm__ volatile("and 31,31,31" ::: "memory")
#define LINE 128

struct pair {
	_Alignas(LINE) int there[2];
	int back[2];
	/* Set before the last token. */
	int is_last;
	_Alignas(LINE) atomic_uint word;
};

enum { WARM_UP = 20 };
static const char *kind = "pipe";
static int rounds = 200;
static long cpus;
static struct pair *pairs;
static _Alignas(LINE) atomic_uint playing;
/* Written twice, read in each round. */
static _Alignas(LINE) atomic_uint has_begun;
static atomic_uint is_over;
static _Alignas(LINE) atomic_uint word;
static _Alignas(LINE) atomic_uint has_read;

static void check(int holds, const char *what)
{
	if (!holds) {
		perror(what);
		exit(1);
	}
}

static void bind_to(long cpu)
{
	size_t size = CPU_ALLOC_SIZE(cpu + 1);
	cpu_set_t *set = CPU_ALLOC(cpu + 1);
	CPU_ZERO_S(size, set);
	CPU_SET_S(cpu, size, set);
	check(sched_setaffinity(0, size, set) == 0, "sched_setaffinity");
	CPU_FREE(set);
}

static void await(struct pair *pair, unsigned mine)
{
	char token;
	if (kind[0] == 'f')
		while (atomic_load(&pair->word) != mine)
			syscall(SYS_futex, &pair->word, FUTEX_WAIT_PRIVATE, !mine, NULL, NULL, 0);
	else
		check(read(mine ? pair->there[0] : pair->back[0], &token, 1) == 1, "read");
}

static void pass(struct pair *pair, unsigned mine)
{
	if (kind[0] == 'f') {
		atomic_store(&pair->word, !mine);
		syscall(SYS_futex, &pair->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	} else {
		check(write(mine ? pair->back[1] : pair->there[1], "", 1) == 1, "write");
	}
}

static void *lead(struct pair *pair)
{
	int played = 0;
	for (int i = 0; !atomic_load_explicit(&is_over, memory_order_relaxed); i++) {
		if (i == WARM_UP && atomic_fetch_add(&playing, 1) + 1 == cpus / 2) {
			MARK_BEGIN();
			atomic_store(&has_begun, 1);
		}
		pass(pair, 0);
		await(pair, 0);
		played += atomic_load_explicit(&has_begun, memory_order_relaxed);
		if (played == rounds) {
			MARK_END();
			atomic_store(&is_over, 1);
		}
	}
	pair->is_last = 1;
	pass(pair, 0);
	return NULL;
}

static void *play(void *number)
{
	long me = (long)number;
	struct pair *pair = &pairs[me / 2];
	bind_to(me);
	if (me % 2 == 0)
		return lead(pair);
	for (await(pair, 1); !pair->is_last; await(pair, 1))
		pass(pair, 1);
	return NULL;
}

static void *store_by_turns(void *number)
{
	unsigned me = (long)number;
	bind_to(me);
	/*
	 * Both run before time slows down. Before the first store the other CPU has read the line: that
	 * store is a transfer, too.
	 */
	atomic_fetch_add(&playing, 1);
	while (atomic_load(&playing) != 2)
		;
	if (me == 0) {
		MARK_BEGIN();
		atomic_store(&has_begun, 1);
		while (!atomic_load(&has_read))
			;
	} else {
		while (!atomic_load(&has_begun))
			;
		atomic_load(&word);
		atomic_store(&has_read, 1);
	}
	for (int i = 0; i < rounds; i++) {
		if ((i & 1) != (int)me)
			continue;
		while (atomic_load(&word) != (unsigned)i)
			;
		atomic_store(&word, i + 1);
	}
	if (me == (unsigned)(rounds - 1) % 2)
		MARK_END();
	return NULL;
}

enum { TABLE_SPAN = 2 << 20 };

/* Memory that no other thread's page table serves, with its first page touched. */
static char *own_memory(size_t bytes)
{
	size_t all = (bytes + TABLE_SPAN - 1) / TABLE_SPAN * TABLE_SPAN;
	char *at = mmap(NULL, all + TABLE_SPAN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(at != MAP_FAILED, "mmap");
	at += -(size_t)at % TABLE_SPAN;
	*(volatile char *)at = 1;
	return at;
}

static void work(char *own, long page, int zeroes)
{
	char byte;
	for (int i = 1; i <= rounds; i++) {
		if (kind[0] == 'r')
			check(read(zeroes, &byte, 1) == 1, "read");
		else if (kind[0] == 'f')
			*(volatile char *)(own + i * page) = 1;
		else
			check(mprotect(own, page, PROT_READ) == 0 && mprotect(own, page, PROT_READ | PROT_WRITE) == 0,
			      "mprotect");
	}
}

static void *work_alone(void *number)
{
	long page = sysconf(_SC_PAGESIZE);
	bind_to((long)number);
	char *own = own_memory((rounds + 1) * page);
	int zeroes = open("/dev/zero", O_RDONLY);
	check(zeroes >= 0, "/dev/zero");
	if (atomic_fetch_add(&playing, 1) + 1 == cpus) {
		MARK_BEGIN();
		atomic_store(&has_begun, 1);
	}
	while (!atomic_load_explicit(&has_begun, memory_order_relaxed))
		;
	work(own, page, zeroes);
	if (atomic_fetch_add(&has_read, 1) + 1 == cpus) {
		MARK_END();
		atomic_store(&is_over, 1);
	}
	while (!atomic_load_explicit(&is_over, memory_order_relaxed))
		;
	return NULL;
}

static void loop(void)
{
	long count = rounds;
	__asm__ volatile("and 30,30,30\n\tmtctr %0\n1:\taddi %0,%0,1\n\tbdnz 1b\n\tand 31,31,31"
			 : "+b"(count) : : "ctr");
}

int main(int argc, char **argv)
{
	if (argc > 1)
		kind = argv[1];
	if (argc > 2)
		rounds = atoi(argv[2]);
	if (kind[0] == 'l' && kind[1] == 'o') {
		loop();
		return 0;
	}
	int is_line = kind[0] == 'l';
	void *(*body)(void *) = is_line ? store_by_turns : strstr("fault mprotect read", kind) ? work_alone : play;
	cpus = is_line ? 2 : sysconf(_SC_NPROCESSORS_ONLN) & ~1L;
	pairs = aligned_alloc(LINE, sizeof *pairs * (cpus / 2 + 1));
	for (long i = 0; i < cpus / 2; i++) {
		pairs[i].is_last = 0;
		atomic_init(&pairs[i].word, 0);
		check(pipe(pairs[i].there) == 0 && pipe(pairs[i].back) == 0, "pipe");
	}
	pthread_t *threads = calloc(cpus + 1, sizeof *threads);
	for (long i = 0; i < cpus; i++)
		check(pthread_create(&threads[i], NULL, body, (void *)i) == 0, "pthread_create");
	for (long i = 0; i < cpus; i++)
		pthread_join(threads[i], NULL);
	printf("headline: %s, %d rounds\n", kind, rounds);
	return 0;
}
