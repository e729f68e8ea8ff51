// switch_to: r3 = the Context to leave, r4 = the Context to enter.
//
// Saves the registers that the ABI preserves across a call, in a frame on the
// stack that is left, so that a backtrace can walk a sleeping task. Three
// registers need no saving. The AMR is closed here, since every path into the
// scheduler goes through an entry that closes it; r2 is one value for the
// whole image; r13 belongs to the CPU.

    .section .text.context_switch, "ax", @progbits
    .globl context_switch
context_switch:
    mflr    %r0
    mfcr    %r5
    std     %r0, 16(%r1)
    stw     %r5, 8(%r1)
    stdu    %r1, -{SWITCH_FRAME}(%r1)
    .irp n, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    std     %r\n, {SAVED} + 8 * (\n - 14)(%r1)
    .endr
    std     %r1, 0(%r3)
    // The task that is entered must not find a reservation made by the task
    // that is left.
    addi    %r6, %r13, {RESERVATION}
    stdcx.  %r6, 0, %r6
    ld      %r1, 0(%r4)
    .irp n, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    ld      %r\n, {SAVED} + 8 * (\n - 14)(%r1)
    .endr
    addi    %r1, %r1, {SWITCH_FRAME}
    ld      %r0, 16(%r1)
    lwz     %r5, 8(%r1)
    mtlr    %r0
    mtcrf   0x38, %r5                       // CR2 to CR4
    blr

// The first instructions of a new kernel thread: r14 = entry, r15 = argument.
    .globl context_first_run
context_first_run:
    mr      %r3, %r15
    mr      %r12, %r14
    mtctr   %r14
    bctrl
    trap
