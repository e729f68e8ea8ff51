"""The results of the mutants: the survivors, and the score by folder."""

import collections

from common import say

# Each mutant counts in the first of its folders; the percentage is the required score.
FOLDERS = {
    "kernel/src/mm": 95, "kernel/src/memory": 95, "kernel/src/task": 95, "kernel/core": 95,
    "kernel/src/process": 85, "kernel/src/fs": 85, "kernel/src/syscall": 85, "arch": 85,
    "kernel/vm": 85, "kernel/formats": 85, "kernel/terminal": 85, "kernel/files": 85, "kernel/src": 85,
}
OUTCOMES = ("killed", "survived", "equivalent")


def folder_of(file):
    """The folder in whose score a file counts."""
    return next(folder for folder in FOLDERS if file.startswith(f"{folder}/"))


def difference(mutant):
    """The lines before and after."""
    lines = [f"    - {line.strip()}" for line in mutant.before.splitlines()]
    return "\n".join(lines + [f"    + {line.strip()}" for line in mutant.after.splitlines() or [""]])


def told(number, mutant, result):
    """The line for one mutant, and for a survivor its difference."""
    head = f"{result['outcome'].upper():10} {number} {mutant.name} {mutant.file}:{mutant.line} {mutant.rule}"
    if result["outcome"] == "survived":
        return f"{head}\n{difference(mutant)}"
    by = result["by"].splitlines()[0] if result["by"] else ""
    return f"{head} ({result['seconds']:.0f} s) by {by}"


def score(killed, survived):
    """The percentage killed of the mutants that could be noticed."""
    return 100 * killed / (killed + survived) if killed + survived else 100


def final(judged, unbuilt):
    """Prints survivors and the table; returns whether each folder has its score."""
    counts = collections.defaultdict(collections.Counter)
    for mutant, result in judged:
        counts[folder_of(mutant.file)][result["outcome"]] += 1
    survivors = [(mutant, result) for mutant, result in judged if result["outcome"] == "survived"]
    if survivors:
        say("\nSurvivors:")
    for mutant, result in survivors:
        say(f"  {mutant.name} {mutant.file}:{mutant.line} {mutant.rule}\n{difference(mutant)}")
    slow = sum("no end after" in result["by"] for _, result in judged if result["outcome"] == "killed")
    say(f"\n{'folder':20} {'killed':>7} {'survived':>9} {'equivalent':>11} {'score':>7} {'demanded':>9}")
    reached = True
    for folder, demanded in FOLDERS.items():
        one = counts[folder]
        if one.total():
            percent = score(one["killed"], one["survived"])
            reached &= percent >= demanded
            say(f"{folder:20} {one['killed']:7} {one['survived']:9} {one['equivalent']:11} {percent:6.1f}% {demanded:8}%")
    total = sum(counts.values(), collections.Counter())
    percent = score(total["killed"], total["survived"])
    say(f"{'all':20} {total['killed']:7} {total['survived']:9} {total['equivalent']:11} {percent:6.1f}%")
    say(f"{unbuilt} more did not compile and were drawn anew; {slow} were killed because they did not end")
    say(", ".join(f"{total[outcome]} {outcome}" for outcome in OUTCOMES))
    return reached
