// The first instructions, as the firmware calls them.
//
// In: r3, r4 = initrd address and size (or 0), r5 = the firmware's client entry;
// big-endian, 32-bit mode, MMU off. Real mode ignores the top nibble of an
// address, so the link addresses (0xc000...) work at once.
//
// Out, in boot_start(r3, r4, r5): 64-bit mode, r1 = the boot stack, r2 = TOC,
// r13 = the PerCpu of the boot CPU, bss clear.

    .section .head.text, "ax", @progbits
    .globl _start
_start:
    // MSR[SF] = 1: 64-bit mode.
    mfmsr   %r11
    li      %r12, 1
    rldicr  %r12, %r12, 63, 0
    or      %r11, %r11, %r12
    mtmsrd  %r11
    isync
    LOAD_ADDRESS %r12, 1f
    mtctr   %r12
    bctr

1:  // The firmware leaves the upper halves undefined.
    rldicl  %r3, %r3, 0, 32
    rldicl  %r4, %r4, 0, 32
    rldicl  %r5, %r5, 0, 32

    // The loader clears bss on the first boot, but not on a reset.
    LOAD_ADDRESS %r6, __bss_start
    LOAD_ADDRESS %r7, __bss_end
    subf    %r7, %r6, %r7
    srdi    %r7, %r7, 3
    mtctr   %r7
    li      %r0, 0
    addi    %r6, %r6, -8
2:  stdu    %r0, 8(%r6)
    bdnz    2b

    LOAD_ADDRESS %r2, .TOC.
    LOAD_ADDRESS %r13, {boot_percpu}
    // A first frame whose back chain is 0 ends every backtrace.
    LOAD_ADDRESS %r1, boot_stack_end
    stdu    %r0, -64(%r1)
    bl      {boot_start}
    trap

// The stacks of the boot CPU are in slots like every kernel stack: aligned to 32 KB, with the lower
// half as the guard. Those for overflows and NMIs share a slot, as on other CPUs. All labels but the
// first are tops.
    .section .boot_stacks, "aw", @nobits
    .balign 0x8000
    .globl boot_stacks
boot_stacks:
    .space  0x8000
    .globl boot_stack_end
boot_stack_end:
    .space  0x6000
    .globl boot_emergency_stack_end
boot_emergency_stack_end:
    .space  0x2000
    .globl boot_nmi_stack_end
boot_nmi_stack_end:

// See the linker script: filled after the link.
    .section .kallsyms, "a", @progbits
    .space  {KALLSYMS_BYTES}
