# Windows: all registers of a `Registers` are loaded, one instruction runs, all are
# stored. The instruction enters the kernel, or spins until a signal's handler goes
# on behind it: `NAME_instruction` is its address.
#
# In: r3 = the `Registers` to load, r4 = where to store. r1 stays a stack pointer.

    .section .text, "ax", @progbits

    .macro ALL_64 instruction
    .set    N, 0
    .rept   64
    \instruction N, {VSR} + 16 * N(3)
    .set    N, N + 1
    .endr
    .endm

    .macro FOR_GPRS instruction, regs:vararg
    .irp    n, \regs
    \instruction \n, 8 * \n(3)
    .endr
    .endm

    .macro NONVOLATILE instruction
    .irp    n, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \instruction \n, 32 + 8 * (\n - 13)(1)
    .endr
    .endm

# r3 = a `Registers`. Uses r0.
    .macro LOAD_VECTORS
    lfd     0, {FPSCR}(3)
    mtfsf   255, 0, 1, 0            # all 64 bits
    lxv     32, {VSCR}(3)           # v0 is VSR 32
    mtvscr  0
    ALL_64  lxv
    ld      0, {VRSAVE}(3)
    mtspr   256, 0
    .endm

# Uses r0, f0 and v0, after they were stored.
    .macro STORE_VECTORS
    ALL_64  stxv
    mffs    0
    stfd    0, {FPSCR}(3)
    mfvscr  0
    stxv    32, {VSCR}(3)
    mfspr   0, 256
    std     0, {VRSAVE}(3)
    .endm

# r3 = a `Registers`: everything but LR and r1.
    .macro LOAD_ALL
    LOAD_VECTORS
    ld      0, {CTR}(3)
    mtctr   0
    ld      0, {XER}(3)
    mtxer   0
    ld      0, {CR}(3)
    mtcrf   255, 0
    FOR_GPRS ld, 0, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
    FOR_GPRS ld, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 3
    .endm

    .set    OUT, 32 + 19 * 8
    .set    R3, OUT + 8
    .set    FRAME, R3 + 8

    .macro WINDOW name, instruction:vararg
    .globl  \name, \name\()_instruction
    .type   \name, @function
\name:
    mflr    0
    mfcr    5
    std     0, 16(1)
    stw     5, 8(1)
    stdu    1, -FRAME(1)
    std     2, 24(1)
    NONVOLATILE std
    std     4, OUT(1)
    ld      0, {LR}(3)
    mtlr    0
    LOAD_ALL
\name\()_instruction:
    \instruction
    std     3, R3(1)
    ld      3, OUT(1)
    FOR_GPRS std, 0, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
    FOR_GPRS std, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    ld      0, R3(1)
    std     0, 24(3)
    mflr    0
    std     0, {LR}(3)
    mfctr   0
    std     0, {CTR}(3)
    mfxer   0
    std     0, {XER}(3)
    mfcr    0
    std     0, {CR}(3)
    STORE_VECTORS
    NONVOLATILE ld
    ld      2, 24(1)
    addi    1, 1, FRAME
    ld      0, 16(1)
    lwz     5, 8(1)
    mtlr    0
    mtcrf   0x38, 5
    blr
    .endm

    WINDOW  window_spin, b window_spin_instruction
    WINDOW  window_call, sc
    WINDOW  window_trap, trap
    WINDOW  window_store, stb 4, 0(5)

# The handler of the signals: calls `note`, and leaves other values in all
# registers. The interrupted r2 may hold anything.
    .globl  handler
    .type   handler, @function
handler:
    mflr    0
    std     0, 16(1)
    stdu    1, -48(1)
    lis     2, .TOC.@ha
    addi    2, 2, .TOC.@l
    bl      {note}
    addi    1, 1, 48
    ld      0, 16(1)
    mtlr    0
    lis     3, {SPOILT}@ha
    addi    3, 3, {SPOILT}@l
    LOAD_ALL
    blr

# In: r3 = a `Registers`. Only its vectors, with FPSCR, VSCR and VRSAVE.
    .globl  vectors_load, vectors_store
    .type   vectors_load, @function
vectors_load:
    LOAD_VECTORS
    blr
    .type   vectors_store, @function
vectors_store:
    STORE_VECTORS
    blr

# Out: r3 = the FPSCR. Uses f0.
    .globl  fpscr
    .type   fpscr, @function
fpscr:
    mffs    0
    stfd    0, -8(1)
    ld      3, -8(1)
    blr
