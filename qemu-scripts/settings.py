"""The variables of the Makefile: their defaults, and the checks of their values."""

import dataclasses
import os
import re
import shlex

from common import ROOT, USAGE, die

FIRMWARES = ("vof", "slof")
FLUSHES = ("tlbie", "ipi")
INTERRUPTS = ("xive", "xics")
MOST_ICOUNT = 10
# As in kernel/core: a CPU mask has no more bits.
MOST_CPUS = 1024
# QEMU's machine takes memory in steps of this many MB only.
MEM_STEP_MB = 256


def _policies():
    """{name: type} of the policies: the list `policies!` of the core."""
    text = (ROOT / "kernel/core/src/lazy_tlb/policy.rs").read_text().partition("macro_rules! policies {")[2]
    return dict(re.findall(r"^ +(\w+) (\w+),$", text.partition("\n}")[0], re.MULTILINE)) or die("policy.rs lists no policy.")


POLICY_TYPES = _policies()
POLICIES = tuple(POLICY_TYPES)


@dataclasses.dataclass
class Settings:
    """The variables of `make run`, checked."""

    smp: int = 4
    threads: int = 1         # of a core
    mem: str = "512M"
    cpu: str = "power9"
    firmware: str = "vof"
    lazy: str = "shootdown"
    initrd: str = ""
    init: str = ""
    append: str = ""
    timeout_s: float = 120
    icount: str = ""
    qemu: str = dataclasses.field(default_factory=lambda: os.environ.get("QEMU", "").strip())
    qemu_args: str = ""
    tlb: str = dataclasses.field(default_factory=lambda: os.environ.get("TLB", "").strip())
    recording: str = ""      # options of -icount that record a run or replay it
    irq: str = dataclasses.field(default_factory=lambda: os.environ.get("IRQ", "").strip())


def _number(name, text, least, unit=""):
    if not text.isascii() or not text.isdigit() or int(text) < least:
        die(f"{name}={text} is not a number of {least} or more{unit}.", USAGE)
    return int(text)


def in_kernel_test(where, pattern):
    """`pattern`, which chooses in-kernel tests; one that no test has in its name ends the script. `where` it stands."""
    sources = "".join(path.read_text() for path in (ROOT / "kernel/src/selftest").rglob("*.rs"))
    if not any(pattern in name for name in re.findall(r'\b(?:new|of_\w+)\(\s*"(\w+)"', sources)):
        die(f"{where}{pattern}: no in-kernel test has that in its name.", USAGE)
    return pattern


def from_environment():
    """Reads and checks the variables; a bad value ends the script with one sentence."""
    s = Settings()
    get = lambda name, default="": os.environ.get(name, "").strip() or str(default)
    cpus, _, threads = get("SMP", s.smp).partition(",threads=")
    s.smp = _number("SMP", cpus, 1)
    if s.smp > MOST_CPUS:
        die(f"SMP={s.smp} is more than {MOST_CPUS}.", USAGE)
    s.threads = _number("SMP=…,threads", threads or "1", 1)
    if s.smp % s.threads:
        die(f"SMP={s.smp},threads={s.threads}: the CPUs do not fill a whole number of cores.", USAGE)
    s.firmware = get("FIRMWARE", s.firmware)
    if s.firmware not in FIRMWARES:
        die(f"FIRMWARE={s.firmware} is not one of {', '.join(FIRMWARES)}.", USAGE)
    s.mem = get("MEM", s.mem)
    if not re.fullmatch(r"[1-9][0-9]*[MmGg]?", s.mem):
        die(f"MEM={s.mem} is not a size such as 512M or 2G.", USAGE)
    megabytes = int(s.mem.rstrip("MmGg")) * (1024 if s.mem[-1] in "Gg" else 1)
    if megabytes % MEM_STEP_MB:
        die(f"MEM={s.mem} is not a multiple of {MEM_STEP_MB}M, the steps of QEMU's machine (APPEND=mem=… uses less of it).",
            USAGE)
    s.cpu = get("CPU", s.cpu)
    s.lazy = get("LAZY", s.lazy)
    if s.lazy not in POLICIES:
        die(f"LAZY={s.lazy} is not one of {', '.join(POLICIES)}.", USAGE)
    s.tlb = get("TLB")
    if s.tlb not in ("", *FLUSHES):
        die(f"TLB={s.tlb} is not one of {', '.join(FLUSHES)}.", USAGE)
    if s.irq not in ("", *INTERRUPTS):
        die(f"IRQ={s.irq} is not one of {', '.join(INTERRUPTS)}.", USAGE)
    timeout = get("TIMEOUT", s.timeout_s)
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", timeout):
        die(f"TIMEOUT={timeout} is not a number of seconds (0 for none).", USAGE)
    s.timeout_s = float(timeout)
    s.icount = get("ICOUNT")
    if s.icount and not (s.icount.isdigit() and int(s.icount) <= MOST_ICOUNT):
        die(f"ICOUNT={s.icount} is not a shift of 0 to {MOST_ICOUNT} (an instruction takes 2^shift ns).", USAGE)
    s.initrd, s.init, s.append = get("INITRD"), get("INIT"), get("APPEND")
    s.qemu_args = get("QEMU_ARGS")
    if get("TESTS", "off") not in ("on", "off"):
        die(f"TESTS={get('TESTS')} is not one of on, off.", USAGE)
    if get("TESTS") == "on":
        for word in re.findall(r"(?:^| )test=(\S*)", s.append):
            in_kernel_test("APPEND=test=", word)
    if s.init and not s.init.startswith("/"):
        die(f"INIT={s.init} does not start with an absolute path, such as /bin/hello.", USAGE)
    try:
        shlex.split(s.qemu_args)
    except ValueError as error:
        die(f"QEMU_ARGS is not well quoted: {error}.", USAGE)
    return s
