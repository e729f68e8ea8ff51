"""Bad input, as a table: the input, the last line, and the status.

Three kinds of cases (bad_input_kinds.py). A *boot* feeds QEMU an archive and a command
line and reads the console; `said` names a line that must stand before the last one. A
*command* runs one of our scripts or make, with variables set. An *offline* case runs the
set-up in a copy of the scripts on a machine that lacks a tool or the network. None may
panic, hang, or end in a traceback.
"""

import pathlib
import re
import shutil
import tempfile

import initrd
import machine
from bad_files import (FIFO, FILE, LINK, PROGRAMS, field, good_program, init, load_headers, many_segments, members,
                       patched, with_field)
from bad_input_kinds import INITRD, KERNEL, TESTS, Boot, Command, Offline
from common import ROOT, SCRIPTS
from gdb import recording
from settings import POLICIES
from tally import Tally, failure

# Text that no case may print: our own failures, not the input's.
OUR_FAULT = re.compile(r"kernel panic|kernel fault|Traceback \(most recent")

# --- the table ------------------------------------------------------------------------

def elves():
    """ELF files."""
    first, *_, last = load_headers()
    entry = field(24)
    code = next(at for at in load_headers() if 0 <= entry - field(at + 16) < field(at + 32))
    on_stack = (128 << 40) - (1 << 20) + field(last + 16) % 4096
    cannot = "cannot run init /init: "
    bad = lambda name, why, program: Boot(f"elf {name}", cannot + why + "$", archive=init(program))
    yield bad("empty", "not an ELF file", b"")
    yield bad("one byte", "not an ELF file", b"\x7f")
    yield bad("garbage", "not an ELF file", bytes(range(256)) * 64)
    yield bad("script", "not an ELF file", b"#!/bin/sh\n")
    yield bad("magic only", "the ELF file is truncated", good_program()[:4])
    yield bad("cut in its header", "the ELF file is truncated", good_program()[:60])
    yield bad("cut in its program headers", "the ELF file is truncated", good_program()[:100])
    yield bad("cut in its code", "the ELF file is truncated", good_program()[:field(code + 8) + 200])
    yield bad("of 32 bits", "not a program for 64-bit big-endian PowerPC", patched((4, "B", 1)))
    yield bad("little-endian", "not a program for 64-bit big-endian PowerPC", patched((5, "B", 1)))
    yield bad("for another machine", "not a program for 64-bit big-endian PowerPC", patched((18, "H", 62)))
    yield bad("object file", "not an executable", patched((16, "H", 1)))
    yield bad("core file", "not an executable", patched((16, "H", 4)))
    yield bad("without segments", "not an executable", patched((56, "H", 0)))
    yield bad("with an interpreter", "it needs a dynamic linker.*", patched((first, "I", initrd.PT_INTERP)))
    yield bad("headers outside", "the ELF file is truncated", patched((32, "Q", 2**64 - 8)))
    yield bad("odd header size", "the ELF file is truncated", patched((54, "H", 55)))
    yield bad("more headers than file", "the ELF file is truncated", patched((56, "H", 65535)))
    yield bad("segment wraps", "a segment that cannot be mapped", patched((last + 40, "Q", 2**64 - 1)))
    yield bad("segment in the kernel", "a segment that cannot be mapped",
              patched((last + 16, "Q", 0xC000000000400000 + field(last + 16) % 4096)))
    yield bad("segment on the stack", "a segment that cannot be mapped",
              patched((last + 16, "Q", on_stack), (24, "Q", on_stack)))
    yield bad("segment at zero", "a segment that cannot be mapped", patched((first + 16, "Q", field(first + 8) % 4096)))
    yield bad("segment off its page", "a segment that cannot be mapped", patched((last + 16, "Q", field(last + 16) + 8)))
    yield bad("file larger than memory", "a segment that cannot be mapped", patched((first + 40, "Q", 1)))
    yield bad("overlapping segments", "segments that overlap or are not in order",
              patched((first + 40, "Q", field(last + 16) - field(first + 16) + 1)))
    yield bad("entry outside", "an entry point outside its code", patched((24, "Q", 2**64 - 4)))
    yield bad("entry in data", "an entry point outside its code", patched((24, "Q", field(first + 16))))
    # A large bss that is never touched is no error.
    yield Boot("elf 64 TiB of bss", r"init exited with status 0$", 0, init(patched((last + 40, "Q", 64 << 40))))
    yield Boot("elf 65535 segments", r"init was killed by SIGTRAP$", archive=init(many_segments()))
    start = entry - field(code + 16) + field(code + 8)
    yield Boot("elf code of zeroes", r"init was killed by SIGILL$", archive=init(patched((start, "I", 0))))


