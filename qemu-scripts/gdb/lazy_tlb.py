"""GDB's side of the kernel: commands that show the lazy TLB, check it, and stop at what it does.

`help lazy` lists them; docs/debugging.md shows them at work. The kernel describes itself in one
static, LAZY_TLB_DEBUG (kernel/src/debug.rs). Type information serves only for names and lines of
code, not for its state. The package `lazy` beside this file: memory and facts, radix (the walk),
kernel (CPUs, mms, tasks), stack, programs, check; core (dumps); places (functions by name), breaks, steps; trace, calls; printers.
"""

import pathlib
import sys

_here = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(_here), str(_here.parent)]
sys.dont_write_bytecode = True

import lazy.commands  # noqa: E402  (importing defines the commands)
import lazy.breaks  # noqa: E402
import lazy.steps  # noqa: E402
import lazy.calls  # noqa: E402  (and the trace)
import lazy.printers  # noqa: E402
