"""The rate of switches that a machine would have, from what moved in a run.

Each CPU's time per switch is that of its instructions and of the lines that it waits for. All
CPUs work at once, until the transfers of a line that they share, which come one after another,
take longer than that.
"""

import dataclasses

# A line that more CPUs than a pair write is shared.
PAIR = 2


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What the machine is like."""

    giga_instructions: float = 3.0  # per second and CPU
    local_ns: float = 100.0         # a line from a cache of the same socket
    remote_ns: float = 300.0        # from another socket
    halves: int = 1                 # transfers that an atomic on a shared line costs: 1, or 2 with its load
    private: bool = True            # lines of one pair cost their time, too
    cores: int = 12                 # of a socket


def moves(lines):
    """What the model wants to know of a run's lines: sums of counts, not yet per switch."""
    shared = [line for line in lines if line["writers"] > PAIR]
    both = lambda some: sum(line["transfers"] + line["misses"] for line in some)
    return {
        "transfers": sum(line["transfers"] for line in lines),
        "misses": sum(line["misses"] for line in lines),
        "private": both(line for line in lines if line["writers"] <= PAIR),
        "shared": both(shared),
        # The line that limits: by its transfers, and with its loads.
        "hottest": max((line["transfers"] for line in shared), default=0),
        "hottest_with_loads": max((line["transfers"] + line["misses"] for line in shared), default=0),
    }


def written_by_all(lines, cpus, switches):
    """(lines that 90 % of the CPUs have written, those of them that move at every second switch)."""
    of_all = [line for line in lines if line["writers"] >= 0.9 * cpus]
    return len(of_all), sum(line["transfers"] >= 0.5 * switches for line in of_all)


def shared_ns(inputs, cpus):
    """A transfer of a line whose last owner may be any other CPU."""
    near = (min(inputs.cores, cpus) - 1) / max(cpus - 1, 1)
    return near * inputs.local_ns + (1 - near) * inputs.remote_ns


def rate(inputs, cpus, per_switch):
    """Switches per second of `cpus` CPUs; `per_switch` has the instructions and `moves` of one."""
    far_ns = shared_ns(inputs, cpus)
    own_ns = per_switch["instructions"] / inputs.giga_instructions
    if inputs.private:
        own_ns += per_switch["private"] * inputs.local_ns + per_switch["shared"] * far_ns
    in_turn_ns = per_switch["hottest" if inputs.halves == 1 else "hottest_with_loads"] * far_ns
    return 1e9 / max(own_ns / cpus, in_turn_ns)


def between(runs, cpus):
    """What a switch costs on `cpus` CPUs: on a line between the measured numbers. A lone CPU waits for no line."""
    measured = sorted((run["cpus"], run["per_switch"]) for run in runs)
    alone = {name: 0 for name in measured[0][1]} | {"instructions": measured[0][1]["instructions"]}
    points = [(1, alone), *measured]
    below = max((point for point in points if point[0] <= cpus), key=lambda point: point[0])
    above = min((point for point in points if point[0] >= cpus), key=lambda point: point[0], default=below)
    if below[0] == above[0]:
        return below[1]
    part = (cpus - below[0]) / (above[0] - below[0])
    return {name: below[1][name] + part * (above[1][name] - below[1][name]) for name in below[1]}
