"""The charts and tables of `make scale`, from scale.json."""

from bench_chart import LINUX_COLOURS, panel, side_by_side
from bench_runs import per_operation
from headline_chart import COLOURS, INK
from headline_page import table

TONES = (*COLOURS.values(), *LINUX_COLOURS.values())
IDLE = {"fork_exit": "fork, bound", "anywhere_fork": "fork, any", "futex_2cpus": "futex, bound", "pipe_2cpus": "pipe, bound",
        "anywhere_pipe": "pipe, any"}
# Memory that init should find in use at most, in KiB: with 4 CPUs, and for each further one.
MOST_KIB, MOST_KIB_EACH = 8 << 10, 64
# Seconds to init that should be enough, {CPUs: seconds}.
MOST_S = {192: 1, 1024: 5}
TICKS = [0, 16, 64, 128, 192, 512]
GOAL = "at most"


def looks(names):
    """Colours of curves; what is wanted is dashed."""
    return {name: (INK, "3 4") if name == GOAL else (TONES[number % len(TONES)], "") for number, name in enumerate(names)}


def ticks(curves):
    """Numbers to name on the axis, up to the last point."""
    last = max(number for points in curves.values() for number, _ in points)
    named = [tick for tick in TICKS if last * 0.15 < tick < last * 0.9]
    return [0, *named, last]


def chart(told, panels):
    """Panels (title, {curve: [(number, count)]}, axis) side by side."""
    return side_by_side([panel(title, curves, axis, looks(curves), ticks(curves)) for title, curves, axis in panels], told)


def by_reach(rows, policy, what):
    """{number of CPUs: [(those that take part, count)]}"""
    numbers = sorted({row["cpus"] for row in rows if row["on"] == policy})
    return {f"{n} CPUs:": [(row["reach"], per_operation(row, what)) for row in rows if (row["on"], row["cpus"]) == (policy, n)]
            for n in numbers}


def exits(rows):
    policies = list(dict.fromkeys(row["on"] for row in rows))
    return chart("Exit of an mm by the CPUs that have touched it",
                 [(f"{policy}: instructions", by_reach(rows, policy, "ns"), "CPUs that the mm was on") for policy in policies]
                 + [(f"{policies[0]}: IPIs", by_reach(rows, policies[0], "ipis"), "CPUs that the mm was on")])


def rounds(rows):
    on = rows[0]["on"]
    return chart("membarrier by the CPUs that run the process",
                 [("instructions", by_reach(rows, on, "ns"), "CPUs that run the process"),
                  ("IPIs", by_reach(rows, on, "ipis"), "CPUs that run the process")])


def idle_curves(rows, names):
    return {IDLE[name]: [(row["cpus"], per_operation(row)) for row in rows if row["name"] == name] for name in names}


def idle(rows):
    names = list(IDLE)
    return chart("Fork and wake-ups by the number of CPUs, all others idle",
                 [("fork + exit + wait: instructions", idle_curves(rows, names[:2]), "CPUs"),
                  ("round trip: instructions", idle_curves(rows, names[2:]), "CPUs")])


def memory(rows):
    curves = {"in use": [(row["cpus"], (row["reserved"] + row["taken"]) / 1024) for row in rows],
              "reserved": [(row["cpus"], row["reserved"] / 1024) for row in rows],
              GOAL: [(row["cpus"], (MOST_KIB + (row["cpus"] - 4) * MOST_KIB_EACH) / 1024) for row in rows]}
    return chart("Memory in use at init", [("MiB in use at init", curves, "CPUs")])


def times(rows):
    curve = lambda of, key: [(row["cpus"], row[of][key]) for row in rows]
    return chart("Time to init", [("seconds, by the clock", {"to init": curve("init", "wall_s"), "QEMU alone": curve("qemu", "wall_s")}, "CPUs"),
                                  ("seconds of QEMU's threads", {"to init": curve("init", "cpu_s"), "QEMU alone": curve("qemu", "cpu_s")}, "CPUs"),
                                  ("million instructions to init", {"all CPUs": [(row["cpus"], row["instructions"] / 1e6) for row in rows if row["instructions"]]}, "CPUs")])


