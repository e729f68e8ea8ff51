# All floating-point, or all vector-scalar, registers from and to memory.
# In: r3 = 32 doublewords (fp_*), or 64 quadwords (vsx_*). Out: r3 kept.
# The program is built without floating point: nobody else uses the registers.

    .section .text, "ax", @progbits

    .macro ALL_32 what
    .irp n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
    \what   \n
    .endr
    .endm

    .macro LOAD n
    lfd     \n, 8 * \n(3)
    .endm
    .macro STORE n
    stfd    \n, 8 * \n(3)
    .endm
    # The second half of the 64 are the vector registers.
    .macro LOAD_VSX n
    lxv     \n, 16 * \n(3)
    lxv     32 + \n, 512 + 16 * \n(3)
    .endm
    .macro STORE_VSX n
    stxv    \n, 16 * \n(3)
    stxv    32 + \n, 512 + 16 * \n(3)
    .endm

    .globl fp_load, fp_store, vsx_load, vsx_store, fpscr_set, fpscr_get
    .type fp_load, @function
fp_load:
    ALL_32 LOAD
    blr
    .type fp_store, @function
fp_store:
    ALL_32 STORE
    blr
    .type vsx_load, @function
vsx_load:
    ALL_32 LOAD_VSX
    blr
    .type vsx_store, @function
vsx_store:
    ALL_32 STORE_VSX
    blr

# The rounding mode (the last two bits of the FPSCR) from and to memory at r3.
# Uses f0.
    .type fpscr_set, @function
fpscr_set:
    lfd     0, 0(3)
    mtfsf   0xff, 0
    blr
    .type fpscr_get, @function
fpscr_get:
    mffs    0
    stfd    0, 0(3)
    blr