def archives():
    """cpio archives."""
    whole = init(good_program())
    missing = "cannot run init /init: ENOENT$"
    bad = lambda name, said, archive, **more: Boot(f"cpio {name}", missing, archive=archive, said=said, **more)
    yield bad("none", "no initrd: ", None, bare=True)
    yield bad("garbage", r"initrd: no newc cpio header at offset 0x0$", b"garbage!" * 64)
    yield bad("compressed", r"initrd: no newc cpio header at offset 0x0$", b"\x1f\x8b\x08" + bytes(200))
    yield bad("cut in the header", "initrd: the cpio archive ends within the member at offset 0x0$", whole[:90])
    yield bad("cut in the name", "initrd: the cpio archive ends within", whole[:112])
    yield bad("cut in the data", "initrd: the cpio archive ends within", whole[:4000])
    yield bad("size beyond the end", "initrd: the cpio archive ends within", with_field(whole, 6, b"ffffffff"))
    yield bad("name beyond the end", "initrd: a damaged cpio header at offset 0x0$", with_field(whole, 11, b"ffffffff"))
    yield bad("no number", "initrd: a damaged cpio header at offset 0x0$", with_field(whole, 6, b"-0000001"))
    yield bad("name without end", "initrd: a damaged cpio header at offset 0x0$", with_field(whole, 11, b"00000004"))
    yield bad("name that leads up", "initrd: ../../init cannot be placed: EINVAL$",
              members(("../../init", FILE, good_program())))
    yield bad("file that is a directory, too", "initrd: bin/x cannot be placed: ENOTDIR$",
              members(("bin", FILE, b""), ("bin/x", FILE, b"")))
    yield bad("link of no text", "initrd: init cannot be placed: EINVAL$", members(("init", LINK, b"\xff\xfe")))
    yield bad("init is a device", "", members(("init", FIFO, b"")))
    yield bad("name too long", "initrd: a{300} cannot be placed: ENAMETOOLONG$", members(("a" * 300, FILE, b"")))
    ends = lambda name, last, status, archive: Boot(f"cpio {name}", last, status, archive)
    runs = r"init exited with status 0$"
    yield ends("no trailer", runs, 0, members(("init", FILE, good_program()), trailer=False))
    yield ends("damage behind init", runs, 0, members(("init", FILE, good_program()), trailer=False) + b"rubbish" * 40)
    yield ends("same name twice", runs, 0, members(("init", FILE, good_program()), ("init", FILE, b"")))
    yield ends("dev in the way", runs, 0, members(("dev", FILE, b""), ("init", FILE, good_program())))
    yield ends("init is a directory", "cannot run init /init: EACCES$", 1, members(("init", initrd.DIRECTORY, b"")))
    yield ends("init not executable", "cannot run init /init: EACCES$", 1, members(("init", 0o100644, good_program())))
    yield ends("init leads to itself", "cannot run init /init: ELOOP$", 1, members(("init", LINK, b"init")))
    chain = [(f"l{n}", LINK, f"l{n + 1}/l{n + 1}".encode()) for n in range(200)]
    yield ends("links in links", "cannot run init /init: ELOOP$", 1, members(("init", LINK, b"l0/l0"), *chain))
    names = [(f"n{n}", FILE, b"", 7, 60001) for n in range(60000)]
    yield ends("60000 hard links", runs, 0, members(("init", FILE, good_program(), 7, 60001), *names))


