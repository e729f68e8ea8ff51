"""Mutants that change nothing that anybody could see: a list that is kept, with reasons.

An entry of equivalents.toml is a file, an exact text that occurs in it once, what stands in
its place in the mutant, and the reason. A mutant is the entry's if both make the same file.
"""

import tomllib

from common import ROOT, SCRIPTS, die

TABLE = SCRIPTS / "drawn/equivalents.toml"


def table():
    """{(file, the mutant's whole text without its spacing): reason}. An entry whose text is gone is an error."""
    found = {}
    for entry in tomllib.loads(TABLE.read_text()).get("equivalent", []):
        source = (ROOT / entry["file"]).read_text()
        hits = source.count(entry["text"])
        if hits != 1:
            die(f"equivalents.toml: a text occurs {hits} times in {entry['file']}, not once:\n{entry['text']}")
        text = source.replace(entry["text"], entry["replacement"])
        found[entry["file"], spaceless(text)] = entry["reason"]
    return found


def spaceless(text):
    """A text as it reads, however it is laid out."""
    return " ".join(text.split())


def reason(equivalents, mutant):
    """Why a mutant is equivalent, "" if nobody has said so."""
    text = mutant.applied((ROOT / mutant.file).read_text())
    return equivalents.get((mutant.file, spaceless(text)), "")