def reach_table(rows):
    """A row per number that takes part, a column per machine."""
    columns = list(dict.fromkeys((row["on"], row["cpus"]) for row in rows))
    found = {(row["on"], row["cpus"], row["reach"]): row for row in rows}
    cell = lambda row: f"{per_operation(row):,.0f} / {per_operation(row, 'ipis'):.3g}" if row else "–"
    return table(["CPUs that take part", *(f"{on}, {n} CPUs" for on, n in columns)],
                 [[k, *(cell(found.get((*column, k))) for column in columns)] for k in sorted({row["reach"] for row in rows})])


def idle_table(rows):
    found = {(row["cpus"], row["name"]): per_operation(row) for row in rows}
    cell = lambda value: "–" if value is None else f"{value:,.0f}"
    return table(["CPUs", *IDLE.values()], [[n, *(cell(found.get((n, name))) for name in IDLE)] for n in sorted({row["cpus"] for row in rows})])


def each_more(rows):
    """KiB that a further CPU takes, between the least and the most CPUs of at least 4."""
    first, *_, last = [row for row in rows if row["cpus"] >= 4]
    total = lambda row: row["reserved"] + row["taken"]
    return (total(last) - total(first)) / (last["cpus"] - first["cpus"])


def memory_table(rows):
    return table(["CPUs", "KiB in use", "of these the image, the archive and the frame tables", "at most"],
                 [[row["cpus"], f"{row['reserved'] + row['taken']:,}", f"{row['reserved']:,}",
                   f"{MOST_KIB + max(0, row['cpus'] - 4) * MOST_KIB_EACH:,}"] for row in rows])


def time_table(rows):
    return table(["CPUs", "s to init", "QEMU alone", "at most", "s of QEMU's threads", "QEMU alone", "M instructions"],
                 [[row["cpus"], f"{row['init']['wall_s']:.2f}", f"{row['qemu']['wall_s']:.2f}", MOST_S.get(row["cpus"], "–"),
                   f"{row['init']['cpu_s']:.2f}", f"{row['qemu']['cpu_s']:.2f}", f"{row['instructions'] / 1e6:.1f}" if row["instructions"] else "–"] for row in rows])


def page(told):
    """The tables."""
    picture = lambda name, says: f"![{says}](scale-{name}.svg)\n"
    return "\n".join([
        "# What grows with the number of CPUs\n", "Made by `make scale`; [scale.md](../scale.md) explains the charts.\n",
        "## Exit of an mm that was on k of n CPUs: instructions / IPIs\n", picture("exit", "Exit by k"), reach_table(told["exit"]),
        "## membarrier to k of n CPUs, all busy: instructions / IPIs\n", picture("round", "membarrier by k"), reach_table(told["round"]),
        "## Fork and wake-ups with n CPUs: instructions\n", picture("idle", "Fork and wake-ups by n"), idle_table(told["idle"]),
        "## Memory at init\n", picture("memory", "Memory by n"), memory_table(told["memory"]),
        f"A further CPU takes {each_more(told['memory']):.1f} KiB; at most {MOST_KIB_EACH} are wanted.\n",
        "## Time to init\n", picture("time", "Time by n"), time_table(told["time"])])


def pages(told):
    """{name: text} of all that the JSON determines."""
    return {"scale.md": page(told), "scale-exit.svg": exits(told["exit"]), "scale-round.svg": rounds(told["round"]),
            "scale-idle.svg": idle(told["idle"]), "scale-memory.svg": memory(told["memory"]), "scale-time.svg": times(told["time"])}


def summary(told):
    """What is said at the end."""
    return "\n".join([idle_table(told["idle"]), memory_table(told["memory"]), time_table(told["time"]),
                      f"a further CPU takes {each_more(told['memory']):.1f} KiB"])
