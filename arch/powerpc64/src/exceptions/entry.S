// From a vector to the kernel's handler, and back.
//
// Registers on arrival from a vector: r13 = PerCpu, r12 = vector number; the
// interrupted r13 is in SPRG1 and r12 in scratch slot 3.

    .section .text.trap, "ax", @progbits
    .globl trap_text_start
trap_text_start:

// Finds the stack and saves r1, r9-r13, CR and the vector number.
//
// A frame from user mode starts at the top of the task's kernel stack. One from the
// kernel goes below the interrupted stack pointer, and below the ABI's protected
// zone: prologs save registers there before they move r1, and epilogs load them
// afterwards, whatever the target description says of red zones. A frame that would
// leave the upper half of the stack's slot means an overflow.
//
// On entry from the kernel the AMR is saved and closed: the interrupted code may be
// in a user copy. User mode runs with it closed.
    .macro TRAP_PROLOG
    std     %r9, {SCRATCH} + 0(%r13)
    std     %r10, {SCRATCH} + 8(%r13)
    std     %r11, {SCRATCH} + 16(%r13)
    mfcr    %r9
    mfspr   %r10, {SRR1}
    andi.   %r10, %r10, {MSR_PR}
    mr      %r11, %r1
    bne     1f
    addi    %r1, %r1, -({FRAME} + {PROTECTED_ZONE})
    andi.   %r10, %r1, {STACK_BIT}
    beq-    3f
2:  std     %r11, 0(%r1)
    mfspr   %r10, {AMR_SPR}
    std     %r10, {AMR}(%r1)
    li      %r10, {AMR_CLOSED}
    mtspr   {AMR_SPR}, %r10
    isync
    b       4f
3:  // Overflow: on the emergency stack instead. The handler does not return.
    ld      %r1, {EMERGENCY_FRAME}(%r13)
    ori     %r12, %r12, {OVERFLOW}
    b       2b
1:  ld      %r1, {USER_FRAME}(%r13)
    li      %r10, 0
    std     %r10, 0(%r1)                    // a backtrace ends here
4:  std     %r9, {CR}(%r1)
    std     %r11, {GPR} + 8 * 1(%r1)
    std     %r12, {TRAP}(%r1)
    ld      %r9, {SCRATCH} + 0(%r13)
    ld      %r10, {SCRATCH} + 8(%r13)
    ld      %r11, {SCRATCH} + 16(%r13)
    ld      %r12, {SCRATCH} + 24(%r13)
    TRAP_SAVE 9, 10, 11, 12
    TRAP_SAVE_SPR {SPRG1}, {GPR} + 8 * 13, %r9
    .endm

    .macro TRAP_SAVE_SPECIAL
    TRAP_SAVE_SPR {SRR0}, {NIP}, %r9
    TRAP_SAVE_SPR {SRR1}, {MSR}, %r10
    TRAP_SAVE_SPR 8, {LR}, %r9
    TRAP_SAVE_SPR 9, {CTR}, %r10
    TRAP_SAVE_SPR 1, {XER}, %r9
    .endm

// The frame is complete: RI on, EE as asked. mtmsrd with L=1 changes only these two.
    .macro TRAP_RECOVERABLE ee, tmp=%r9
    .if \ee
    li      \tmp, {MSR_EE_RI}
    .else
    li      \tmp, {MSR_RI}
    .endif
    mtmsrd  \tmp, 1
    .endm

// SRR0 and SRR1 are about to be used: EE and RI off.
    .macro TRAP_UNRECOVERABLE
    li      %r9, 0
    mtmsrd  %r9, 1
    .endm

// ---- Faults and everything rare: all registers -----------------------------

    .globl trap_entry
