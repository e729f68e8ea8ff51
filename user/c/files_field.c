/* The calls of will-it-scale's programs on files, in their forms, by several processes and
   threads at once. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { TASKS = 4, TURNS = 40, BLOCK = 4096, FILE_BYTES = 256 * 1024 };

static void check(int good, const char *what)
{
	if (!good) {
		printf("failed: %s\n", what);
		fflush(stdout);
		_exit(1);
	}
}

/* For O_DIRECT, which on the host wants it aligned. */
static char block[BLOCK] __attribute__((aligned(BLOCK)));

/* The files of one task: one of its own, or one that all share. */
struct task {
	int number, file;
	char name[64];
};

static int open_new(struct task *task)
{
	strcpy(task->name, "/tmp/fieldXXXXXX");
	task->file = mkstemp(task->name);
	check(task->file >= 0 && ftruncate(task->file, FILE_BYTES) == 0, "a file");
	return task->file;
}

static void open_close(struct task *task)
{
	int fd = open(task->name, O_RDWR);
	check(fd >= 0 && close(fd) == 0, "open, close");
}

static void create_unlink(struct task *task)
{
	char name[80];
	snprintf(name, sizeof name, "%s.%d", task->name, task->number);
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	check(fd >= 0 && close(fd) == 0 && unlink(name) == 0, "create, unlink");
}

static void make_remove(struct task *task)
{
	char name[80];
	snprintf(name, sizeof name, "%s.d%d", task->name, task->number);
	check(mkdir(name, 0700) == 0 && rmdir(name) == 0, "mkdir, rmdir");
}

static void read_seek(struct task *task)
{
	check(lseek(task->file, 0, SEEK_SET) == 0, "lseek");
	check(read(task->file, block, BLOCK) == BLOCK, "read");
}

static void write_seek(struct task *task)
{
	check(lseek(task->file, 0, SEEK_SET) == 0, "lseek");
	check(write(task->file, block, BLOCK) == BLOCK, "write");
}

static void read_all(struct task *task)
{
	for (off_t at = 0; at < FILE_BYTES; at += BLOCK)
		check(pread(task->file, block, BLOCK, at) == BLOCK, "pread");
	check(pread(task->file, block, BLOCK, FILE_BYTES) == 0, "pread at the end");
}

static void write_all(struct task *task)
{
	for (off_t at = 0; at < FILE_BYTES; at += BLOCK)
		check(pwrite(task->file, block, BLOCK, at) == BLOCK, "pwrite");
}

static void seek_ends(struct task *task)
{
	check(lseek(task->file, 0, SEEK_END) == FILE_BYTES, "lseek to the end");
	check(lseek(task->file, task->number * BLOCK, SEEK_SET) == task->number * BLOCK, "lseek");
}

static void read_direct(struct task *task)
{
	/* A file system of the host may lack it. */
	int fd = open(task->name, O_RDWR | O_DIRECT);
	if (fd >= 0) {
		check(pread(fd, block, BLOCK, 0) == BLOCK, "a direct read");
		close(fd);
	}
}

static void lock_byte(struct task *task)
{
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = task->number, .l_len = 1 };
	check(fcntl(task->file, F_SETLKW, &lock) == 0, "F_SETLKW");
	lock.l_type = F_UNLCK;
	check(fcntl(task->file, F_SETLKW, &lock) == 0, "F_UNLCK");
}

static void allocate(struct task *task)
{
	char name[80];
	snprintf(name, sizeof name, "/dev/shm/%s.%d", task->name + strlen("/tmp/"), task->number);
	int fd = open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	unlink(name);
	check(fd >= 0 && fallocate(fd, 0, 0, FILE_BYTES) == 0 && ftruncate(fd, 0) == 0, "fallocate");
	close(fd);
}

static void duplicate(struct task *task)
{
	int fd = dup(task->file);
	check(fd >= 0 && close(fd) == 0, "dup, close");
}

static const struct {
	const char *name;
	void (*turn)(struct task *);
} programs[] = {
	{ "open", open_close },	 { "create", create_unlink }, { "mkdir", make_remove },
	{ "readseek", read_seek },	 { "writeseek", write_seek }, { "pread", read_all },
	{ "pwrite", write_all },	 { "lseek", seek_ends },	 { "direct", read_direct },
	{ "lock", lock_byte },	 { "fallocate", allocate },	 { "dup", duplicate },
};
enum { PROGRAMS = sizeof programs / sizeof *programs };

static int program;

static void *run(void *task)
{
	for (int i = 0; i < TURNS; i++)
		programs[program].turn(task);
	return NULL;
}

int main(void)
{
	struct task tasks[TASKS];
	pthread_t threads[TASKS];
	int status;
	for (program = 0; program < PROGRAMS; program++)
		/* Each with its own file, or all with one. */
		for (int shared = 0; shared < 2; shared++) {
			for (int i = 0; i < TASKS; i++) {
				if (i == 0 || !shared)
					open_new(&tasks[i]);
				else
					tasks[i] = tasks[0];
				tasks[i].number = i;
			}
			fflush(stdout);
			for (int i = 0; i < TASKS; i++)
				if (fork() == 0) {
					run(&tasks[i]);
					_exit(0);
				}
			while (wait(&status) > 0)
				check(status == 0, "a process");
			for (int i = 0; i < TASKS; i++)
				check(!pthread_create(&threads[i], NULL, run, &tasks[i]), "pthread_create");
			for (int i = 0; i < TASKS; i++)
				pthread_join(threads[i], NULL);
			for (int i = 0; i < (shared ? 1 : TASKS); i++)
				check(unlink(tasks[i].name) == 0 && close(tasks[i].file) == 0, "unlink");
			printf("%s, %s: ok\n", programs[program].name, shared ? "one file" : "own files");
		}
	return 0;
}
