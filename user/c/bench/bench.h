/*
 * What the operations share: a row of the table, the region that is measured, and threads on a CPU.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>

/* In a loop that waits for another CPU: QEMU lets the next one run. */
#define RELAX() __asm__ volatile("or 1,1,1\n\tor 2,2,2" ::: "memory")

/*
 * A row of the table. `run` makes ready, does `count` operations between begin() and end(), and cleans
 * up; it may begin and end several times.
 */
struct operation {
	const char *name;
	int count;
	/* How many CPUs it needs. */
	int cpus;
	void (*run)(int count);
};

/* The rows of each family; a row without a name ends them. */
extern const struct operation memory_operations[], switch_operations[], process_operations[];

/* The online CPUs. */
extern int cpus;
/* On how many of them, from CPU 0 on, the rows with a thread per CPU have one. */
extern int reach;
/* The path of this program. */
extern const char *own_path;

/* Has written before what begin() writes: no page is copied in it any more. */
void prepare(void);

/* The region may end in another process than it began in. */
void begin(void);
void end(void);

/* Ends the program with a message if `holds` is 0. */
void check(int holds, const char *what);

/* Binds the calling thread to a CPU. */
void bind_to(int cpu);

/* Lets the calling thread run on every CPU. */
void unbind(void);

/* Sleeps until all other CPUs have long been idle. */
void let_idle(void);

/* A thread that sleeps on its CPU, whose number is the argument, until the process ends. */
void *park(void *cpu);

/* Makes a Linux ready whose init this is, and does what the options ask for instead of rows. */
void start_linux(char **options);

/* Powers it off. */
void stop_linux(void);

#endif
