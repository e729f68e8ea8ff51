/* Sharing with a file that cannot be written, and with a peer that is gone. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* A mapping does not make a read-only descriptor writable. */
static void mapping(const char *self)
{
	int file = open(self, O_RDONLY);
	char *shared = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
	char *copy = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, file, 0);

	printf("mapped: %d\n", shared != MAP_FAILED && copy != MAP_FAILED);
	int failed = mprotect(shared, 4096, PROT_READ | PROT_WRITE);
	printf("shared, writable: %d, EACCES %d\n", failed, failed && errno == EACCES);
	printf("copy, writable: %d\n", mprotect(copy, 4096, PROT_READ | PROT_WRITE));
	copy[0] = 'x';
	printf("the file is as it was: %d\n", shared[0] == 0x7f);
}

/* The other end of a pair of sockets is closed. */
static void sockets(void)
{
	int pair[2];
	char byte;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return perror("socketpair");
	struct pollfd watch = { pair[0], POLLIN | POLLOUT, 0 };
	printf("quiet: %d, %#x\n", poll(&watch, 1, 0), watch.revents);
	close(pair[1]);
	printf("closed: %d, %#x\n", poll(&watch, 1, -1), watch.revents);
	printf("end: %d\n", (int)read(pair[0], &byte, 1));
}

int main(int argc, char **argv)
{
	(void)argc;
	mapping(argv[0]);
	sockets();
	return 0;
}
