// r3 = a VectorState. The compiler's target has no vector instructions, so the
// assembler would refuse them by name: encoded here (ISA 3.0B, Book I).

    .macro FPU_STXV n, offset               // stxv vsN, offset(r3)
    .long   0xf4000005 | ((\n & 31) << 21) | (3 << 16) | (\offset) | ((\n >> 5) << 3)
    .endm
    .macro FPU_LXV n, offset                // lxv vsN, offset(r3)
    .long   0xf4000001 | ((\n & 31) << 21) | (3 << 16) | (\offset) | ((\n >> 5) << 3)
    .endm

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

    .section .text.fpu, "ax", @progbits

    .globl fpu_save
fpu_save:
    FPU_ON %r5
    .set    FPU_N, 0
    .rept   64
    FPU_STXV FPU_N, (16 * FPU_N)
    .set    FPU_N, FPU_N + 1
    .endr
    .long   0xfc00048e                      // mffs f0
    .long   0xd8030000 | {FPSCR}            // stfd f0, FPSCR(r3)
    .long   0x10000604                      // mfvscr v0
    FPU_STXV 32, {VSCR}
    mfspr   %r6, {VRSAVE_SPR}
    std     %r6, {VRSAVE}(%r3)
    // The two that were borrowed: who makes a copy goes on with the registers.
    FPU_LXV 0, 0
    FPU_LXV 32, (16 * 32)
    FPU_OFF %r5
    blr

    .globl fpu_restore
fpu_restore:
    FPU_ON %r5
    .long   0xc8030000 | {FPSCR}            // lfd f0, FPSCR(r3)
    .long   0xfdfe058e                      // mtfsf 255, f0
    FPU_LXV 32, {VSCR}
    .long   0x10000644                      // mtvscr v0
    ld      %r6, {VRSAVE}(%r3)
    mtspr   {VRSAVE_SPR}, %r6
    .set    FPU_N, 0
    .rept   64
    FPU_LXV FPU_N, (16 * FPU_N)
    .set    FPU_N, FPU_N + 1
    .endr
    FPU_OFF %r5
    blr
