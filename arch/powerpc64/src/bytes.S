// memcpy, memmove and memset, which the compiler calls: 64 bytes in a turn. Those that
// come with Rust move 8, and are weak, so that these take their place.
//
// Leaf code without a stack. Unaligned words are the hardware's business.

// What is left of r5 modulo 64: its bits decide, from 32 down to 1.
    .macro BITS_OF_REST
    mtocrf  2, %r5
    mtocrf  1, %r5
    .endm

    .section .text.bytes, "ax", @progbits

// In: r3 = to, r4 = from, r5 = bytes. Out: r3 as it was. Upwards, every load before the
// stores of its group: memmove relies on both.
    .globl memcpy
memcpy:
    mr      %r12, %r3
    srdi.   %r0, %r5, 6
    BITS_OF_REST
    beq     2f
    mtctr   %r0
1:  ld      %r6, 0(%r4)
    ld      %r7, 8(%r4)
    ld      %r8, 16(%r4)
    ld      %r9, 24(%r4)
    ld      %r10, 32(%r4)
    ld      %r11, 40(%r4)
    ld      %r0, 48(%r4)
    ld      %r5, 56(%r4)
    addi    %r4, %r4, 64
    std     %r6, 0(%r12)
    std     %r7, 8(%r12)
    std     %r8, 16(%r12)
    std     %r9, 24(%r12)
    std     %r10, 32(%r12)
    std     %r11, 40(%r12)
    std     %r0, 48(%r12)
    std     %r5, 56(%r12)
    addi    %r12, %r12, 64
    bdnz    1b
2:  bf      26, 3f
    ld      %r6, 0(%r4)
    ld      %r7, 8(%r4)
    ld      %r8, 16(%r4)
    ld      %r9, 24(%r4)
    addi    %r4, %r4, 32
    std     %r6, 0(%r12)
    std     %r7, 8(%r12)
    std     %r8, 16(%r12)
    std     %r9, 24(%r12)
    addi    %r12, %r12, 32
3:  bf      27, 4f
    ld      %r6, 0(%r4)
    ld      %r7, 8(%r4)
    addi    %r4, %r4, 16
    std     %r6, 0(%r12)
    std     %r7, 8(%r12)
    addi    %r12, %r12, 16
4:  bf      28, 5f
    ld      %r6, 0(%r4)
    addi    %r4, %r4, 8
    std     %r6, 0(%r12)
    addi    %r12, %r12, 8
5:  bf      29, 6f
    lwz     %r6, 0(%r4)
    addi    %r4, %r4, 4
    stw     %r6, 0(%r12)
    addi    %r12, %r12, 4
6:  bf      30, 7f
    lhz     %r6, 0(%r4)
    addi    %r4, %r4, 2
    sth     %r6, 0(%r12)
    addi    %r12, %r12, 2
7:  bflr    31
    lbz     %r6, 0(%r4)
    stb     %r6, 0(%r12)
    blr

// In and out as memcpy; the two may overlap. Downwards only if the target begins inside
// the source: the difference is then less than the size, and else, as a number without
// sign, never.
    .globl memmove
memmove:
    subf    %r0, %r4, %r3
    cmpld   %r0, %r5
    bge     memcpy
    add     %r12, %r3, %r5
    add     %r4, %r4, %r5
    srdi.   %r0, %r5, 3
    beq     2f
    mtctr   %r0
1:  ldu     %r6, -8(%r4)
    stdu    %r6, -8(%r12)
    bdnz    1b
2:  andi.   %r5, %r5, 7
    beqlr
    mtctr   %r5
3:  lbzu    %r6, -1(%r4)
    stbu    %r6, -1(%r12)
    bdnz    3b
    blr

// In: r3 = to, r4 = a byte, r5 = bytes. Out: r3 as it was.
    .globl memset
memset:
    mr      %r12, %r3
    rldimi  %r4, %r4, 8, 48
    rldimi  %r4, %r4, 16, 32
    rldimi  %r4, %r4, 32, 0
    srdi.   %r0, %r5, 6
    BITS_OF_REST
    beq     2f
    mtctr   %r0
1:  std     %r4, 0(%r12)
    std     %r4, 8(%r12)
    std     %r4, 16(%r12)
    std     %r4, 24(%r12)
    std     %r4, 32(%r12)
    std     %r4, 40(%r12)
    std     %r4, 48(%r12)
    std     %r4, 56(%r12)
    addi    %r12, %r12, 64
    bdnz    1b
2:  bf      26, 3f
    std     %r4, 0(%r12)
    std     %r4, 8(%r12)
    std     %r4, 16(%r12)
    std     %r4, 24(%r12)
    addi    %r12, %r12, 32
3:  bf      27, 4f
    std     %r4, 0(%r12)
    std     %r4, 8(%r12)
    addi    %r12, %r12, 16
4:  bf      28, 5f
    std     %r4, 0(%r12)
    addi    %r12, %r12, 8
5:  bf      29, 6f
    stw     %r4, 0(%r12)
    addi    %r12, %r12, 4
6:  bf      30, 7f
    sth     %r4, 0(%r12)
    addi    %r12, %r12, 2
7:  bflr    31
    stb     %r4, 0(%r12)
    blr