trap_entry:
    TRAP_PROLOG
    TRAP_SAVE 0, 2, 3, 4, 5, 6, 7, 8
    TRAP_SAVE_NONVOLATILE
    TRAP_SAVE_SPECIAL
    TRAP_SAVE_SPR {DAR_SPR}, {DAR}, %r9
    TRAP_SAVE_SPR {DSISR_SPR}, {DSISR}, %r10
    ld      %r2, {TOC}(%r13)
    TRAP_RECOVERABLE 0
    addi    %r3, %r1, {HEADER}
    bl      {trap_handler}

// In: r1 = a complete frame. Every exit that had to look at the work flag comes
// here. Interrupts are off from the last look at the flag to rfid.
trap_exit:
    TRAP_UNRECOVERABLE
    ld      %r9, {MSR}(%r1)
    andi.   %r9, %r9, {MSR_PR}
    beq     exit_to_kernel_all
    lwz     %r9, {WORK}(%r13)
    cmpwi   %r9, 0
    bne-    user_work
    TRAP_DROP_RESERVATION %r9
exit_to_user_all:
    TRAP_LOAD_NONVOLATILE
exit_to_user:
    TRAP_LOAD_VOLATILE
    TRAP_LOAD 13, 1
    rfid

exit_to_kernel_all:
    TRAP_LOAD_NONVOLATILE
// r13 is not loaded: the task may have moved to another CPU meanwhile.
exit_to_kernel:
    TRAP_DROP_RESERVATION %r9
    TRAP_LOAD_SPR {AMR_SPR}, {AMR}, %r9
    TRAP_LOAD_VOLATILE
    TRAP_LOAD 1
    rfid

// A reschedule or a signal before user mode. The frame is complete.
user_work:
    TRAP_RECOVERABLE 0
    addi    %r3, %r1, {HEADER}
    bl      {return_to_user_handler}
    b       trap_exit

// In: r3 = a complete frame at the top of the running task's stack.
    .globl trap_enter_user
trap_enter_user:
    addi    %r1, %r3, -{HEADER}
    b       trap_exit

// ---- External interrupts and the decrementer: volatile registers ------------

    .globl irq_entry
irq_entry:
    TRAP_PROLOG
    TRAP_SAVE 0, 2, 3, 4, 5, 6, 7, 8
    TRAP_SAVE_SPECIAL
    ld      %r2, {TOC}(%r13)
    ld      %r4, {TRAP}(%r1)
    TRAP_RECOVERABLE 0
    addi    %r3, %r1, {HEADER}
    bl      {irq_handler}
    TRAP_UNRECOVERABLE
    ld      %r10, {MSR}(%r1)
    lwz     %r9, {WORK}(%r13)
    andi.   %r10, %r10, {MSR_PR}
    cmpwi   %cr1, %r9, 0
    beq     1f
    bne-    %cr1, 2f
    TRAP_DROP_RESERVATION %r9
    b       exit_to_user
1:  beq+    %cr1, exit_to_kernel
    TRAP_RECOVERABLE 0
    bl      {preempt_handler}
    TRAP_UNRECOVERABLE
    b       exit_to_kernel
2:  // The handler preserved r14-r31, so they are still the user's.
    TRAP_SAVE_NONVOLATILE
    b       user_work

// ---- System calls -----------------------------------------------------------
//
// In: r12 = PerCpu, r10 = the user's r1, r1 = where the frame goes; CR, LR and all
// else as the user left it. r9-r12, CTR and XER are dead by the ABI: the program finds
// 0 there. The kernel executes no `sc` of level 0, so this came from user mode.
//
// Most calls need no more of the frame than is saved at once: the call's function
// preserves r14-r31, and the result stays in r3 up to rfid. SYSCALL_SAVE_REST
// makes the frame whole where a program may see it.

// In: r3-r8 = the arguments, r0 = the number. Calls the function of the row.
// Out: r3 = value, r4 = error number, or 0. Interrupts off.
    .macro SYSCALL_DO
    ld      %r11, {SYSTEM_CALLS}(%r13)
    cmpldi  %r0, {NR_SYSTEM_CALLS}
    bgt-    8f
