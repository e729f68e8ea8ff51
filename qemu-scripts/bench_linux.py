"""Debian's ppc64el kernels for `make bench-linux`: fetched, kept in build/linux, and booted."""

import re
import shutil

import debian
import initrd
from bench_page import LINUXES
from bench_runs import Boot
from common import BUILD, die

FOLDER = BUILD / "linux"
PROGRAM = FOLDER / "bench"
ARCHITECTURE = "ppc64el"
CPUS = (1, 4, 8)
# {kernel: (suite, its packages' names)}: 6.1 counts lazy references, 6.12 shoots.
PACKAGES = {"linux-6.1-64k": ("bookworm", r"linux-image-6\.1\.[\d-]+-powerpc64le"),
            "linux-6.12-64k": ("trixie", r"linux-image-6\.12\.\d+\+deb13-powerpc64le-64k"),
            "linux-6.12-4k": ("trixie", r"linux-image-6\.12\.\d+\+deb13-powerpc64le")}
# Without mitigations=off each way out of the kernel flushes the data cache, which QEMU needs three times the instructions for.
APPEND = "console=hvc0 quiet mitigations=off cryptomgr.notests cpuidle.off=1 transparent_hugepage=never"


def fetch(on):
    """Unpacks the newest of a kernel's packages that the archive holds."""
    suite, pattern = PACKAGES[on]
    names = [name for name in debian.names(suite, "linux-image-", ARCHITECTURE) if re.fullmatch(pattern, name)]
    if not names:
        die(f"Debian's {suite} names no package {pattern} for {ARCHITECTURE} (build/setup.log has apt's words).")
    names.sort(key=lambda name: [int(number) for number in re.findall(r"\d+", name)], reverse=True)
    partial = FOLDER / "partial"
    for name in names:
        shutil.rmtree(partial, ignore_errors=True)
        version = debian.versions(suite, name, ARCHITECTURE)
        # The list may name a package that the mirror has no longer, or not yet.
        if version and debian.try_fetch(suite, name, version[0], partial, ARCHITECTURE):
            break
    else:
        die(f"Debian's {suite} lets none of {', '.join(names)} be downloaded (build/setup.log has apt's words).")
    image = next(partial.glob("boot/vmlinux-*"), None)
    if image is None:
        die(f"{name} holds no boot/vmlinux-*: its layout has changed.")
    (FOLDER / on).mkdir(exist_ok=True)
    (FOLDER / on / "version").write_text(f"{name} {version[0]}\n")
    image.rename(FOLDER / on / "vmlinux")
    shutil.rmtree(partial)


def setup():
    """The kernels that are not there yet."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for on in LINUXES:
        if not (FOLDER / on / "vmlinux").exists():
            fetch(on)


def versions():
    """{kernel: its package and version}."""
    return {on: (FOLDER / on / "version").read_text().strip() for on in LINUXES}


def boots(cpus):
    """A boot of each kernel on each number of CPUs, with the program as init."""
    missing = [on for on in LINUXES if not (FOLDER / on / "vmlinux").exists()]
    if missing or not PROGRAM.exists():
        die(f"{', '.join(missing) or PROGRAM.name} is missing in {FOLDER}: make bench-linux fetches and builds all.")
    archive = FOLDER / "initrd.cpio"
    archive.write_bytes(initrd.archive({"init": PROGRAM.read_bytes()}))
    return [Boot(on, n, str(FOLDER / on / "vmlinux"), str(archive), APPEND) for on in LINUXES for n in cpus]
