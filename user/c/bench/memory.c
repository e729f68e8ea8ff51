/* Page faults, mprotect(2), mmap(2), munmap(2) and membarrier(2); and the shortest system call. */
#define _GNU_SOURCE
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define LARGE (16UL << 20)

static size_t page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

static volatile char *map(size_t size)
{
	void *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(area != MAP_FAILED, "mmap");
	return area;
}

static void unmap(volatile char *area, size_t size)
{
	check(munmap((void *)area, size) == 0, "munmap");
}

static void populate(volatile char *area, size_t size)
{
	for (size_t at = 0, step = page_size(); at < size; at += step)
		area[at] = 1;
}

static void run_getppid(int count)
{
	begin();
	for (int i = 0; i < count; i++)
		getppid();
	end();
}

static void run_fault_read(int count)
{
	size_t step = page_size(), size = count * step;
	volatile char *area = map(size);
	begin();
	for (size_t at = 0; at < size; at += step)
		(void)area[at];
	end();
	unmap(area, size);
}

static void run_fault_write(int count)
{
	size_t step = page_size(), size = count * step;
	volatile char *area = map(size);
	begin();
	for (size_t at = 0; at < size; at += step)
		area[at] = 1;
	end();
	unmap(area, size);
}

static void protect(volatile char *area, size_t size)
{
	check(mprotect((void *)area, size, PROT_READ) == 0, "mprotect");
	check(mprotect((void *)area, size, PROT_READ | PROT_WRITE) == 0, "mprotect");
}

static void run_mprotect(int count, size_t size)
{
	volatile char *area = map(size);
	populate(area, size);
	begin();
	for (int i = 0; i < count; i++)
		protect(area, size);
	end();
	unmap(area, size);
}

static void run_mprotect_page(int count)
{
	run_mprotect(count, page_size());
}

static void run_mprotect_16m(int count)
{
	run_mprotect(count, LARGE);
}

static void run_mprotect_fault(int count)
{
	size_t size = page_size();
	volatile char *area = map(size);
	*area = 1;
	begin();
	for (int i = 0; i < count; i++) {
		protect(area, size);
		*area = 1;
	}
	end();
	unmap(area, size);
}

/* In a process with a thread asleep on each other CPU, which is idle, and lazy on its mm. */
static void run_parked(int count, void (*run)(int count))
{
	pid_t child = fork();
	if (child == 0) {
		prepare();
		for (long cpu = 1; cpu < reach; cpu++) {
			pthread_t other;
			check(pthread_create(&other, NULL, park, (void *)cpu) == 0, "pthread_create");
		}
		let_idle();
		run(count);
		_exit(0);
	}
	check(child > 0 && waitpid(child, NULL, 0) == child, "fork");
}

static void run_mprotect_parked(int count)
{
	run_parked(count, run_mprotect_page);
}

static void run_mmap_touch_munmap(int count)
{
	size_t size = page_size();
	begin();
	for (int i = 0; i < count; i++) {
		volatile char *area = map(size);
		*area = 1;
		unmap(area, size);
	}
	end();
}

static void run_munmap_parked(int count)
{
	run_parked(count, run_mmap_touch_munmap);
}

static void run_munmap_16m(int count)
{
	for (int i = 0; i < count; i++) {
		volatile char *area = map(LARGE);
		populate(area, LARGE);
		begin();
		unmap(area, LARGE);
		end();
	}
}

static atomic_int busy, is_over;

static void *be_busy(void *cpu)
{
	bind_to((long)cpu);
	atomic_fetch_add(&busy, 1);
	while (!atomic_load_explicit(&is_over, memory_order_relaxed))
		RELAX();
	return NULL;
}

static long membarrier(int command)
{
	return syscall(SYS_membarrier, command, 0, 0);
}

static void run_membarrier_busy(int count)
{
	pthread_t *threads = calloc(cpus, sizeof *threads);
	check(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0, "membarrier");
	atomic_store(&busy, 0);
	atomic_store(&is_over, 0);
	for (long cpu = 1; cpu < reach; cpu++)
		check(pthread_create(&threads[cpu], NULL, be_busy, (void *)cpu) == 0, "pthread_create");
	/* They begin on this CPU. */
	while (atomic_load(&busy) < reach - 1)
		sched_yield();
	begin();
	for (int i = 0; i < count; i++)
		check(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0, "membarrier");
	end();
	atomic_store(&is_over, 1);
	for (int cpu = 1; cpu < reach; cpu++)
		pthread_join(threads[cpu], NULL);
	free(threads);
}

const struct operation memory_operations[] = {
	{ "getppid", 500, 1, run_getppid },
	{ "fault_read", 256, 1, run_fault_read },
	{ "fault_write", 256, 1, run_fault_write },
	{ "mprotect_page", 100, 1, run_mprotect_page },
	{ "mprotect_page_fault", 100, 1, run_mprotect_fault },
	{ "mprotect_16m", 2, 1, run_mprotect_16m },
	{ "mmap_touch_munmap", 100, 1, run_mmap_touch_munmap },
	{ "munmap_16m", 2, 1, run_munmap_16m },
	{ "membarrier_busy", 50, 2, run_membarrier_busy },
	/* They fork: behind rows that would then look at pages one by one. */
	{ "mprotect_parked", 100, 2, run_mprotect_parked },
	{ "munmap_parked", 100, 2, run_munmap_parked },
	{ 0 },
};
