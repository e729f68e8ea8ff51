// The vectors, at two places.
//
// With AIL=3 an interrupt from translated code arrives at 0xc000000000004000 +
// vector, still translated. An interrupt from real mode arrives at the vector's
// own number in real mode. System reset (0x100) and machine check (0x200)
// always arrive there. Both sets are linked at the place where they run and
// copied there.
//
// The first instructions free r12 and put the vector number there. Nothing may
// fault and no interrupt be enabled until the frame holds what SPRG1, SRR0,
// SRR1 and the scratch slots hold: a second interrupt would overwrite them.

    .macro TRAP_VECTOR number, target
    .org    \number
    mtspr   {SPRG1}, %r13
    mfspr   %r13, {SPRG0}
    std     %r12, {SCRATCH} + 24(%r13)
    li      %r12, \number
    b       \target
    .endm

    .macro TRAP_NMI_VECTOR number
    .org    \number
    mtspr   {SPRG2}, %r13
    mfspr   %r13, {SPRG0}
    std     %r12, {NMI_SCRATCH} + 24(%r13)
    li      %r12, \number
    b       nmi_entry
    .endm

    .macro TRAP_VECTORS_300_TO_B00
    TRAP_VECTOR 0x300, trap_entry           // data storage
    TRAP_VECTOR 0x380, trap_entry           // data segment: a bad address
    TRAP_VECTOR 0x400, trap_entry           // instruction storage
    TRAP_VECTOR 0x480, trap_entry           // instruction segment
    TRAP_VECTOR 0x500, irq_entry            // external
    TRAP_VECTOR 0x600, trap_entry           // alignment
    TRAP_VECTOR 0x700, trap_entry           // program
    TRAP_VECTOR 0x800, trap_entry           // FP unavailable
    TRAP_VECTOR 0x900, irq_entry            // decrementer
    TRAP_VECTOR 0xa00, trap_entry           // doorbell: never enabled
    .endm

    .macro TRAP_VECTORS_D00_TO_F60
    TRAP_VECTOR 0xd00, trap_entry           // trace
    TRAP_VECTOR 0xf00, trap_entry           // performance monitor
    TRAP_VECTOR 0xf20, trap_entry           // VMX unavailable
    TRAP_VECTOR 0xf40, trap_entry           // VSX unavailable
    TRAP_VECTOR 0xf60, trap_entry           // facility unavailable
    .org    0xf80
    .endm

    .section .vectors.real, "ax", @progbits
    TRAP_NMI_VECTOR 0x100
    TRAP_NMI_VECTOR 0x200
    TRAP_VECTORS_300_TO_B00
    TRAP_VECTOR 0xc00, trap_entry
    TRAP_VECTORS_D00_TO_F60

    .section .vectors.virt, "ax", @progbits
    TRAP_VECTORS_300_TO_B00
    .org    0xc00                           // system call
    mfspr   %r12, {SPRG0}
    mr      %r10, %r1
    ld      %r1, {USER_FRAME}(%r12)
    b       syscall_entry
    TRAP_VECTORS_D00_TO_F60
