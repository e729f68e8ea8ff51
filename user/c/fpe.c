/* SIGFPE for the floating-point exceptions that a program enables, and for no other. */
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static sigjmp_buf back;
static volatile int code;

static void caught(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	code = info->si_code;
	siglongjmp(back, 1);
}

/* Clears all exceptions and enables these. */
static void set_fpscr(uint64_t bits)
{
	double value;

	memcpy(&value, &bits, sizeof(value));
	__asm__ volatile("mtfsf 255, %0" : : "f"(value));
}

/* Raises each exception, in the order of `kinds`. */
static void raise_one(int kind)
{
	volatile double zero = 0, one = 1, three = 3, big = 1e300, small = 1e-300, infinite = INFINITY, result;

	switch (kind) {
	case 0: result = one / zero; break;
	case 1: result = infinite - infinite; break;
	case 2: result = big * big; break;
	case 3: result = small * small; break;
	case 4: result = one / three; break;
	}
	(void)result;
}

/* The si_code of the signal for an exception, 0 for no signal. */
static int code_of(int kind, uint64_t fpscr)
{
	code = 0;
	if (sigsetjmp(back, 1) == 0) {
		set_fpscr(fpscr);
		raise_one(kind);
	}
	set_fpscr(0);
	return code;
}

int main(void)
{
	/* The bits of the FPSCR that enable them: ZE, VE, OE, UE, XE. */
	static const uint64_t kinds[] = { 0x10, 0x80, 0x40, 0x20, 0x08 };
	static const char *const names[] = { "division by zero", "invalid", "overflow", "underflow", "inexact" };
	struct sigaction action = { .sa_sigaction = caught, .sa_flags = SA_SIGINFO };

	sigaction(SIGFPE, &action, NULL);
	for (int kind = 0; kind < 5; kind++) {
		int without = code_of(kind, 0), with = code_of(kind, kinds[kind]);

		/* FPE_FLTINV; qemu-ppc64 has a code for each invalid operation. */
		if (kind == 1)
			with = with != 0 ? 7 : 0;
		printf("%s: code %d, if enabled %d\n", names[kind], without, with);
	}
	return 0;
}
