/* Writers of one file: appends never mix, and readers see only bytes that were written. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Records that cross pages: a write of one takes long enough to meet another. */
enum { WRITERS = 4, RECORDS = 120, RECORD = 5000, BLOCK = 3 * 4096 + 100, READS = 400, PIECE = 256 };

static char dir[] = "/tmp/raceXXXXXX";

static void check(int good, const char *what)
{
	if (!good) {
		printf("failed: %s\n", what);
		fflush(stdout);
		_exit(1);
	}
}

/* How many writers are ready: none begins before all are. */
static atomic_int *gathered;

/* Writes the records of one writer, each filled with the writer's letter. */
static void write_records(int fd, int writer, int odd_ways)
{
	char record[RECORD];
	memset(record, 'a' + writer, sizeof record);
	atomic_fetch_add(gathered, 1);
	while (atomic_load(gathered) < WRITERS)
		sched_yield();
	struct iovec halves[2] = { { record, 5 }, { record + 5, RECORD - 5 } };
	for (int i = 0; i < RECORDS; i++) {
		ssize_t count = odd_ways && i % 3 == 1 ? pwrite(fd, record, RECORD, 0)
			      : odd_ways && i % 3 == 2 ? writev(fd, halves, 2)
						       : write(fd, record, RECORD);
		check(count == RECORD, "write");
	}
}

static void count_records(const char *what)
{
	char record[RECORD];
	int records = 0, torn = 0, of[WRITERS] = { 0 };
	int fd = open(what, O_RDONLY);
	while (read(fd, record, RECORD) == RECORD) {
		int whole = record[0] >= 'a' && record[0] < 'a' + WRITERS;
		for (int i = 1; i < RECORD; i++)
			whole &= record[i] == record[0];
		records++;
		torn += !whole;
		if (whole)
			of[record[0] - 'a']++;
	}
	close(fd);
	printf("%s: %d records, %d torn, each", what, records, torn);
	for (int i = 0; i < WRITERS; i++)
		printf(" %d", of[i]);
	printf("\n");
	check(!torn && records == WRITERS * RECORDS, what);
}

/* Several processes append, each with its own descriptor or all with one. */
static void append(const char *what, int own, int flags)
{
	int shared = open(what, O_CREAT | O_RDWR | flags, 0600), status;
	check(shared >= 0, "open");
	gathered = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fflush(stdout);
	for (int writer = 0; writer < WRITERS; writer++)
		if (fork() == 0) {
			int fd = own ? open(what, O_WRONLY | flags) : shared;
			write_records(fd, writer, flags & O_APPEND);
			_exit(0);
		}
	while (wait(&status) > 0)
		check(status == 0, "a writer");
	close(shared);
	count_records(what);
}

/* A file that is emptied and written again is never seen with zeroes in it, though every page of
   the writer's buffer must first be faulted in. */
static void cut_and_write(void)
{
	static char block[BLOCK], seen[BLOCK];
	atomic_int *enough = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status, odd = 0;
	memset(block, 'w', sizeof block);
	int fd = open("cut", O_CREAT | O_RDWR, 0600), from = open("block", O_CREAT | O_RDWR, 0600);
	check(write(from, block, BLOCK) == BLOCK, "write");
	fflush(stdout);
	if (fork() == 0) {
		int writer = open("cut", O_WRONLY | O_APPEND);
		while (!atomic_load(enough)) {
			char *map = mmap(NULL, BLOCK, PROT_READ, MAP_SHARED, from, 0);
			check(ftruncate(writer, 0) == 0, "ftruncate");
			check(write(writer, map, BLOCK) == BLOCK, "write");
			munmap(map, BLOCK);
		}
		_exit(0);
	}
	for (int reads = 0; reads < READS;) {
		ssize_t count = pread(fd, seen, BLOCK, 0);
		check(count >= 0, "pread");
		for (ssize_t i = 0; i < count; i++)
			odd += seen[i] != 'w';
		reads += count > 0;
	}
	atomic_store(enough, 1);
	check(wait(&status) > 0 && status == 0, "the writer");
	printf("cut and written: %d bytes that nobody wrote\n", odd);
	check(!odd, "cut and written");
}

