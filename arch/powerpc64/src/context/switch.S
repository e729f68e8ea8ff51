// switch_to: r3 = the Context to leave, r4 = the Context to enter, r5 = a word, which stays
// in r5 for the context that is entered.
//
// Saves r29 to r31 in a frame on the stack that is left, so that a backtrace can
// walk a sleeping task. The caller has saved the other registers that the ABI
// preserves, once for this switch and for its own use: see switch_to. Three
// registers need no saving. The AMR is closed here, since every path into the
// scheduler goes through an entry that closes it; r2 is one value for the
// whole image; r13 belongs to the CPU.

    .section .text.context_switch, "ax", @progbits
    .globl context_switch
context_switch:
    mflr    %r0
    std     %r0, 16(%r1)
    stdu    %r1, -{SWITCH_FRAME}(%r1)
    .irp n, 29, 30, 31
    std     %r\n, {SAVED} + 8 * (\n - 29)(%r1)
    .endr
    std     %r1, 0(%r3)
    // The task that is entered must not find a reservation made by the task
    // that is left.
    addi    %r6, %r13, {RESERVATION}
    stdcx.  %r6, 0, %r6
    ld      %r1, 0(%r4)
    .irp n, 29, 30, 31
    ld      %r\n, {SAVED} + 8 * (\n - 29)(%r1)
    .endr
    addi    %r1, %r1, {SWITCH_FRAME}
    ld      %r0, 16(%r1)
    mtlr    %r0
    blr

// The first instructions of a new kernel thread: r29 = entry, r30 = argument, r5 = the word of
// the switch.
    .globl context_first_run
context_first_run:
    mr      %r3, %r30
    mr      %r4, %r5
    mr      %r12, %r29
    mtctr   %r29
    bctrl
    trap
