// Register moves shared by the entry and exit paths. r1 = the handler's stack
// pointer, with the trap frame HEADER bytes above it.

    .macro TRAP_SAVE regs:vararg
    .irp n, \regs
    std     %r\n, {GPR} + 8 * \n(%r1)
    .endr
    .endm

    .macro TRAP_LOAD regs:vararg
    .irp n, \regs
    ld      %r\n, {GPR} + 8 * \n(%r1)
    .endr
    .endm

    .macro TRAP_SAVE_NONVOLATILE
    TRAP_SAVE 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    .endm

    .macro TRAP_LOAD_NONVOLATILE
    TRAP_LOAD 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    .endm

// One special register by way of \tmp.
    .macro TRAP_SAVE_SPR spr, offset, tmp
    mfspr   \tmp, \spr
    std     \tmp, \offset(%r1)
    .endm

    .macro TRAP_LOAD_SPR spr, offset, tmp
    ld      \tmp, \offset(%r1)
    mtspr   \spr, \tmp
    .endm

// Loads where to go on, and all volatile registers but r1 and r13. SRR0 and
// SRR1 are live from here to rfid: EE and RI are off.
    .macro TRAP_LOAD_VOLATILE
    TRAP_LOAD_SPR {SRR0}, {NIP}, %r9
    TRAP_LOAD_SPR {SRR1}, {MSR}, %r10
    TRAP_LOAD_SPR 8, {LR}, %r11             // LR
    TRAP_LOAD_SPR 9, {CTR}, %r12            // CTR
    TRAP_LOAD_SPR 1, {XER}, %r9             // XER
    ld      %r10, {CR}(%r1)
    mtcrf   0xff, %r10
    TRAP_LOAD 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
    .endm

// Drops a reservation (lwarx, ldarx) that a handler or another task left: the
// interrupted code's store-conditional must not succeed on it.
    .macro TRAP_DROP_RESERVATION tmp
    addi    \tmp, %r13, {RESERVATION}
    stdcx.  \tmp, 0, \tmp
    .endm