def command_lines():
    """The kernel's command line."""
    option = lambda name, append, last, status=1, **more: Boot(f"cmdline {name}", last, status, None, append, **more)
    good = r"init exited with status 0$"
    yield option("no such init", "init=/bin/none", "cannot run init /bin/none: ENOENT$")
    yield option("relative init", "init=bin/hello", "init=bin/hello: the path of init; it begins with /$")
    yield option("init without value", "init", "init=: the path of init; it begins with /$")
    yield option("no such policy", "lazy_tlb=eagre", f"lazy_tlb=eagre: not a policy; one of {', '.join(POLICIES)}$")
    yield option("policy without value", "lazy_tlb", "lazy_tlb=: not a policy; .*$")
    yield option("no such flush", "tlb=magic", "tlb=magic: how to flush other CPUs; tlbie or ipi$")
    yield option("no such interrupt controller", "irq=magic", "irq=magic: the interrupt controller; xive or xics$")
    yield option("trim 0", "trim=0", "trim=0: the period of the trim clock; .*$")
    yield option("trim beyond numbers", "trim=4294967296", "trim=4294967296: the period of the trim clock; .*$")
    yield option("report maybe", "report=maybe", "report=maybe: the report at power-off; on, off, or all for a column of each CPU$")
    for pattern, start in (("nosuch", 1), ("arithmetic", 99)):
        yield option(f"test={pattern} from {start}", f"test={pattern} test_from={start}",
                     f"selftest: test={pattern}: no test from {start} on has that in its name$", kernel=TESTS)
    yield option("unknown key to init's environment", "init=/bin/args colour=blue", good, 0, said=r"env colour=blue$")
    yield option("unknown word to init's arguments", "init=/bin/args single", good, 0, said=r"argv\[1\] = single$")
    yield option("dotted key to nobody", "init=/bin/args a.b=c", good, 0, said=r"argv\[0\] = /bin/args$")
    yield option("open quote", 'init=/bin/args x="y z', good, 0, said=r'env x="?y z')
    yield option("900 words", "init=/bin/args " + " ".join(f"w{n}" for n in range(900)), good, 0,
                 said=r"argv\[900\] = w899$")


def deeds():
    """Programs that ask for too much: as init, and as children of an init that survives."""
    alone = lambda deed, last, status=1: Boot(f"init does {deed}", last, status, None, f"init=/bin/abuse -- self {deed}")
    yield Boot("init exits 7", "init exited with status 7$", 1, None, "init=/bin/exits -- 7")
    yield Boot("init exits 0", "init exited with status 0$", 0, None, "init=/bin/exits -- 0")
    yield Boot("init faults", "init was killed by SIGSEGV$", 1, None, "init=/bin/faults -- null-read")
    yield alone("recurse", "init was killed by SIGSEGV$")
    yield alone("allocate", "init was killed by SIGKILL$")
    yield alone("break", "init was killed by SIGKILL$")
    good = r"init exited with status 0$"
    child = lambda deed, said, more="": Boot(
        f"child does {deed}", good, 0, None, f"{more} init=/bin/abuse -- {deed}".strip(), said=said)
    yield child("recurse", "recurse: signal 11$")
    yield child("allocate", "allocate: signal 9$")
    yield child("break", "break: signal 9$")
    yield child("populate", "populate: exit 0$")
    yield child("areas", "areas: exit 0$")
    yield child("forks", "fork: (EAGAIN|ENOMEM)$")
    # The search for room grows with the square of their number: thousands are enough.
    yield child("threads", "clone: (EAGAIN|ENOMEM)$", "mem=96M")
    yield child("descriptors", "dup: EMFILE$")
    yield child("fork-when-full", "fork: ENOMEM$")
    yield child("exec-when-full", "child: (exit 0|signal 9)$|execve: ENOMEM$")
    yield child("touch-when-full", "child: signal 9$")
    yield child("thread-when-full", "clone: ENOMEM$")
    yield child("directories", "mkdir: ENOMEM$")
    yield child("files", "open: ENOMEM$")
    yield child("long-arguments", "execve: E2BIG$")
    yield child("many-arguments", "execve: E2BIG$")
    yield child("wild-arguments", "execve: EFAULT$")
    yield child("random-calls=20260101", "random-calls=20260101: exit 0$")


