# clone for threads. In Rust the child would return from the call on a stack
# that holds no frame of its caller; here it never returns.
#
# In:  r3 = flags, r4 = top of the child's stack (16-byte aligned), r5 = parent's
#      id, r6 = thread pointer, r7 = child's id, r8 = entry, r9 = its argument.
# Out: in the parent r3 = the thread's id, or a negative error number.
#      The child calls entry(argument), which does not return.

    .section .text, "ax", @progbits
    .globl clone_thread
    .type clone_thread, @function
clone_thread:
    std     9, -8(4)
    std     8, -16(4)
    li      0, 0
    stdu    0, -64(4)               # the child's first frame, back chain 0
    li      0, 120                  # clone
    sc
    bns+    1f
    neg     3, 3
    blr
1:  cmpdi   3, 0
    bnelr
    ld      12, 48(1)               # a function finds its TOC by r12
    ld      3, 56(1)
    mtctr   12
    bctrl
    trap
    .size clone_thread, . - clone_thread
