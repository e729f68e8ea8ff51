/* Arguments and environment as the C library passes them on. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/');

	printf("hello from %s\n", name ? name + 1 : argv[0]);
	for (int i = 1; i < argc; i++)
		printf("argv[%d] = %s\n", i, argv[i]);
	printf("argv[argc] is %s\n", argv[argc] ? "not null" : "null");
	if (setenv("COLOUR", "blue", 1))
		return 1;
	printf("COLOUR = %s\n", getenv("COLOUR"));
	printf("NOTHING is %s\n", getenv("NOTHING") ? "set" : "not set");
	return argc - 1;
}