def commands():
    """Variables of make."""
    def check(variable, value, last):
        return Command(f"{variable}={value}", last, 2, [SCRIPTS / "run", "--check"], {variable: value})
    yield check("SMP", "0", r"run: SMP=0 is not a number of 1 or more\.$")
    yield check("SMP", "four", r"run: SMP=four is not a number of 1 or more\.$")
    yield check("MEM", "lots", r"run: MEM=lots is not a size such as 512M or 2G\.$")
    for size in ("300M", "64M", "1"):
        yield check("MEM", size, rf"run: MEM={size} is not a multiple of 256M, the steps of QEMU's machine .*\.$")
    yield check("SMP", "5000", r"run: SMP=5000 is more than 1024\.$")
    yield check("LAZY", "eagre", rf"run: LAZY=eagre is not one of {', '.join(POLICIES)}\.$")
    yield check("TLB", "magic", r"run: TLB=magic is not one of tlbie, ipi\.$")
    yield check("IRQ", "magic", r"run: IRQ=magic is not one of xive, xics\.$")
    yield check("TIMEOUT", "soon", r"run: TIMEOUT=soon is not a number of seconds \(0 for none\)\.$")
    yield check("ICOUNT", "11", r"run: ICOUNT=11 is not a shift of 0 to 10 .*\.$")
    yield check("INIT", "bin/hello", r"run: INIT=bin/hello does not start with an absolute path, .*\.$")
    yield check("INITRD", "/nonexistent", r"run: INITRD=/nonexistent cannot be read: No such file or directory\.$")
    yield check("INITRD", "/", r"run: INITRD=/ cannot be read: Is a directory\.$")
    yield check("INITRD", "Makefile", r"run: INITRD=Makefile is neither a newc cpio archive nor an ELF program .*\.$")
    yield check("INITRD", shutil.which("python3"), r"run: INITRD=\S+ is not a big-endian powerpc64 program .*\.$")
    for name, data in (("of one byte", b"\x7f"), ("of nothing", b"")):
        yield Command(f"INITRD {name}", r"run: INITRD=\S+ is neither a newc cpio archive .*\.$", 2,
                      [SCRIPTS / "run", "--check"], fed=data)
    for name, data in (("ELF cut", good_program()[:80]), ("ELF with headers outside", patched((32, "Q", 2**64 - 8)))):
        yield Command(f"INITRD {name}", r"run: INITRD=\S+ is a truncated ELF file\.$", 2, [SCRIPTS / "run", "--check"],
                      fed=data)
    yield check("QEMU", "/nonexistent", r"run: QEMU=/nonexistent is not a program\.$")
    yield check("QEMU", "/bin/true", r"run: /bin/true does not run, or is not a QEMU\.$")
    yield check("QEMU_ARGS", "'open", r"run: QEMU_ARGS is not well quoted: .*\.$")
    for name, value, why in (("TEST", "nosuch", "no in-kernel test has that in its name"),
                             ("TRACE", "frob", "is not on, or some of switch,lazy,.*"), ("TRACE", "off", "is not on, or .*"),
                             ("TRACE_KB", "7", "is not one of 8, .*, 4096"), ("FROM", "soon", "is not a number of microseconds"),
                             ("AROUND", "frob:mm3", "frob is no event; kick, .*")):
        yield Command(f"trace with {name}={value}", rf"trace: {name}={value}:? {why}\.$", 2, [SCRIPTS / "trace", "--check"],
                      {name: value})
    yield Command("make trace TEST=nosuch", r"trace: TEST=nosuch: no in-kernel test .*\.$", 2, ["make", "trace", "TEST=nosuch"])
    yield Command("make run TEST=nosuch", r"run: APPEND=test=nosuch: no in-kernel test .*\.$", 2, ["make", "run", "TEST=nosuch"])
    for debugger in ("gdb", "replay"):
        yield Command(f"make {debugger} TEST=nosuch", r"start: TEST=nosuch: no in-kernel test .*\.$", 2,
                      ["script", "-qec", f"make {debugger} TEST=nosuch", "/dev/null"])
    yield Command("make run SMP=0", r"run: SMP=0 is not a number of 1 or more\.$", 2, ["make", "run", "SMP=0"])
    run = [SCRIPTS / "run", KERNEL, INITRD]
    yield Command("CPU=pentium", r"run: QEMU stopped with status 1: .*pentium.*$", 1, run, {"CPU": "pentium"})
    yield Command("QEMU_ARGS=-bogus", r"run: QEMU stopped with status 1: .*bogus.*$", 1, run, {"QEMU_ARGS": "-bogus"})
    for more, heading in (("", "min +median +max +at"), ("report=all", "cpu0 .* cpu8")):
        yield Command(f"report of 9 CPUs {more}", "init exited with status 0$", 0, run,
                      {"SMP": "9", "INIT": "/bin/true", "APPEND": more}, said=f"counter +{heading} +total$")
    yield Command("ICOUNT on a terminal", "init exited with status 0$", 0,
                  ["script", "-qec", f"{SCRIPTS}/run {KERNEL} {INITRD}", "/dev/null"], {"ICOUNT": "0", "INIT": "/bin/true"})
    trace = [SCRIPTS / "trace", KERNEL, INITRD, ROOT / "target/headline/release/trace-tool"]
    yield Command("trace of a run that hangs", r"trace: build/trace/trace\.bin, .*; the run: no end after \d s, stopped$", 1,
                  trace, {"INIT": "/bin/sleepers", "TIMEOUT": "2"}, said=r"check: \d{3,} events, ")
    yield Command("trace of a kernel that refuses", r"trace: no trace: trace_kb=7: the size of a CPU's trace; .*$", 1, trace,
                  {"APPEND": "trace_kb=7"})
    yield Command("trace with QEMU_ARGS=-bogus", r"trace: no trace: QEMU stopped with status 1: .*bogus.*$", 1, trace,
                  {"QEMU_ARGS": "-bogus"})
    if machine.find_qemu()[1] >= recording.FIRST:
        yield Command("replay with QEMU_ARGS=-bogus", r"replay: the recording .*: QEMU stopped with status 1: .*bogus.*$", 1,
                      [SCRIPTS / "gdb/replay", KERNEL, INITRD], {"QEMU_ARGS": "-bogus"})
    yield Command("no kernel", r"run: nothing\.elf is missing: run make to build it\.$", 1, [SCRIPTS / "run", "nothing.elf"])
    yield Command("compare of an INITRD", r"mm_freed .*$", 0, [SCRIPTS / "compare", KERNEL, INITRD], {"SMP": "1"},
                  fed=good_program(), said="ran /init on 1 CPUs under hazard$")
    yield Command("compare shows zombies", r"mm_freed .*$", 0, [SCRIPTS / "compare", KERNEL, INITRD],
                  {"SMP": "1", "INIT": "/bin/true"}, said=r"zombie_longest( +\d+){9}\b")
    # On a terminal of its own, which `make gdb` wants.
    yield Command("debugger without a kernel", r"start: QEMU stopped with status 1: .*bogus.*gdb-qemu\.log\)$", 1,
                  ["script", "-qec", f"{SCRIPTS}/gdb/start {KERNEL} {INITRD}", "/dev/null"],
                  {"QEMU_ARGS": "-device spapr-vty,bogus=1"})
    yield Command("MUTANT of no name", r"0 passed, 1 failed, 0 skipped$", 1, [SCRIPTS / "test", "mutants"],
                  {"MUTANT": "none-such"}, said=r"\| mutants: no mutant has none-such in its name\.$")
    yield Command("failed tests are named last", r"0 passed, 1 failed, 0 skipped$", 1, [SCRIPTS / "test", "mutants"],
                  {"MUTANT": "none-such"}, said="failed: mutants: mutants$")
    builds = lambda what: ["bash", "-c", f"make -n {what} QUICK=1 | grep -c profile=edit; true"]
    yield Command("QUICK=1 runs a kernel of its own", "1$", 0, builds("run"))
    yield Command("QUICK=1 measures a release", "0$", 0,
                  builds("bench bench-check headline scale figures measure compare profile matrix instructions"))
    yield Command("a build of nothing new is silent", "silent$", 0,
                  ["bash", "-c", '[ -z "$(make build/initrd.cpio 2>&1 | tee /dev/stderr)" ] && echo silent'])
    yield Command("a build that fails says why", "error: .*none-such.*$", 101, [SCRIPTS / "cargo-build", "-p", "none-such"])
    yield Command("no such stage", r"test: no stage none: there are .*\.$", 2, [SCRIPTS / "test", "none"])