static unsigned char pieces[2 * PIECE];
static atomic_int reads, done;

static void *read_prefixes(void *odd)
{
	unsigned char seen[2 * PIECE];
	while (!atomic_load(&done)) {
		int fd = open("pieces", O_RDONLY);
		ssize_t count = fd < 0 ? 0 : read(fd, seen, sizeof seen);
		if (count > 0 && memcmp(seen, pieces, count))
			++*(int *)odd;
		if (count > 0)
			atomic_fetch_add(&reads, 1);
		if (fd >= 0)
			close(fd);
	}
	return NULL;
}

/* A writev from pages that must be faulted in shows readers a prefix, nothing else. */
static void faulting_pieces(void)
{
	pthread_t reader;
	int odd = 0;
	for (int i = 0; i < 2 * PIECE; i++)
		pieces[i] = i | 1;
	int from = open("from", O_CREAT | O_RDWR, 0600);
	check(write(from, pieces, sizeof pieces) == sizeof pieces, "write");
	check(!pthread_create(&reader, NULL, read_prefixes, &odd), "pthread_create");
	while (atomic_load(&reads) < READS) {
		int to = open("pieces", O_CREAT | O_WRONLY | O_TRUNC, 0600);
		char *map = mmap(NULL, sizeof pieces, PROT_READ, MAP_SHARED, from, 0);
		struct iovec vector[] = { { pieces, 0 }, { map, PIECE }, { pieces, 0 }, { map + PIECE, PIECE } };
		check(writev(to, vector, 4) == 2 * PIECE, "writev");
		munmap(map, sizeof pieces);
		close(to);
	}
	atomic_store(&done, 1);
	pthread_join(reader, NULL);
	printf("faulting pieces: %d odd reads\n", odd);
	check(!odd, "faulting pieces");
}

/* A write to a file, over its end, from a mapping of that file. */
static void own_pages(void)
{
	int fd = open("own", O_CREAT | O_RDWR, 0600);
	static char page[65536];
	memset(page, 'x', sizeof page);
	check(write(fd, page, sizeof page) == sizeof page, "write");
	char *map = mmap(NULL, sizeof page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	check(pwrite(fd, map, sizeof page, sizeof page / 2) == sizeof page, "a write from its own pages");
	printf("own pages: %ld bytes\n", (long)lseek(fd, 0, SEEK_END));
	munmap(map, sizeof page);
	close(fd);
}

/* Bytes that were cut off, or stored behind the end through a mapping, are zeroes when the file
   grows again, by any call. */
static void shrink_and_grow(void)
{
	int fd = open("grow", O_CREAT | O_RDWR, 0600);
	static char page[10000], seen[12000];
	for (int way = 0; way < 3; way++) {
		int odd = 0;
		memset(page, 'z', sizeof page);
		check(pwrite(fd, page, sizeof page, 0) == sizeof page, "pwrite");
		ftruncate(fd, 100);
		char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		for (int i = 100; i < 200; i++)
			odd += map[i] != 0;
		memset(map + 100, 'q', 100);
		munmap(map, 4096);
		if (way == 0)
			ftruncate(fd, 12000);
		else if (way == 1)
			pwrite(fd, "!", 1, 11999);
		else
			posix_fallocate(fd, 0, 12000);
		ssize_t count = pread(fd, seen, sizeof seen, 0);
		for (int i = 100; i < 11999; i++)
			odd += seen[i] != 0;
		printf("way %d: %zd bytes, %d not zero, last %d\n", way, count, odd, seen[11999]);
		check(!odd, "shrink and grow");
		ftruncate(fd, 0);
	}
	close(fd);
}

int main(void)
{
	check(mkdtemp(dir) != NULL && chdir(dir) == 0, "mkdtemp");
	append("own", 1, O_APPEND);
	append("shared", 0, 0);
	append("both", 0, O_APPEND);
	cut_and_write();
	faulting_pieces();
	unlink("own");
	own_pages();
	shrink_and_grow();
	const char *names[] = { "own", "shared", "both", "cut", "block", "from", "pieces", "grow" };
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
		unlink(names[i]);
	printf("rmdir: %d\n", rmdir(dir));
	return 0;
}
