# The first instructions of a program.
#
# In:  r1 = the stack as the kernel built it: argc, argv[], 0, envp[], 0, auxv.
#      Nothing else is relied upon (Linux also gives r12 = this address).
# Out: start(r1) is called with a frame below the vectors; it does not return.

    .section .text.start, "ax", @progbits
    .globl _start
    .type _start, @function
_start:
    lis     2, .TOC.@ha             # linked below 2 GB: the TOC is a constant
    addi    2, 2, .TOC.@l
    mr      3, 1
    clrrdi  1, 1, 4
    li      0, 0
    mtlr    0
    stdu    0, -32(1)               # back chain 0: here backtraces end
    bl      start
    trap
    .size _start, . - _start
