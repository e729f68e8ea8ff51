"""The configurations that the matrix starts, as data: the form of a row, and all rows."""

import dataclasses

from settings import POLICIES

# The work of a row: the kernel's own tests, or an init and its arguments.
TESTS = "tests"
DEMO = "/bin/demo"
STORM = "/bin/storm 0 2"
TRUE = "/bin/true"


@dataclasses.dataclass(frozen=True)
class Row:
    """One way of starting the kernel, and how that must end."""

    firmware: str = "vof"
    cpu: str = "power9"
    qemu: str = "new"        # the set-up's; "old": the system's, if it is another
    smp: str = "4"
    mem: str = "512M"
    policy: str = "shootdown"
    work: str = DEMO
    append: str = ""
    machine: str = ""        # options of QEMU's machine
    says: str = ""           # a line of the kernel or of QEMU that must appear
    status: int = 0
    known: str = ""          # the row is a known failure: why
    to_init_s: float = 0     # limit from the start of QEMU to init, 0 for none
    limit_s: int = 60
    short: bool = False      # in `make test-starts` too

    def label(self):
        """The row in one line."""
        return " ".join(filter(None, [self.firmware, self.cpu, self.qemu, f"smp={self.smp}", self.mem, self.policy,
                                      self.append, self.machine, self.work]))


def policies(**common):
    """A row under each policy."""
    return [Row(policy=policy, **common) for policy in POLICIES]


ROWS = [
    # The everyday machine, and every firmware, CPU and QEMU.
    *policies(),
    *policies(cpu="power10"),
    *policies(qemu="old"),
    Row(cpu="power10", qemu="old", short=True),
    Row(firmware="slof", short=True),
    Row(firmware="slof", cpu="power10"),
    Row(firmware="slof", qemu="old"),
    Row(firmware="slof", cpu="power10", qemu="old"),
    # From one CPU to as many as there is room for.
    *policies(smp="1"),
    *policies(smp="16"),
    Row(smp="8,threads=4", short=True),
    Row(smp="8,threads=4", cpu="power10"),
    Row(smp="8,threads=4", qemu="old", status=1, says="TCG cannot support more than 1 thread/core",
        known="QEMU refuses: its TCG has one thread a core"),
    *policies(smp="64", mem="1G", work=STORM, limit_s=120),
    # The tests wait for 64 CPUs, of which a host runs few at a time: a minute or two each.
    Row(smp="64", mem="1G", work=TESTS, limit_s=600),
    Row(smp="64", mem="1G", policy="refcount", work=TESTS, limit_s=600),
    Row(smp="64", mem="1G", policy="quiescent", work=TESTS, limit_s=600),
    Row(smp="64", mem="1G", qemu="old", work=TESTS, limit_s=600),
    Row(smp="192", mem="1G", work=TRUE, to_init_s=2, short=True),
    Row(smp="192", mem="1G", cpu="power10", work=TRUE, to_init_s=2),
    Row(smp="192", mem="1G", work=STORM, limit_s=180),
    Row(smp="1024", mem="1G", work=TRUE, to_init_s=8, limit_s=90),
    Row(smp="1024", mem="1G", qemu="old", work=TRUE, limit_s=90),
    Row(smp="1100", mem="1G", work=TRUE, says="smp: 1100 CPUs, of which 1024 are used", limit_s=90),
    # The other interrupt controller, and machines that have but one.
    *policies(append="irq=xics"),
    Row(smp="1", append="irq=xics"),
    Row(smp="8,threads=4", append="irq=xics"),
    Row(append="irq=xics", qemu="old"),
    Row(smp="64", mem="1G", append="irq=xics", work=TESTS, limit_s=600),
    Row(smp="192", mem="1G", append="irq=xics", work=STORM, limit_s=180),
    Row(smp="1024", mem="1G", append="irq=xics", work=TRUE, to_init_s=8, limit_s=90),
    Row(machine="ic-mode=xive", says="XIVE", short=True),
    Row(machine="ic-mode=xive", firmware="slof", qemu="old", says="XIVE"),
    Row(machine="ic-mode=xics", says="XICS", short=True),
    Row(machine="ic-mode=xive", append="irq=xics", status=1, says="this machine has no XICS", short=True),
    Row(machine="ic-mode=xics", append="irq=xive", status=1, says="this machine has no XIVE", short=True),
    Row(machine="ic-mode=xive", append="firmware_lacks=ibm,client-architecture-support", status=1, short=True,
        says="this machine has XIVE alone"),
    # Numbers of CPUs that are not 0, 1, 2 …
    Row(smp="3", machine="vsmt=8", short=True),
    Row(smp="192", mem="1G", machine="vsmt=8", work=TRUE),
    Row(smp="192", mem="1G", machine="vsmt=8", append="irq=xics", work=TRUE),
    # Memory: QEMU gives 256M or more, the kernel needs less.
    Row(mem="256M", append="mem=18M", short=True),
    Row(mem="256M", append="mem=64M", smp="16"),
    Row(mem="256M"),
    Row(mem="3G"),
    Row(mem="16G"),
    Row(mem="16G", firmware="slof"),
    # Configurations that cannot work, with their error messages.
    Row(cpu="power8", status=1, says="this machine has no radix MMU", short=True),
    Row(cpu="power8", firmware="slof", qemu="old", status=1, says="this machine has no radix MMU"),
    Row(smp="1024", mem="256M", append="mem=64M", status=1, says="too little memory:", work=TRUE),
    Row(mem="256M", append="mem=4M", status=1, says="mem= is too small", work=TRUE, short=True),
    # A firmware that lacks something.
    Row(append="firmware_lacks=ibm,client-architecture-support", says="going on with what is offered", short=True),
    Row(append="firmware_lacks=gtse", says="broadcast flush by IPI + tlbiel", short=True),
    Row(append="firmware_lacks=gtse", says="broadcast flush by IPI + tlbiel", work=TESTS, limit_s=300),
    Row(append="firmware_lacks=start-cpu", says="no RTAS service start-cpu", work=TRUE, short=True),
    Row(append="firmware_lacks=power-off", status=1, says="no RTAS service power-off", work=TRUE),
]
