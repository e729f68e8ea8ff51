// r3 = a VectorState. By the assembler's names (ISA 3.0B, Book I): the compiler's
// target has no vectors, so the compiler uses none of them by itself.

// FP, VMX and VSX on, and back. Nothing but these bits of the MSR changes.
    .macro FPU_ON old
    mfmsr   \old
    mr      %r6, \old
    ori     %r6, %r6, {MSR_FP}
    oris    %r6, %r6, {MSR_VEC_VSX_HIGH}
    mtmsrd  %r6
    isync
    .endm
    .macro FPU_OFF old
    mtmsrd  \old
    isync
    .endm

// All 64 VSRs by \instruction.
    .macro FPU_ALL instruction
    .set    FPU_N, 0
    .rept   64
    \instruction FPU_N, 16 * FPU_N(%r3)
    .set    FPU_N, FPU_N + 1
    .endr
    .endm

    .section .text.fpu, "ax", @progbits

    .globl fpu_save
fpu_save:
    FPU_ON %r5
    FPU_ALL stxv
    mffs    %f0
    stfd    %f0, {FPSCR}(%r3)
    mfvscr  %v0
    stxv    32, {VSCR}(%r3)                 // v0 is VSR 32
    // fpu_save borrowed these two; after a copy (fork) the program goes on
    // with them.
    lxv     0, 0(%r3)
    lxv     32, 16 * 32(%r3)
    FPU_OFF %r5
    blr

    .globl fpu_restore
fpu_restore:
    FPU_ON %r5
    lfd     %f0, {FPSCR}(%r3)
    mtfsf   255, %f0, 1, 0                  // L=1: all 64 bits, the decimal rounding mode too
    lxv     32, {VSCR}(%r3)
    mtvscr  %v0
    FPU_ALL lxv
    FPU_OFF %r5
    blr
