// Where a secondary CPU starts: 64-bit real mode, interrupts off, r3 = the real
// address of its PerCpu. The partition's process table and interrupt mode are in
// force for it already; its own registers are not set up.
//
// Out, in secondary_start(): MMU on with the guard PID loaded, r1 = its kernel
// stack, r2 = TOC, r13 = its PerCpu. The stack may lie outside the linear map,
// so nothing is stored before the MMU is on.

    .section .text.secondary_entry, "ax", @progbits
    .globl secondary_entry
secondary_entry:
    li      %r13, 3
    rldicr  %r13, %r13, 62, 1           // 0xc000000000000000
    or      %r13, %r13, %r3
    LOAD_ADDRESS %r2, .TOC.
    ld      %r1, {USER_FRAME}(%r13)

    // The guard PID has no tree: quadrant 0 faults until a user task is loaded.
    li      %r0, {GUARD_PID}
    mtspr   48, %r0                     // PIDR
    // Orders the new PIDR before the first translation.
    isync

    LOAD_ADDRESS %r4, secondary_virtual
    mtspr   26, %r4                     // SRR0
    mfmsr   %r0
    ori     %r0, %r0, {MSR_TRANSLATED}
    mtspr   27, %r0                     // SRR1
    rfid

secondary_virtual:
    // A first frame whose back chain is 0 ends every backtrace.
    li      %r0, 0
    stdu    %r0, -64(%r1)
    bl      {secondary_start}
    trap
