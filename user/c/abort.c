/* Ends by abort(): the status is the output. */
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	puts("about to abort");
	fflush(stdout);
	abort();
}
