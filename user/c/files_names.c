/* Names: made, moved, listed, removed; and stat of their files. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static char dir[] = "/tmp/namesXXXXXX";

/* Prints a call's result: its value if it is small, or the error. */
#define SAY(call)                                                                                             \
	do {                                                                                                  \
		errno = 0;                                                                                    \
		long result = (long)(call);                                                                   \
		if (result < 0)                                                                               \
			printf("%-60s error %d\n", #call, errno);                                             \
		else                                                                                          \
			printf("%-60s %ld\n", #call, result);                                                 \
	} while (0)

static int make(const char *path)
{
	int fd = creat(path, 0644);
	if (fd < 0)
		return -1;
	ssize_t count = write(fd, path, strlen(path));
	close(fd);
	return (int)count;
}

static struct stat st;

static int links_of(const char *path)
{
	return lstat(path, &st) ? -1 : (int)st.st_nlink;
}

static int size_of(const char *path)
{
	return lstat(path, &st) ? -1 : (int)st.st_size;
}

static int rename_new(const char *from, const char *to)
{
	return renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
}

static void renaming(void)
{
	SAY(make("a"));
	SAY(make("bb"));
	SAY(rename("a", "c"));
	SAY(size_of("a"));
	SAY(rename("c", "bb"));
	SAY(size_of("bb"));
	SAY(rename("bb", "bb"));
	SAY(rename("missing", "bb"));
	SAY(rename("missing", "no/where"));
	make("a");
	SAY(rename_new("a", "bb"));
	SAY(rename_new("a", "c"));
	SAY(rename("c", "a"));
	mkdir("d", 0755);
	mkdir("d/e", 0755);
	mkdir("f", 0755);
	SAY(rename("a", "d"));
	SAY(rename("d", "a"));
	SAY(rename("d", "d/e/g"));
	SAY(rename("d", "d/g"));
	SAY(rename("d/e", "d"));
	SAY(rename("f", "d"));
	SAY(rename("d", "f"));
	SAY(rename("f", "d"));
	SAY(links_of("."));
	SAY(links_of("d"));
	mkdir("f", 0755);
	SAY(rename("d/e", "f/h"));
	SAY(links_of("d"));
	SAY(links_of("f"));
	SAY(rename("f/h", "d/e"));
	SAY(rename("a", "g/"));
	SAY(rename("a/", "g"));
	SAY(rename("f/", "g/"));
	SAY(rename("g", "f"));
	SAY(rename("a", "d/."));
	SAY(rename("a", "d/.."));
	SAY(rename("d/.", "h"));
	SAY(rename("/", "h"));
	int fd = open("d", O_RDONLY);
	SAY(renameat(AT_FDCWD, "a", fd, "a"));
	SAY(renameat(fd, "a", AT_FDCWD, "a"));
	SAY(renameat(AT_FDCWD, "a", 77, "a"));
	close(fd);
}

/* A directory that moves takes along the processes inside it. In one that is removed nothing can be
   made. */
static void moving_directories(void)
{
	char path[256];
	mkdir("m", 0755);
	mkdir("m/n", 0755);
	mkdir("to", 0755);
	SAY(chdir("m/n"));
	SAY(rename("../../m/n", "../../to/moved"));
	SAY(getcwd(path, sizeof path) && !strcmp(path + strlen(dir), "/to/moved"));
	SAY(rename("../../to", "../../too"));
	SAY(getcwd(path, sizeof path) && !strcmp(path + strlen(dir), "/too/moved"));
	SAY(make("../inside"));
	SAY(size_of("../../too/inside"));
	SAY(rmdir("../moved"));
	SAY(getcwd(path, sizeof path) ? 0 : -1);
	SAY(make("x"));
	SAY(mkdir("x", 0755));
	SAY(size_of("../inside"));
	SAY(links_of("."));
	SAY(chdir(dir));
	SAY(symlink("m", "tom") | chdir("tom"));
	SAY(getcwd(path, sizeof path) && !strcmp(path + strlen(dir), "/m"));
	SAY(chdir(dir) | unlink("tom"));
	SAY(getcwd(path, 3) ? 0 : -1);
	unlink("too/inside");
	SAY(rmdir("m") | rmdir("too"));
}

static void linking(void)
{
	make("one");
	SAY(link("one", "two"));
	SAY(links_of("one"));
	SAY(link("one", "two"));
	SAY(link("d", "three"));
	SAY(link("missing", "three"));
	SAY(link("one", "three/"));
	SAY(symlink("one", "s"));
	SAY(symlink("one", "s"));
	SAY(symlink("", "t"));
	SAY(symlink("x", "t/"));
	SAY(linkat(AT_FDCWD, "s", AT_FDCWD, "to-link", 0));
	SAY(linkat(AT_FDCWD, "s", AT_FDCWD, "to-file", AT_SYMLINK_FOLLOW));
	SAY(links_of("s"));
	SAY(links_of("one"));
	SAY(size_of("s"));
	int fd = open("one", O_RDONLY);
	SAY(unlink("one"));
	SAY(unlink("two"));
	SAY(unlink("to-file"));
	SAY(fstat(fd, &st) ? -1 : (int)st.st_nlink);
	SAY(linkat(fd, "", AT_FDCWD, "again", AT_EMPTY_PATH));
	close(fd);
	SAY(unlink("s") | unlink("to-link"));
}

static void removing(void)
{
	make("file");
	symlink("d", "dlink");
	SAY(unlink("file/"));
	SAY(unlink("d"));
	SAY(unlink("d/"));
	SAY(unlink("missing"));
	SAY(unlink("missing/"));
	SAY(unlink("."));
	SAY(unlink("/"));
	SAY(rmdir("file"));
	SAY(rmdir("d"));
	SAY(rmdir("d/."));
	SAY(rmdir("d/e/.."));
	SAY(rmdir("dlink"));
	SAY(rmdir("dlink/"));
	SAY(mkdir("d", 0755));
	SAY(mkdir("file", 0755));
	SAY(mkdir("/", 0755));
	SAY(mkdir("no/where", 0755));
	SAY(mkdir("file/x", 0755));
	SAY(mkdir("slash/", 0755));
	SAY(rmdir("slash/"));
	SAY(unlinkat(AT_FDCWD, "/nothing", 0));
	int fd = open("d", O_DIRECTORY);
	SAY(unlinkat(fd, "e", AT_REMOVEDIR));
	char path[64];
	snprintf(path, sizeof path, "%s/file", dir);
	SAY(unlinkat(fd, path, 0));
	close(fd);
	unlink("dlink");
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char **)a, *(char **)b);
}

