"""The tables of docs/figures/headline.md."""

import dataclasses

import headline_model as model

KINDS = {"pipe": "through pipes", "futex": "through futexes"}
OWN_KINDS = {"fault": "a first store to a page", "mprotect": "two changes of a page's permissions", "read": "a read of a byte"}
HOTTEST = 10
COMMAND = {"headline": "make headline", "headline-linux": "make headline-linux"}
# What a page compares: (without a count of borrowers, with one).
PAIRS = {"headline": ("shootdown", "refcount"), "headline-linux": ("linux-6.12-4k", "linux-6.1-64k")}


def table(head, rows):
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"


def million(rate):
    return f"{rate / 1e6:.1f} M"


def of(runs, kind, policy):
    return [run for run in runs if run["kind"] == kind and run["policy"] == policy]


def ratio(runs, kind, inputs, cpus, pair):
    """How often the first of a pair switches while the second does so once; None if one was not measured."""
    both = [of(runs, kind, policy) for policy in pair]
    if not all(both):
        return None
    faster, slower = (model.rate(inputs, cpus, model.between(some, cpus)) for some in both)
    return faster / slower


def summary(runs, kind, inputs):
    rows = [[run["policy"], run["cpus"], f"{each['instructions']:,.0f}", f"{each['transfers']:.2f}", f"{each['misses']:.2f}",
             run["by_all"], run["hot_by_all"], f"{each['hottest']:.2f}", million(model.rate(inputs, run["cpus"], each)),
             f"{run['stolen']:.2%}"]
            for run in runs if run["kind"] == kind for each in (run["per_switch"],)]
    return table(["policy", "CPUs", "instructions", "transfers", "shared misses", "lines that 90 % of the CPUs write",
                  "of these, at every second switch", "transfers of the hottest shared line", "modelled switches/s", "steps out of turn"], rows)


def own_operations(told):
    """What threads of one process move that do not share their work."""
    rows = [[OWN_KINDS[run["kind"]], run["policy"], run["cpus"], f"{each['instructions']:,.0f}", f"{each['transfers']:.2f}",
             f"{each['misses']:.2f}", run["hot_by_all"], f"{each['switches']:.2f}"]
            for run in told for each in (run["each"],)]
    return table(["operation", "policy", "CPUs", "instructions", "transfers", "shared misses",
                  "lines that 90 % of the CPUs write at every second operation", "switches"], rows)


def outermost(functions):
    """The outermost function of a chain that has a name."""
    chain = functions.split(" < ")
    return next((name for name in reversed(chain) if "{closure" not in name), chain[-1])


def hottest(run):
    """The ten groups of lines that move most."""
    rows = [[f"`{group['name']}`", group["kind"], group["lines"], f"{group['transfers'] / run['switches']:.2f}",
             f"{group['misses'] / run['switches']:.2f}", group["writers"],
             "; ".join(f"`{name}`" for name in dict.fromkeys(map(outermost, group["by"])))]
            for group in run["lines"][:HOTTEST]]
    return table(["line", "memory", "lines", "transfers", "misses", "CPUs that write it", "in"], rows)


def variants(inputs):
    """(what is changed, inputs): each input as it is, halved and doubled."""
    yield "as given", inputs
    for name, text in (("giga_instructions", "instructions per second"), ("local_ns", "latency within a socket"),
                       ("remote_ns", "latency between sockets")):
        for factor, word in ((0.5, "halved"), (2, "doubled")):
            yield f"{text} {word}", dataclasses.replace(inputs, **{name: getattr(inputs, name) * factor})
    yield "latency between sockets 500 ns", dataclasses.replace(inputs, remote_ns=500)


def ratios(runs, kinds, inputs, cpus, pair=PAIRS["headline"]):
    """The first of the pair over the second, for each way of charging and each input."""
    ways = [(halves, private) for private in (True, False) for halves in (1, 2)]
    head = ["inputs"] + [f"{kind}, an atomic {halves}, {'all lines' if private else 'shared lines alone'}"
                         for kind in kinds for halves, private in ways]
    rows = []
    for text, changed in variants(inputs):
        row = [ratio(runs, kind, dataclasses.replace(changed, halves=halves, private=private), cpus, pair)
               for kind in kinds for halves, private in ways]
        rows.append([text, *("–" if one is None else f"{one:.1f}" for one in row)])
    return table(head, rows)


def page(told, inputs, name="headline"):
    """The whole page of this name."""
    pair = PAIRS[name]
    runs, kinds = told["runs"], [kind for kind in KINDS if any(run["kind"] == kind for run in told["runs"])]
    cpus = max(run["cpus"] for run in runs)
    chart = ["![Modelled switches per second by CPUs](headline.svg)\n"] if name == "headline" else []
    out = ["# The headline, as measured\n", f"Made by `{COMMAND[name]}`; what it means is in [headline.md](../headline.md).\n", *chart,
           f"Inputs: {inputs.giga_instructions:g} G instructions/s, {inputs.local_ns:g} ns within a socket of {inputs.cores} "
           f"CPUs, {inputs.remote_ns:g} ns between sockets, an atomic on a shared line {inputs.halves} transfer(s).\n",
           f"## {pair[0].capitalize()} over {pair[1]}, on {told.get('modelled', cpus)} CPUs\n",
           ratios(runs, kinds, inputs, told.get("modelled", cpus), pair)]
    for kind in kinds:
        out += [f"## A switch {KINDS[kind]}\n", "Per context switch:\n", summary(runs, kind, inputs)]
        for policy in pair:
            for run in (run for run in of(runs, kind, policy) if run["cpus"] == cpus):
                out += [f"### What moves: {policy}, {cpus} CPUs\n", hottest(run)]
    if told.get("own"):
        out += ["## Operations in each thread's own memory\n", "Threads of one process, one on each CPU; per operation, the program's "
                "instructions included:\n", own_operations(told["own"])]
    return "\n".join(out)
