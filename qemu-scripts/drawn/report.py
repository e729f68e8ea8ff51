"""The results of the mutants: the survivors, and the score by folder."""

import collections

from common import say

# Each mutant counts in the first of its folders: first those of the subject, then the others.
SUBJECT = ("kernel/src/mm", "kernel/src/memory", "kernel/src/task", "kernel/core")
FOLDERS = (*SUBJECT, "kernel/src/process", "kernel/src/fs", "kernel/src/syscall", "arch", "kernel/vm", "kernel/formats",
           "kernel/terminal", "kernel/files", "kernel/src")
# The required scores: of the subject's folders together, and of all.
OF_SUBJECT, OF_ALL = 95, 85
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
    """Prints survivors and the table; returns whether the scores are reached."""
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
    together = lambda folders: sum((counts[folder] for folder in folders), collections.Counter())
    total = together(FOLDERS)
    rows = [(folder, counts[folder], 0) for folder in FOLDERS]
    rows += [("the subject's", together(SUBJECT), OF_SUBJECT), ("all", total, OF_ALL)]
    for name, one, demanded in rows:
        if one.total():
            wanted = f"{demanded}%" if demanded else ""
            percent = f"{score(one['killed'], one['survived']):.1f}%"
            say(f"{name:20} {one['killed']:7} {one['survived']:9} {one['equivalent']:11} {percent:>7} {wanted:>9}".rstrip())
    say(f"{unbuilt} more did not compile and were drawn anew; {slow} were killed because they did not end")
    say(", ".join(f"{total[outcome]} {outcome}" for outcome in OUTCOMES))
    return all(score(one["killed"], one["survived"]) >= demanded for _, one, demanded in rows)
