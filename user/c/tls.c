/* Thread-local variables: initialised for each thread, and separate. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 6, ROUNDS = 1000 };

static __thread int counter = 5;
static __thread char text[32] = "initial";
static __thread long zero[100];
static pthread_key_t key;
static int destroyed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void destroy(void *value)
{
	pthread_mutex_lock(&lock);
	destroyed += *(int *)value;
	pthread_mutex_unlock(&lock);
}

static void *run(void *argument)
{
	int number = *(int *)argument, good = counter == 5 && text[0] == 'i' && zero[99] == 0;

	pthread_setspecific(key, argument);
	for (int i = 0; i < ROUNDS; i++) {
		counter += number;
		zero[i % 100] += number;
		/* errno is thread-local too. */
		errno = number;
		if (i % 100 == 0)
			usleep(10);
		good &= errno == number || i % 100 == 0;
	}
	good &= counter == 5 + ROUNDS * number && zero[99] == ROUNDS / 100 * number;
	good &= pthread_getspecific(key) == argument;
	*(int *)argument = good;
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	int numbers[THREADS], status;

	pthread_key_create(&key, destroy);
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i + 1;
		pthread_create(&threads[i], NULL, run, &numbers[i]);
	}
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		printf("thread %d: %d\n", i, numbers[i]);
	}
	printf("destroyed: %d\n", destroyed);
	printf("main: %d %s %ld\n", counter, text, zero[99]);
	counter = 77;
	fflush(stdout);
	if (fork() == 0)
		_exit(counter++ == 77 ? 0 : 1);
	wait(&status);
	printf("child: %d, parent: %d\n", WEXITSTATUS(status), counter);
	return 0;
}
