"""A list of mutants that change nothing observable, with reasons.

An entry of equivalents.toml is a file, an exact text that occurs in it once, the text that
replaces it in the mutant, and the reason. A mutant matches if it makes the entry's file.
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
    """A text without its layout."""
    return " ".join(text.split())


def reason(equivalents, mutant):
    """Why a mutant is equivalent, "" if it is not in the list."""
    text = mutant.applied((ROOT / mutant.file).read_text())
    return equivalents.get((mutant.file, spaceless(text)), "")
