// Loads a 64-bit absolute address. @high, not @h: the latter refuses 0xc000....
.macro LOAD_ADDRESS reg, symbol
    lis     \reg, \symbol@highest
    ori     \reg, \reg, \symbol@higher
    rldicr  \reg, \reg, 32, 31
    oris    \reg, \reg, \symbol@high
    ori     \reg, \reg, \symbol@l
.endm
