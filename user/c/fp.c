/* Floating point: printf, and sums that threads and processes make at once. */
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 4, TERMS = 20000 };

/* The values stay in registers while the CPU is given away. */
static double series(int seed)
{
	double a = seed, b = 1.0 / (seed + 1), c = 0, d = seed * 0.5;

	for (int i = 1; i <= TERMS; i++) {
		c += a / i - b * i;
		d = d * 0.999 + c * 0.001;
		if (i % 500 == 0)
			sched_yield();
	}
	return c + d;
}

static void *run(void *result)
{
	*(double *)result = series((int)*(double *)result);
	return NULL;
}

int main(void)
{
	pthread_t threads[THREADS];
	double results[THREADS];
	int status;

	printf("%.17g %.17g %g %e\n", M_PI, 1.0 / 3, 1e300 * 1e10, -0.0);
	printf("%.15f %.15f %d\n", 2.0 / 7, 1e-3, (int)-2.9);
	for (int i = 0; i < THREADS; i++) {
		results[i] = i + 1;
		pthread_create(&threads[i], NULL, run, &results[i]);
	}
	printf("here: %.17g\n", series(9));
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], NULL);
		printf("thread %d: %.17g, alone %d\n", i, results[i], results[i] == series(i + 1));
	}

	double before = series(20);
	fflush(stdout);
	for (int i = 0; i < THREADS; i++)
		if (fork() == 0)
			_exit(series(20) == before && series(i) == series(i) ? 0 : 1);
	double after = series(20);
	for (int i = 0, failed = 0; i < THREADS; i++) {
		wait(&status);
		failed += status != 0;
		if (i == THREADS - 1)
			printf("processes: %d failed, here %d\n", failed, before == after);
	}
	return 0;
}