def full_disks():
    """Scripts that may not write what they have made."""
    full = lambda script, *words, **more: Command(f"full disk, {script}", rf"{script}: File too large\.$", 1,
                                                  [SCRIPTS / script, *words], most_bytes=4096, **more)
    yield full("symbols", PROGRAMS / "kernel", "FOLDER/full.elf")
    yield full("mkinitrd", "FOLDER/full.cpio", f"init={PROGRAMS / 'hello'}")
    yield full("sequences", "--write", "FOLDER/full.sequences")
    yield full("run", "--check", fed=good_program())


def offline():
    """Machines that lack a tool, or the network."""
    pinned = re.search(r'channel = "([^"]+)"', (ROOT / "rust-toolchain.toml").read_text())[1]
    no_network = "echo 'E: Failed to fetch: could not resolve host' >&2; exit 100"
    rustc = {"rustc": f'case $1 in --version) echo rustc {pinned};; *) echo "$PWD/sysroot";; esac'}
    compilers = {**rustc, "cc": "exit 0"}
    # Whatever is wanted: nothing is fetched before.
    for stage in ("rust-src", "qemu"):
        yield Offline(f"no rustc, {stage}", r"setup: rustc \S+ is missing: install it with .*\.$", stage)
    yield Offline("no linker", r"setup: cc, .*, is missing: install gcc\.$", "qemu", rustc)
    yield Offline("another rustc", r"setup: rustc is 1\.2\.3, but rust-toolchain\.toml pins \S+\.$", "rust-src",
                  {"rustc": "echo 'rustc 1.2.3 (abc 2020-01-01)'"})
    yield Offline("no library sources, no network", r"setup: .*(rustup component add rust-src|no mirror).*\.$", "rust-src",
                  {**compilers, "apt-get": no_network, "apt-cache": no_network})
    yield Offline("no qemu, no network", r"setup: .*(could not install|no mirror|is missing).*$", "qemu",
                  {**compilers, "apt-get": no_network, "apt-cache": no_network, "dpkg": "exit 1", "sudo": 'shift; exec "$@"'})
    yield Offline("no compiler, no network", r"setup: .*(could not install|missing for|is missing).*$", "cross",
                  {**compilers, "apt-get": no_network, "sudo": no_network})
    yield Offline("no debugger, no network", r"setup: .*(could not install|missing for|is missing).*$", "gdb",
                  {**compilers, "apt-get": no_network, "sudo": no_network})


def cases():
    """The whole table."""
    for group in (elves, archives, command_lines, deeds, commands, full_disks, offline):
        yield from group()


# --- running and judging --------------------------------------------------------------

def why_not(case, status, output):
    """How a case's end differs from the table, "" if it does not."""
    lines = [line.rstrip() for line in output.splitlines() if line.strip()]
    last = lines[-1] if lines else ""
    if fault := OUR_FAULT.search(output):
        return f"{fault[0]}: {last}"
    if status != case.status:
        return f"status {status}, not {case.status}: {last}"
    if not re.match(case.last, last):
        return f"last line {last!r}, not {case.last!r}"
    said = getattr(case, "said", "")
    if said and not any(re.match(rf"\s*(?:{said})", line) for line in lines):
        return f"no line has {said!r}"
    return ""


def run(pool, pattern=""):
    """Runs the cases with `pattern` in their names through pool(function, items); returns the
    tally."""
    chosen = [case for case in cases() if pattern in case.name]
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="bad-input-") as folder:
        work = lambda case: (case, *case.run(pathlib.Path(folder)))
        for case, status, output in pool(work, chosen):
            why = why_not(case, status, output)
            tally += failure(f"bad input: {case.name}", why, output) if why else Tally(passed=1)
    return tally
