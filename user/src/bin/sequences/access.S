# Accesses that may fault. The handler of the fault returns from the function in its
# place, with the fault in r3 and 1 in r4; else r3 is the value and r4 is 0.

    .section .text, "ax", @progbits

# try_load(r3 = address)
    .globl try_load, try_load_at
    .type try_load, @function
try_load:
    mr      5, 3
    li      4, 0
try_load_at:
    ld      3, 0(5)
    blr
    .size try_load, . - try_load

# try_store(r3 = address, r4 = value)
    .globl try_store, try_store_at
    .type try_store, @function
try_store:
    mr      5, 3
    mr      6, 4
    li      3, 0
    li      4, 0
try_store_at:
    std     6, 0(5)
    blr
    .size try_store, . - try_store

# try_call(r3 = address): the code there changes r3 at most, or faults at its first word.
    .globl try_call
    .type try_call, @function
try_call:
    mflr    0
    std     0, 16(1)
    stdu    1, -32(1)
    mr      12, 3
    mtctr   3
    li      4, 0
    isync                           # what another thread stored is fetched
    bctrl
    addi    1, 1, 32
    ld      0, 16(1)
    mtlr    0
    blr
    .size try_call, . - try_call
