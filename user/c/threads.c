/* pthreads: create and join, a counter under a mutex, a condition variable. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 8, INCREMENTS = 20000, ITEMS = 1000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static long counter;
static int slot, slot_full;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int onces;

static void count_once(void)
{
	onces++;
}

static void *count(void *argument)
{
	pthread_once(&once, count_once);
	pthread_barrier_wait(&barrier);
	for (int i = 0; i < INCREMENTS; i++) {
		pthread_mutex_lock(&lock);
		counter++;
		pthread_mutex_unlock(&lock);
	}
	/* Memory allocated by one thread, freed by another. */
	int *result = malloc(sizeof *result);
	*result = *(int *)argument * 3;
	return result;
}

static void *produce(void *argument)
{
	for (int i = 1; i <= ITEMS; i++) {
		pthread_mutex_lock(&lock);
		while (slot_full)
			pthread_cond_wait(&changed, &lock);
		slot = i;
		slot_full = 1;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	return argument;
}

int main(void)
{
	pthread_t threads[THREADS];
	int numbers[THREADS];
	long sum = 0;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		if (pthread_create(&threads[i], NULL, count, &numbers[i]))
			return puts("pthread_create failed"), 1;
	}
	for (int i = 0; i < THREADS; i++) {
		void *result;
		pthread_join(threads[i], &result);
		printf("thread %d: %d\n", i, *(int *)result);
		free(result);
	}
	printf("counter %ld, once %d\n", counter, onces);

	pthread_create(&threads[0], NULL, produce, NULL);
	for (int i = 1; i <= ITEMS; i++) {
		pthread_mutex_lock(&lock);
		while (!slot_full)
			pthread_cond_wait(&changed, &lock);
		sum += slot;
		slot_full = 0;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
	}
	pthread_join(threads[0], NULL);
	printf("sum of %d items: %ld\n", ITEMS, sum);

	/* Many short lives: stacks and ids are reused. */
	for (int i = 0; i < 100; i++) {
		pthread_barrier_destroy(&barrier);
		pthread_barrier_init(&barrier, NULL, 1);
		void *result;
		pthread_create(&threads[0], NULL, count, &numbers[1]);
		pthread_join(threads[0], &result);
		free(result);
	}
	printf("counter %ld\n", counter);
	return 0;
}
