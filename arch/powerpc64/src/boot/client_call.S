// u64 openfirmware_enter(u64 args, u64 entry): one call of the client interface.
//
// The firmware runs in 32-bit mode with the MMU off and keeps only the lower
// halves of the registers. So a frame of ours saves MSR and all that the ABI
// preserves, and a global holds the frame's address. The way in is rfid, which
// changes mode and address at once; the way out is a stub that repairs MSR
// first. Boot CPU only, MMU off, interrupts off.

    .section .text.openfirmware_enter, "ax", @progbits
    .globl openfirmware_enter
    .type openfirmware_enter, @function
openfirmware_enter:
    mflr    %r0
    std     %r0, 16(%r1)
    stdu    %r1, -224(%r1)
    std     %r2, 24(%r1)
    mfcr    %r0
    std     %r0, 32(%r1)
    mfmsr   %r0
    std     %r0, 40(%r1)
    std     %r13, 64(%r1)
    std     %r14, 72(%r1)
    std     %r15, 80(%r1)
    std     %r16, 88(%r1)
    std     %r17, 96(%r1)
    std     %r18, 104(%r1)
    std     %r19, 112(%r1)
    std     %r20, 120(%r1)
    std     %r21, 128(%r1)
    std     %r22, 136(%r1)
    std     %r23, 144(%r1)
    std     %r24, 152(%r1)
    std     %r25, 160(%r1)
    std     %r26, 168(%r1)
    std     %r27, 176(%r1)
    std     %r28, 184(%r1)
    std     %r29, 192(%r1)
    std     %r30, 200(%r1)
    std     %r31, 208(%r1)
    LOAD_ADDRESS %r11, openfirmware_frame
    std     %r1, 0(%r11)

    // Real addresses below 4 GB from here on.
    LOAD_ADDRESS %r12, openfirmware_return
    rldicl  %r12, %r12, 0, 32
    mtlr    %r12
    rldicl  %r1, %r1, 0, 32
    mtsrr0  %r4
    rldicl  %r0, %r0, 0, 1            // MSR without SF
    mtsrr1  %r0
    rfid

openfirmware_return:
    mfmsr   %r0
    li      %r12, 1
    rldicr  %r12, %r12, 63, 0
    or      %r0, %r0, %r12
    mtmsrd  %r0
    isync
    LOAD_ADDRESS %r11, openfirmware_frame
    ld      %r1, 0(%r11)
    ld      %r0, 40(%r1)
    mtmsrd  %r0
    isync
    ld      %r2, 24(%r1)
    ld      %r0, 32(%r1)
    mtcrf   0xff, %r0
    ld      %r13, 64(%r1)
    ld      %r14, 72(%r1)
    ld      %r15, 80(%r1)
    ld      %r16, 88(%r1)
    ld      %r17, 96(%r1)
    ld      %r18, 104(%r1)
    ld      %r19, 112(%r1)
    ld      %r20, 120(%r1)
    ld      %r21, 128(%r1)
    ld      %r22, 136(%r1)
    ld      %r23, 144(%r1)
    ld      %r24, 152(%r1)
    ld      %r25, 160(%r1)
    ld      %r26, 168(%r1)
    ld      %r27, 176(%r1)
    ld      %r28, 184(%r1)
    ld      %r29, 192(%r1)
    ld      %r30, 200(%r1)
    ld      %r31, 208(%r1)
    addi    %r1, %r1, 224
    ld      %r0, 16(%r1)
    mtlr    %r0
    blr

    .section .bss.openfirmware_frame, "aw", @nobits
    .balign 8
openfirmware_frame:
    .space  8