/* Prints all names with their types, sorted. The kernel chooses the number of reads. */
static void list(const char *path)
{
	char *names[64], line[300];
	int count = 0;
	DIR *d = opendir(path);
	for (struct dirent *entry; (entry = readdir(d));) {
		struct stat of;
		fstatat(dirfd(d), entry->d_name, &of, AT_SYMLINK_NOFOLLOW);
		int inode = of.st_ino == entry->d_ino || !strcmp(entry->d_name, "..");
		snprintf(line, sizeof line, "%s %d %s", entry->d_name, entry->d_type, inode ? "" : "odd inode");
		names[count++] = strdup(line);
	}
	rewinddir(d);
	SAY(readdir(d) != NULL);
	closedir(d);
	qsort(names, count, sizeof *names, by_name);
	for (int i = 0; i < count; i++)
		printf("%s\n", names[i]);
}

/* A removal between two reads drops no other name, and a name that stays is listed once. */
static void listing(void)
{
	char name[32], buffer[300];
	int seen[200] = { 0 }, gone[200] = { 0 }, missing = 0, twice = 0, others = 0;
	mkdir("many", 0755);
	chdir("many");
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof name, "%d-%d", i * 7919 % 200, i);
		close(creat(name, 0600));
	}
	int fd = open(".", O_RDONLY);
	SAY(syscall(SYS_getdents64, fd, buffer, 20));
	long count;
	while ((count = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0)
		for (long at = 0; at < count;) {
			struct dirent *entry = (void *)(buffer + at);
			int n;
			at += entry->d_reclen;
			if (sscanf(entry->d_name, "%*d-%d", &n) != 1) {
				others++;
				continue;
			}
			twice += seen[n]++;
			unlink(entry->d_name);
			snprintf(name, sizeof name, "%d-%d", (n + 1) * 7919 % 200, n + 1);
			/* It may be read already. */
			if (n % 10 == 0 && n + 1 < 200)
				gone[n + 1] = unlink(name) == 0;
		}
	for (int i = 0; i < 200; i++)
		missing += !seen[i] && !gone[i];
	printf("at the end %ld, %d twice, %d missing, %d others\n", count, twice, missing, others);
	lseek(fd, 0, SEEK_SET);
	SAY(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
	chdir("..");
	SAY(rmdir("many"));
	SAY(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
	close(fd);
	fd = open("bb", O_RDONLY);
	SAY(syscall(SYS_getdents64, fd, buffer, sizeof buffer));
	close(fd);
}

static void attributes(void)
{
	struct timespec now, times[2] = { { 1234567890, 123456789 }, { 1111111111, 1 } };
	clock_gettime(CLOCK_REALTIME, &now);
	/* Linux stamps a file with the time of its last tick, which may lie in the second before. */
	now.tv_sec--;
	make("file");
	SAY(chmod("file", 07751));
	SAY(stat("file", &st) ? -1 : (int)st.st_mode);
	SAY(chown("file", 5, 6));
	SAY(stat("file", &st) ? -1 : (int)(st.st_uid * 100 + st.st_gid));
	SAY((int)st.st_mode);
	SAY(chown("file", -1, 7));
	SAY(stat("file", &st) ? -1 : (int)(st.st_uid * 100 + st.st_gid));
	symlink("file", "s");
	SAY(lchown("s", 8, 9));
	SAY(stat("s", &st) ? -1 : (int)(st.st_uid * 100 + st.st_gid));
	SAY(lstat("s", &st) ? -1 : (int)(st.st_uid * 100 + st.st_gid));
	SAY(fchownat(AT_FDCWD, "s", 1, 2, AT_SYMLINK_NOFOLLOW));
	SAY(fchmodat(AT_FDCWD, "s", 0600, 0));
	SAY(stat("file", &st) ? -1 : (int)st.st_mode);
	SAY(chmod("missing", 0));
	int fd = open("file", O_RDONLY);
	SAY(fchmod(fd, 0640));
	SAY(fchown(fd, 1, 1));
	SAY(fstat(fd, &st) ? -1 : (int)(st.st_mode + st.st_uid + st.st_gid));
	SAY(st.st_mtim.tv_sec >= now.tv_sec && st.st_ctim.tv_sec >= now.tv_sec);
	SAY(futimens(fd, times));
	SAY(fstat(fd, &st) ? -1 : 0);
	printf("times %ld.%09ld %ld.%09ld, changed now %d\n", (long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
	       (long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, st.st_ctim.tv_sec >= now.tv_sec);
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_nsec = UTIME_NOW;
	SAY(utimensat(AT_FDCWD, "file", times, 0));
	SAY(stat("file", &st) ? -1 : (long)st.st_atim.tv_sec);
	SAY(st.st_mtim.tv_sec >= now.tv_sec);
	times[1].tv_nsec = UTIME_OMIT;
	SAY(utimensat(AT_FDCWD, "missing", times, 0));
	times[1].tv_nsec = 1000000000;
	SAY(utimensat(AT_FDCWD, "file", times, 0));
	SAY(utimensat(AT_FDCWD, "file", NULL, 0x20));
	SAY(utimensat(AT_FDCWD, "missing", NULL, 0));
	times[0] = times[1] = (struct timespec){ 1, 0 };
	SAY(utimensat(AT_FDCWD, "s", times, AT_SYMLINK_NOFOLLOW));
	SAY(lstat("s", &st) ? -1 : (long)st.st_mtim.tv_sec);
	close(fd);
	fd = open("file", O_RDWR);
	futimens(fd, times);
	SAY(write(fd, "x", 1));
	SAY(fstat(fd, &st) ? -1 : st.st_mtim.tv_sec >= now.tv_sec);
	futimens(fd, times);
	SAY(ftruncate(fd, 100000));
	SAY(fstat(fd, &st) ? -1 : st.st_mtim.tv_sec >= now.tv_sec);
	SAY(st.st_blocks * 512 < 100000);
	SAY(posix_fallocate(fd, 0, 100000));
	SAY(fstat(fd, &st) ? -1 : st.st_blocks * 512 >= 100000);
	close(fd);
	SAY(unlink("s"));
	struct statfs fs;
	SAY(statfs(".", &fs));
	SAY(fs.f_blocks > 0 && fs.f_bfree <= fs.f_blocks && fs.f_bsize >= 4096 && fs.f_namelen == 255);
	SAY(statfs("missing", &fs));
	SAY(fstatfs(77, &fs));
	SAY(access("/dev/shm", W_OK) | access("/tmp", W_OK));
	SAY(stat("/tmp", &st) ? -1 : (int)st.st_mode);
	SAY(stat("/dev/shm", &st) ? -1 : (int)st.st_mode);
}

int main(void)
{
	umask(022);
	if (!mkdtemp(dir) || chdir(dir))
		return 1;
	renaming();
	moving_directories();
	linking();
	removing();
	symlink("bb", "slink");
	list(".");
	list("d");
	unlink("slink");
	listing();
	attributes();
	SAY(unlink("a") | unlink("bb") | unlink("file"));
	SAY(rmdir("d") | rmdir("f"));
	SAY(chdir("/") | rmdir(dir));
	return 0;
}
