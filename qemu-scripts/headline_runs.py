"""One run under the coherence model: the guest program, what moved, how often it switched."""

import dataclasses
import json

import elf
import machine
import running
from common import BUILD, ROOT, die, dotted
from settings import Settings

PLUGIN = ROOT / "target/headline/release/liblines_plugin.so"
PROGRAM = BUILD / "c/headline"
OUT = BUILD / "headline"
# The function that is run once per context switch.
SWITCH = "context_switch"
LEAST_QEMU = (9, 2, 0)
# Instructions that a CPU runs before the next one does.
TURN = 500
# Between the marks the guest's clock runs at one such part: about what the model costs.
SLOW = 20_000
# The topology of the series' machine; a pair of threads lies within a socket.
CORES = 12


@dataclasses.dataclass
class Measured:
    """What one run came to; `lines` are the plugin's, hottest first."""

    switches: int
    instructions: int
    steps: int
    stolen: int
    lines: list


def limit_s(smp):
    """How long a run may take on a machine that does other things, too."""
    return 50 + 6 * smp


def machine_of(smp):
    """-smp of QEMU: sockets of twelve cores from 24 CPUs on."""
    return f"{smp},sockets={smp // CORES},cores={CORES},threads=1" if smp > CORES and smp % CORES == 0 else str(smp)


def run(kernel, smp, policy, words, slow=SLOW, turn=TURN):
    """Boots `kernel`, has the program run with the argument `words`, and reads what the plugin wrote."""
    switch = next((s.value for s in elf.Image(kernel).symbols() if s.name == SWITCH), None)
    if switch is None:
        die(f"{kernel} has no symbol {SWITCH}.")
    settings = Settings(smp=smp, lazy=policy, initrd=str(PROGRAM), init=f"/init {words}",
                        mem="1G" if smp > 32 else "512M")
    command = machine.command_line(settings, kernel, machine.archive_for(settings, None))
    return modelled(policy, smp, words, command, f"turn={turn},slow={slow},count={switch:#x}", limit_s(smp))


def modelled(policy, smp, words, command, options, limit):
    """Runs QEMU's command line under the model, with options of the plugin, and reads what that wrote."""
    version = machine.find_qemu(Settings().qemu)[1]
    if version < LEAST_QEMU:
        die(f"QEMU {dotted(version)} is too old for the plugin: its interface 4 came with {dotted(LEAST_QEMU)}.")
    OUT.mkdir(parents=True, exist_ok=True)
    out = OUT / f"{policy}-{words.split()[0]}-{smp}.json"
    out.unlink(missing_ok=True)
    command[command.index("-smp") + 1] = machine_of(smp)
    command += ["-plugin", f"{PLUGIN},out={out},{options}"]
    # Preloaded, the plugin is also QEMU's clock; `env` keeps it away from everything else.
    outcome = running.run_quietly(["env", f"LD_PRELOAD={PLUGIN}", *command], limit)
    if outcome.timed_out or outcome.status != 0 or not out.exists():
        die(f"{policy}, {words}, {smp} CPUs: {outcome.reason()}")
    told = json.loads(out.read_text())
    return Measured(sum(told["counted"].values()), sum(told["instructions"]), told["steps"], told["stolen"],
                    told["lines"])