9:  sldi    %r0, %r0, 3
    ldx     %r12, %r11, %r0
    mtctr   %r12
    addi    %r9, %r1, {HEADER}
    TRAP_RECOVERABLE 1, %r10
    bctrl
    TRAP_UNRECOVERABLE
    .endm

// The rest of a frame that has only what a system call saves at once: what the program
// still has in registers, what it will find there, and r3 for a restart.
    .macro SYSCALL_SAVE_REST
    ld      %r10, {GPR} + 8 * 3(%r1)
    li      %r9, 0
    std     %r10, {ORIG_GPR3}(%r1)
    .irp    n, 9, 10, 11, 12
    std     %r9, {GPR} + 8 * \n(%r1)
    .endr
    std     %r9, {CTR}(%r1)
    std     %r9, {XER}(%r1)
    li      %r10, 0xc00 | {WHOLE}
    std     %r10, {TRAP}(%r1)
    TRAP_SAVE_NONVOLATILE
    .endm

// In test builds: the check of authority, where r3 and r4 count and r9 and r10 are not
// in the frame.
    .macro SYSCALL_CHECK
    .if {CHECKS}
    std     %r3, {GPR} + 8 * 9(%r1)
    std     %r4, {GPR} + 8 * 10(%r1)
    addi    %r3, %r1, {HEADER}
    bl      {check_handler}
    ld      %r3, {GPR} + 8 * 9(%r1)
    ld      %r4, {GPR} + 8 * 10(%r1)
    .endif
    .endm

    .globl syscall_entry
syscall_entry:
    TRAP_SAVE 0, 2, 3, 4, 5, 6, 7, 8, 13
    mr      %r13, %r12
    std     %r10, {GPR} + 8 * 1(%r1)
    TRAP_SAVE_SPR {SRR0}, {NIP}, %r9
    TRAP_SAVE_SPR {SRR1}, {MSR}, %r10
    TRAP_SAVE_SPR 8, {LR}, %r9              // LR
    mfcr    %r9
    li      %r10, 0xc00
    rlwinm  %r9, %r9, 0, 4, 2               // CR0.SO off: no error
    std     %r10, {TRAP}(%r1)
    std     %r9, {CR}(%r1)
    ld      %r2, {TOC}(%r13)
    SYSCALL_CHECK
    .if {CHECKS}
    TRAP_LOAD 0, 3, 4, 5, 6, 7, 8
    .endif
    SYSCALL_DO
    SYSCALL_CHECK
    cmpdi   %r4, 0
    bne-    syscall_error
syscall_exit:
    lwz     %r10, {WORK}(%r13)
    cmpwi   %r10, 0
    bne-    syscall_work
    // No reservation to drop: a program does not hold one across `sc`, and
    // switch_to drops those of other tasks.
    TRAP_LOAD_SPR {SRR0}, {NIP}, %r9
    TRAP_LOAD_SPR {SRR1}, {MSR}, %r10
    TRAP_LOAD_SPR 8, {LR}, %r11             // LR
    ld      %r12, {CR}(%r1)
    li      %r9, 0
    mtcrf   0xff, %r12
    mtspr   9, %r9                          // CTR
    mtspr   1, %r9                          // XER
    li      %r10, 0
    li      %r11, 0
    li      %r12, 0
    TRAP_LOAD 0, 2, 4, 5, 6, 7, 8, 13, 1
    rfid

// A number of a call that there is not: the last row.
8:  li      %r0, {NR_SYSTEM_CALLS}
    b       9b

syscall_error:
    cmpldi  %r4, {MAX_ERRNO}
    bgt-    syscall_whole
    ld      %r9, {CR}(%r1)
    mr      %r3, %r4
    oris    %r9, %r9, {CR0_SO_HIGH}
    std     %r9, {CR}(%r1)
    b       syscall_exit

// Work before user mode.
syscall_work:
    SYSCALL_SAVE_REST
    std     %r3, {GPR} + 8 * 3(%r1)
    b       user_work

