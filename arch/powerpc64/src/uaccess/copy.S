// Access to user memory. Every routine opens the AMR, touches user memory in
// ranges listed in __ex_table, and closes the AMR. A fault that the kernel cannot
// resolve goes on at the range's fixup, with the registers as the faulting
// instruction found them. Leaf code: no stack, no calls; the entry code saves and
// closes the AMR if an interrupt comes in between.

    .macro UACCESS_RANGE first, last, fixup
    .pushsection __ex_table, "a", @progbits
    .balign 8
    .quad   \first, \last, \fixup
    .popsection
    .endm

// isync: accesses before it use the old AMR, those after it the new one.
    .macro UACCESS_OPEN tmp
    li      \tmp, {AMR_OPEN}
    isync
    mtspr   {AMR}, \tmp
    isync
    .endm

    .macro UACCESS_CLOSE tmp
    li      \tmp, {AMR_CLOSED}
    isync
    mtspr   {AMR}, \tmp
    isync
    .endm

    .section .text.uaccess, "ax", @progbits
    .globl uaccess_text_start
uaccess_text_start:

// In: r3 = to, r4 = from, r5 = bytes; one side is user memory.
// Out: r3 = bytes not copied. Counts down r5 after each step is complete: a
// fault in a long step goes on byte by byte, up to the very byte.
    .globl uaccess_copy
uaccess_copy:
    UACCESS_OPEN %r6
    srdi.   %r7, %r5, 6
    beq     2f
    mtctr   %r7
1:  ld      %r0, 0(%r4)
    ld      %r6, 8(%r4)
    ld      %r7, 16(%r4)
    ld      %r8, 24(%r4)
    ld      %r9, 32(%r4)
    ld      %r10, 40(%r4)
    ld      %r11, 48(%r4)
    ld      %r12, 56(%r4)
    std     %r0, 0(%r3)
    std     %r6, 8(%r3)
    std     %r7, 16(%r3)
    std     %r8, 24(%r3)
    std     %r9, 32(%r3)
    std     %r10, 40(%r3)
    std     %r11, 48(%r3)
    std     %r12, 56(%r3)
    addi    %r4, %r4, 64
    addi    %r3, %r3, 64
    addi    %r5, %r5, -64
    bdnz    1b
2:  srdi.   %r7, %r5, 3
    beq     4f
    mtctr   %r7
3:  ld      %r0, 0(%r4)
    std     %r0, 0(%r3)
    addi    %r4, %r4, 8
    addi    %r3, %r3, 8
    addi    %r5, %r5, -8
    bdnz    3b
4:  cmpdi   %r5, 0
    beq     6f
    mtctr   %r5
5:  lbz     %r0, 0(%r4)
    stb     %r0, 0(%r3)
    addi    %r4, %r4, 1
    addi    %r3, %r3, 1
    addi    %r5, %r5, -1
    bdnz    5b
6:  UACCESS_CLOSE %r6
    mr      %r3, %r5
    blr
    UACCESS_RANGE 1b, 4b, 4b
    UACCESS_RANGE 5b, 6b, 6b

// In: r3 = to, r4 = bytes. Out: r3 = bytes not cleared.
    .globl uaccess_clear
uaccess_clear:
    UACCESS_OPEN %r6
    li      %r0, 0
    srdi.   %r7, %r4, 3
    beq     4f
    mtctr   %r7
3:  std     %r0, 0(%r3)
    addi    %r3, %r3, 8
    addi    %r4, %r4, -8
    bdnz    3b
4:  cmpdi   %r4, 0
    beq     6f
    mtctr   %r4
5:  stb     %r0, 0(%r3)
    addi    %r3, %r3, 1
    addi    %r4, %r4, -1
    bdnz    5b
6:  UACCESS_CLOSE %r6
    mr      %r3, %r4
    blr
    UACCESS_RANGE 3b, 4b, 4b
    UACCESS_RANGE 5b, 6b, 6b

// In: r3 = to (kernel), r4 = from, r5 = most bytes, not 0.
// Out: r3 = bytes copied, the NUL included; r4 = 1 after a fault.
    .globl uaccess_string
uaccess_string:
    UACCESS_OPEN %r6
    mtctr   %r5
    li      %r7, 0
    li      %r8, 0
1:  lbzx    %r0, %r4, %r7
    stbx    %r0, %r3, %r7
    addi    %r7, %r7, 1
    cmpwi   %r0, 0
    bdnzf   eq, 1b
    b       3f
2:  li      %r8, 1
3:  UACCESS_CLOSE %r6
    mr      %r3, %r7
    mr      %r4, %r8
    blr
    UACCESS_RANGE 1b, 2b, 2b

// In: r3 = from. Out: r3 = value, r4 = 1 after a fault. One access.
    .globl uaccess_load_u32
uaccess_load_u32:
    UACCESS_OPEN %r6
    li      %r4, 0
1:  lwz     %r3, 0(%r3)
    b       3f
2:  li      %r4, 1
3:  UACCESS_CLOSE %r6
    blr
    UACCESS_RANGE 1b, 2b, 2b

// In: r3 = address, r4 = expected, r5 = new. Out: r3 = found, r4 = 1 after a
// fault. A full barrier on both sides, as futex users expect of it.
    .globl uaccess_cmpxchg_u32
uaccess_cmpxchg_u32:
    UACCESS_OPEN %r6
    li      %r8, 0
    sync
1:  lwarx   %r7, 0, %r3
    cmplw   %r7, %r4
    bne-    3f
    stwcx.  %r5, 0, %r3
    bne-    1b
    b       3f
2:  li      %r8, 1
3:  sync
    UACCESS_CLOSE %r6
    mr      %r3, %r7
    mr      %r4, %r8
    blr
    UACCESS_RANGE 1b, 2b, 2b

    .globl uaccess_text_end
uaccess_text_end:
