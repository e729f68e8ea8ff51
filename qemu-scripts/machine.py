"""One QEMU machine: which QEMU, its command line, the kernel's, the initrd.

Everything that starts QEMU uses this module, so a test, a measurement and `make run` have one kind
of machine.
"""

import pathlib
import shlex
import shutil

import initrd
from common import BUILD, SYNCHRONOUS_TLBIE, USAGE, die, dotted, output_of, recorded, version_of

# Transactional memory and the speculation mitigations have no meaning under TCG, and
# QEMU refuses their defaults there.
MACHINE = "pseries,cap-cfpc=broken,cap-sbbc=broken,cap-ibs=broken,cap-ccf-assist=off"
# VOF is the small firmware inside QEMU, SLOF the large one that runs in the guest and
# takes four seconds.
FIRMWARE = {"vof": ",x-vof=on", "slof": ""}


def find_qemu(given=""):
    """(path, version) of the QEMU to use: the given one, else the set-up's."""
    path = given or recorded("qemu")
    if not path:
        die("no QEMU is set up: run `qemu-scripts/setup qemu`, or give QEMU=path.")
    resolved = shutil.which(path)
    if resolved is None:
        die(f"QEMU={path} is not a program." if given else f"{path} is gone: run `qemu-scripts/setup qemu`.", USAGE)
    told = output_of([resolved, "--version"])
    if told is None or "QEMU" not in told:
        die(f"{path} does not run, or is not a QEMU.", USAGE)
    return resolved, version_of(told)


def kernel_command_line(s, version):
    """The -append text. The words behind ` -- ` are init's, so APPEND comes before it."""
    words = [f"lazy_tlb={s.lazy}"]
    tlb = s.tlb or ("" if version >= SYNCHRONOUS_TLBIE else "ipi")
    if tlb:
        words.append(f"tlb={tlb}")
    if s.irq:
        words.append(f"irq={s.irq}")
    # The kernel's expected failures name the QEMU on which they are expected.
    words.append(f"qemu={dotted(version)}")
    path, _, arguments = s.init.partition(" ")
    if not path and s.initrd:
        path = "/init"
    if path:
        words.append(f"init={path}")
    if s.append:
        words.append(s.append)
    if arguments.strip():
        words += ["--", arguments.strip()]
    return " ".join(words)


def command_line(s, kernel, archive=None):
    """The whole command line of QEMU."""
    qemu, version = find_qemu(s.qemu)
    words = [qemu]
    # A QEMU that is installed outside the system's folders finds its firmware through -L.
    data = pathlib.Path(qemu).resolve().parent.parent / "share/qemu"
    if (data / "vof.bin").exists():
        words += ["-L", str(data)]
    smp = str(s.smp) + (f",threads={s.threads}" if s.threads > 1 else "")
    words += ["-M", MACHINE + FIRMWARE[s.firmware], "-cpu", s.cpu, "-m", s.mem, "-smp", smp, "-nodefaults", "-display", "none",
              "-serial", "stdio", "-monitor", "none", "-action", "panic=exit-failure", "-accel", "tcg"]
    if s.icount:
        # One order of instructions in every run: CPUs in turn, time from the instruction count, a
        # fixed clock and a fixed random seed.
        words += ["-icount", f"shift={s.icount},sleep=off{s.recording}", "-seed", "1",
                  "-rtc", "base=2026-01-01T00:00:00,clock=vm"]
    words += ["-kernel", str(kernel)]
    if archive:
        words += ["-initrd", str(archive)]
    words += ["-append", kernel_command_line(s, version)]
    return words + shlex.split(s.qemu_args)


def archive_for(s, default):
    """The initrd of a run: the default one, a cpio archive, or a program packed as one."""
    if not s.initrd:
        return default if default and pathlib.Path(default).exists() else None
    path = pathlib.Path(s.initrd)
    try:
        data = path.read_bytes()
    except OSError as error:
        die(f"INITRD={s.initrd} cannot be read: {error.strerror}.", USAGE)
    if data.startswith(b"\x7fELF"):
        wrong = initrd.why_not_a_program(data)
        if wrong:
            die(f"INITRD={s.initrd} {wrong}.", USAGE)
        packed = BUILD / f"initrd-{path.name}.cpio"
        names = {"init", s.init.partition(" ")[0].lstrip("/") or "init"}
        BUILD.mkdir(exist_ok=True)
        packed.write_bytes(initrd.archive({name: data for name in names}))
        return packed
    if not data.startswith(b"070701"):
        die(f"INITRD={s.initrd} is neither a newc cpio archive nor an ELF program (a compressed archive: unpack it).",
            USAGE)
    return path
