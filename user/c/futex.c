/* The futex call itself, shared and private, by threads. */
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { SLEEPERS = 4 };

static atomic_uint word, out;

static long futex(atomic_uint *at, int op, unsigned value, const struct timespec *limit)
{
	return syscall(SYS_futex, at, op, value, limit, NULL, 0);
}

static const char *answer(long result)
{
	return result >= 0 ? "0 or more" : errno == EAGAIN ? "EAGAIN" : errno == ETIMEDOUT ? "ETIMEDOUT"
	       : errno == EFAULT ? "EFAULT" : errno == EINVAL ? "EINVAL" : strerror(errno);
}

static void *sleeper(void *private)
{
	int flag = private ? FUTEX_PRIVATE_FLAG : 0;

	while (futex(&word, FUTEX_WAIT | flag, 0, NULL) < 0 && errno == EINTR)
		;
	atomic_fetch_add(&out, 1);
	return NULL;
}

int main(void)
{
	struct timespec limit = { 0, 3000000 }, wrong = { 0, 1000000000 };
	pthread_t threads[SLEEPERS];
	static char private;

	printf("another value: %s\n", answer(futex(&word, FUTEX_WAIT, 1, NULL)));
	printf("another value, private: %s\n", answer(futex(&word, FUTEX_WAIT_PRIVATE, 1, NULL)));
	printf("time limit: %s\n", answer(futex(&word, FUTEX_WAIT, 0, &limit)));
	printf("no time: %s\n", answer(futex(&word, FUTEX_WAIT, 0, &wrong)));
	printf("no word: %s\n", answer(futex((atomic_uint *)8, FUTEX_WAIT, 0, NULL)));
	printf("unaligned: %s\n", answer(futex((atomic_uint *)((uintptr_t)&word + 1), FUTEX_WAIT, 0, NULL)));
	printf("nobody to wake: %ld\n", futex(&word, FUTEX_WAKE, 10, NULL));

	for (int round = 0; round < 2; round++) {
		int flag = round ? FUTEX_PRIVATE_FLAG : 0;
		long woken = 0, most = 0;

		out = 0;
		for (int i = 0; i < SLEEPERS; i++)
			pthread_create(&threads[i], NULL, sleeper, round ? &private : NULL);
		/* Each sleeps once, so the wake-ups add up exactly. */
		while (woken < SLEEPERS) {
			long now = futex(&word, FUTEX_WAKE | flag, 1, NULL);
			if (now > most)
				most = now;
			woken += now;
		}
		for (int i = 0; i < SLEEPERS; i++)
			pthread_join(threads[i], NULL);
		printf("%s: woken %ld, at once %ld, out %u\n", round ? "private" : "shared", woken, most, out);
	}
	return 0;
}