// An error that no program sees: a call that needs the whole frame starts anew with it.
// Any other has its outcome from the kernel.
syscall_whole:
    SYSCALL_SAVE_REST
    cmpldi  %r4, {NEEDS_WHOLE_FRAME}
    bne     1f
    TRAP_LOAD 0, 3, 4, 5, 6, 7, 8
    SYSCALL_DO
1:  mr      %r5, %r4
    mr      %r4, %r3
    addi    %r3, %r1, {HEADER}
    TRAP_RECOVERABLE 1
    bl      {syscall_end_handler}
    b       trap_exit
8:  li      %r0, {NR_SYSTEM_CALLS}
    b       9b

// ---- System reset and machine check -----------------------------------------
//
// In real mode, on a stack of their own in the linear map, at any moment: also
// between the first instruction of another entry and its frame. Hence SPRG2 and
// scratch slots of their own. In that window RI is off, and SRR0 and SRR1 are
// lost: the handler must not return then.
//
// A nested one goes below the one it finds. r1 moves to the NMI stack before the
// depth counts it: a nested NMI overwrites nothing in either gap, and RI is off
// there.

nmi_entry:
    std     %r9, {NMI_SCRATCH} + 0(%r13)
    std     %r10, {NMI_SCRATCH} + 8(%r13)
    std     %r11, {NMI_SCRATCH} + 16(%r13)
    mfcr    %r9
    mr      %r11, %r1
    ld      %r10, {NMI_DEPTH}(%r13)
    cmpdi   %r10, 0
    addi    %r10, %r10, 1
    addi    %r1, %r1, -({FRAME} + {PROTECTED_ZONE})
    bne-    1f
    ld      %r1, {NMI_FRAME}(%r13)
1:  std     %r10, {NMI_DEPTH}(%r13)
    std     %r11, 0(%r1)
    std     %r9, {CR}(%r1)
    std     %r11, {GPR} + 8 * 1(%r1)
    std     %r12, {TRAP}(%r1)
    ld      %r9, {NMI_SCRATCH} + 0(%r13)
    ld      %r10, {NMI_SCRATCH} + 8(%r13)
    ld      %r11, {NMI_SCRATCH} + 16(%r13)
    ld      %r12, {NMI_SCRATCH} + 24(%r13)
    TRAP_SAVE 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
    TRAP_SAVE_NONVOLATILE
    TRAP_SAVE_SPR {SPRG2}, {GPR} + 8 * 13, %r9
    TRAP_SAVE_SPECIAL
    TRAP_SAVE_SPR {DAR_SPR}, {DAR}, %r9
    TRAP_SAVE_SPR {DSISR_SPR}, {DSISR}, %r10
    TRAP_SAVE_SPR {AMR_SPR}, {AMR}, %r9
    li      %r9, {AMR_CLOSED}
    mtspr   {AMR_SPR}, %r9
    ld      %r2, {TOC}(%r13)
    // Translation as the interrupted code had it, and RI.
    mfspr   %r10, {SRR1}
    andi.   %r10, %r10, {MSR_IR_DR}
    mfmsr   %r9
    or      %r9, %r9, %r10
    ori     %r9, %r9, {MSR_RI}
    mtspr   {SRR1}, %r9
    addis   %r10, %r2, 2f@toc@ha
    addi    %r10, %r10, 2f@toc@l
    mtspr   {SRR0}, %r10
    rfid
2:  addi    %r3, %r1, {HEADER}
    bl      {nmi_handler}
    TRAP_DROP_RESERVATION %r9
    TRAP_LOAD_SPR {AMR_SPR}, {AMR}, %r9
    TRAP_LOAD_NONVOLATILE
    TRAP_UNRECOVERABLE
    ld      %r10, {NMI_DEPTH}(%r13)
    addi    %r10, %r10, -1
    std     %r10, {NMI_DEPTH}(%r13)
    TRAP_LOAD_VOLATILE
    TRAP_LOAD 13, 1
    rfid

    .globl trap_text_end
trap_text_end:
