// trap_capture: r3 = a TrapFrame. Stores the caller's registers in it; nip and lr
// are the return address. Volatile registers have the values that the caller left in them.

    .section .text.trap_capture, "ax", @progbits
    .globl trap_capture
trap_capture:
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
    std     %r\n, {GPR} - {HEADER} + 8 * \n(%r3)
    .endr
    .irp n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    std     %r\n, {GPR} - {HEADER} + 8 * \n(%r3)
    .endr
    mflr    %r4
    std     %r4, {NIP} - {HEADER}(%r3)
    std     %r4, {LR} - {HEADER}(%r3)
    mfmsr   %r4
    std     %r4, {MSR} - {HEADER}(%r3)
    mfctr   %r4
    std     %r4, {CTR} - {HEADER}(%r3)
    mfxer   %r4
    std     %r4, {XER} - {HEADER}(%r3)
    mfcr    %r4
    std     %r4, {CR} - {HEADER}(%r3)
    blr

// trap_overflow: r3 = the frame of an exception on a stack that is nearly full. Runs
// the handler on the emergency stack.
    .globl trap_overflow
trap_overflow:
    ld      %r1, {EMERGENCY_FRAME}(%r13)
    li      %r0, 0
    std     %r0, 0(%r1)                     // a backtrace ends here
    bl      {overflow_handler}
    trap
