"""The tables of docs/figures/bench.md, and README's, from the rows of bench.json."""

from bench_runs import per_operation
from common import ROOT
from headline_page import table
from settings import POLICIES

README = ROOT / "README.md"
BEGIN, END = "<!-- made by make bench -->\n", "<!-- end of make bench -->\n"
USUAL = "shootdown"
# The row that is a difference of two.
SWITCH = "switch"
# {name of a row: (what it is, the CPUs of the comparison, instructions that it should need at most)}
OPERATIONS = {
    "getppid": ("getppid", 4, 100),
    "fault_read": ("page fault, first read", 4, 300),
    "fault_write": ("page fault, anonymous write", 4, 480),
    "mprotect_page": ("mprotect to read-only and back, one page", 4, 700),
    "mprotect_page_fault": ("… and a write", 4, None),
    "mprotect_16m": ("mprotect to read-only and back, 16 MB", 4, 120_000),
    "mmap_touch_munmap": ("mmap, touch, munmap, one page", 4, 1_500),
    "munmap_16m": ("munmap, 16 MB of pages", 4, 200_000),
    "membarrier_busy": ("membarrier, private expedited, the other CPUs busy", 4, 1_500),
    "mprotect_parked": ("mprotect to read-only and back, one page, a thread asleep on each other CPU", 4, None),
    "munmap_parked": ("mmap, touch, munmap, one page, a thread asleep on each other CPU", 4, None),
    "yield_switch": ("sched_yield to another thread of the mm", 4, None),
    SWITCH: ("… less getppid: the switch alone", 4, 130),
    "pipe_1cpu": ("pipe round trip, two threads, one CPU", 4, 1_500),
    "pipe_1cpu_processes": ("pipe round trip, two processes, one CPU", 4, 1_600),
    "pipe_2cpus": ("pipe round trip, two CPUs through idle", 4, 2_400),
    "futex_1cpu": ("futex round trip, one CPU", 4, 1_100),
    "futex_2cpus": ("futex round trip, two CPUs through idle", 4, 2_200),
    "fork_exit": ("fork + exit + wait", 1, 28_000),
    "vfork_exit": ("vfork + exit + wait", 1, 4_500),
    "fork_exec_exit": ("fork + exec + exit + wait, static program of 1.1 MB", 1, 80_000),
    "thread_start_join": ("thread start + join", 4, None),
    "exit_lazy": ("exit, the other CPUs idle on its mm", 4, 22_000),
    "exit_parked": ("exit_group, a thread parked on each CPU", 4, 30_000),
}
LINUXES = {"linux-6.1-64k": "Linux 6.1, 64K", "linux-6.12-64k": "Linux 6.12, 64K", "linux-6.12-4k": "Linux 6.12, 4K"}
PEER = "linux-6.12-4k"


class Figures:
    """All rows, found by where they were measured."""

    def __init__(self, rows):
        self.rows = {(row["on"], row["cpus"], row["name"]): row for row in rows}

    def cpus(self, on):
        """The numbers of CPUs that were measured on a kernel."""
        return sorted({cpus for kernel, cpus, _ in self.rows if kernel == on})

    def value(self, on, cpus, name, what="ns"):
        """A count of one operation; None if there is none."""
        if name == SWITCH:
            both = [self.value(on, cpus, row, what) for row in ("yield_switch", "getppid")]
            return None if None in both else both[0] - both[1]
        row = self.rows.get((on, cpus, name))
        return None if row is None else per_operation(row, what)


def of_cpus(cpus):
    """A number of CPUs in words."""
    return f"{cpus} CPU{'s' * (cpus > 1)}"


def whole(number):
    """A count of instructions as text."""
    return "–" if number is None else f"{number:,.0f}"


def events(figures, on, cpus, name):
    """`IPIs / PIDR writes / TLB invalidations` of an operation, or its IPIs alone."""
    told = [figures.value(on, cpus, name, what) for what in ("ipis", "pidr_writes", "tlb")]
    return " / ".join(f"{one:.3g}" for one in told if one is not None) or "–"


def beside_linux(figures, with_goals):
    """A row per operation: this kernel, Linux, and how often Linux needs it."""
    linuxes = [on for on in LINUXES if figures.cpus(on)]
    if not with_goals:
        linuxes = [on for on in linuxes if on == PEER]
    rows = []
    for name, (text, cpus, goal) in OPERATIONS.items():
        ours, peer = figures.value(USUAL, cpus, name), figures.value(PEER, cpus, name)
        if ours is not None:
            rows.append([text if cpus == 4 else f"{text} ({cpus} CPU)", whole(ours), *([whole(goal)] if with_goals else []),
                         *(whole(figures.value(on, cpus, name)) for on in linuxes),
                         *([f"{peer / ours:.1f}" if peer else "–"] if linuxes else [])])
    return table(["operation", "this kernel", *(["goal, at most"] if with_goals else []), *(LINUXES[on] for on in linuxes),
                  *([f"{LINUXES[PEER]} / this kernel"] if linuxes else [])], rows)


def by_kernel(figures, cpus, kernels, cell):
    """A row per operation, a column per kernel."""
    rows = [[text, *(cell(on, name) for on in kernels)] for name, (text, *_) in OPERATIONS.items()
            if any(figures.value(on, cpus, name) is not None for on in kernels)]
    return table(["operation", *(LINUXES.get(on, on) for on in kernels)], rows)


def summary(figures, boots):
    """The tables of some boots."""
    return "\n".join(f"{of_cpus(cpus)}:\n\n" + by_kernel(figures, cpus, [boot.on for boot in boots if boot.cpus == cpus],
                                                   lambda on, name, cpus=cpus: whole(figures.value(on, cpus, name)))
                     for cpus in sorted({boot.cpus for boot in boots}))


def page(told):
    """The whole page."""
    figures, versions = Figures(told["rows"]), told.get("linux", {})
    out = ["# Instructions per operation\n", "Made by `make bench` and `make bench-linux`; what the rows are is in [bench.md](../bench.md).\n",
           "![Instructions per operation, beside Linux](bench.svg)\n", "![Instructions by the number of CPUs](bench-cpus.svg)\n",
           f"## This kernel ({USUAL}) beside Linux\n",
           "4 CPUs where nothing else is said; instructions of all CPUs together, user and kernel.\n", beside_linux(figures, True)]
    out += [f"{LINUXES[on]} is Debian's {versions[on]}.\n" for on in LINUXES if on in versions]
    for cpus in sorted({row["cpus"] for row in told["rows"]}):
        kernels = [on for on in (*POLICIES, *LINUXES) if cpus in figures.cpus(on)]
        out += [f"## {of_cpus(cpus)}\n", "Instructions:\n",
                by_kernel(figures, cpus, kernels, lambda on, name, cpus=cpus: whole(figures.value(on, cpus, name))),
                "IPIs sent / writes of PIDR / TLB invalidations (one of a range counts once); of Linux its IPIs:\n",
                by_kernel(figures, cpus, kernels, lambda on, name, cpus=cpus: events(figures, on, cpus, name))]
    return "\n".join(out)


def readme(told):
    """README with the table of these figures."""
    before, _, rest = README.read_text().partition(BEGIN)
    return before + BEGIN + beside_linux(Figures(told["rows"]), False) + END + rest.partition(END)[2]
