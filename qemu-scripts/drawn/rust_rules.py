"""The rules by which Rust is broken: each gives all places where it applies.

The sources are formatted by rustfmt, which makes a parser unnecessary: a binary operator
has a space on both sides, a bracket of generics has none, and a statement starts its line.
Where a rule errs, its mutant does not compile, and another is drawn.
"""

import re

from .code import closing, find_outside

TURNED = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}
BOUND = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
RELATION = re.compile(r"(?<= )(?:[<>]=?|[=!]=)(?= )")
RANGE = re.compile(r"(?<=[\w)\]])\.\.=?(?=[\w(])")
NUMBER = re.compile(r"(?<![\w.])(0x[0-9a-f_]+|0b[01_]+|[0-9][0-9_]*)(?=(?:[ui](?:8|16|32|64|128|size))?\b(?!\.[0-9]))")
# An operand that can be taken out without a parse of the whole expression.
OPERAND = r"[!*&]?[\w:.]+(?:\([^()\n]*\))?(?:\.\w+(?:\([^()\n]*\))?)*"
OR = re.compile(rf"\s+\|\s+(?=({OPERAND}))")
BEFORE_OR = re.compile(rf"{OPERAND}$")
LONGEST_OPERAND = 80
ORDERING = re.compile(r"(?<!fence\()(\bOrdering::)(?:Release|Acquire|AcqRel|SeqCst)\b")
CALL = re.compile(r"(?<!fn )(?<![\w!])[A-Za-z_]\w*(?:::<[^()]*>)?\(")
CONDITION = re.compile(r"\b(?:if|while) ")
START_OF_STATEMENT = re.compile(r"(?:(?<=[;{}])|\A)\s*\n[ \t]+(?=[\w*(])")
NO_STATEMENT = re.compile(r"(?:let|use|fn|pub|struct|enum|impl|const|static|type|mod|trait|extern|macro_rules|if|for|while|match|loop)\b")
FENCE = re.compile(r"\bfence\(|\bisa::(?:\w*sync|eieio)\(|\bafter_store\(")
ERRNO = re.compile(r"(?<=\bErrno::)E[A-Z0-9]+\b")


def swapped_words(pattern, table):
    """A rule that replaces words by others."""
    return lambda code: [(f.start(), f.end(), table[f[0]]) for f in pattern.finditer(code.text) if f[0] in table]


def numbers(code):
    """A constant off by one, up or down."""
    for found in NUMBER.finditer(code.text):
        word = found[1].replace("_", "")
        value = int(word, 0) if not word.isdigit() else int(word)
        for other in {value + 1, value - 1} - {-1}:
            text = f"{other:#x}" if word.startswith("0x") else f"{other:#b}" if word.startswith("0b") else str(other)
            yield found.start(), found.end(), text


def split(code, start, end, separators):
    """The spans between separators outside of all brackets."""
    spans, begun = [], start
    while begun <= end:
        at = min(find_outside(code.text, begun, separators), end)
        spans.append((begun, at))
        word = next((one for one in separators if code.text.startswith(one, at)), " ")
        begun = at + len(word)
        if at == end:
            break
    return spans


def trimmed(code, start, end):
    """A span without the space around it."""
    text = code.source[start:end]
    return start + len(text) - len(text.lstrip()), end - len(text) + len(text.rstrip())


def arguments(code):
    """Two neighbours among the arguments of a call change places."""
    for found in CALL.finditer(code.text):
        end = closing(code.text, found.end() - 1)
        if "|" in code.text[found.end():end]:
            continue
        spans = [trimmed(code, *span) for span in split(code, found.end(), end, (",",))]
        spans = [span for span in spans if span[0] < span[1]]
        for (a, b), (c, d) in zip(spans, spans[1:]):
            if code.source[a:b] != code.source[c:d]:
                yield a, d, code.source[c:d] + code.source[b:c] + code.source[a:b]


def conditions(code):
    """The spans of the conditions, without their `if` or `while`."""
    for found in CONDITION.finditer(code.text):
        yield trimmed(code, found.end(), find_outside(code.text, found.end(), ("{", "=>")))


def negated(code):
    """A condition is negated."""
    for start, end in conditions(code):
        if not re.search(r"\blet\b", code.text[start:end]):
            yield start, end, f"!({code.source[start:end]})"


def operands(code):
    """One operand of a condition's `&&` or `||` is gone."""
    for start, end in conditions(code):
        for word in ("&&", "||"):
            spans = [trimmed(code, *span) for span in split(code, start, end, (word,))]
            for (a, b), (c, d) in zip(spans, spans[1:]):
                if not code.text.startswith("let", c):
                    yield b, d, ""
                if not code.text.startswith("let", a):
                    yield a, c, ""


def flags(code):
    """One side of `A | B` is gone."""
    for found in OR.finditer(code.text):
        line = max(code.text.rfind("\n", 0, found.start()), found.start() - LONGEST_OPERAND)
        before = BEFORE_OR.search(code.text[line + 1:found.start()])
        if before:
            yield line + 1 + before.start(), found.end(), ""
            yield found.start(), found.end(1), ""


def statements(code):
    """The spans of the statements that may be left out: calls, assignments, jumps."""
    for found in START_OF_STATEMENT.finditer(code.text):
        end = find_outside(code.text, found.end(), (";",))
        if code.text[end:end + 1] == ";" and not NO_STATEMENT.match(code.text, found.end()):
            yield found.end(), end + 1


def left_out(fences):
    """A rule that leaves out statements that are fences, or those that are none."""
    def rule(code):
        for start, end in statements(code):
            if bool(FENCE.search(code.text[start:end])) == fences:
                yield start, end, ""
    return rule


def guards(code):
    """An `if` without `else` is left out whole."""
    for found in START_OF_STATEMENT.finditer(code.text):
        if code.text.startswith("if ", found.end()):
            end = closing(code.text, find_outside(code.text, found.end(), ("{",))) + 1
            if not code.text[end:].lstrip().startswith(("else", ".")):
                yield found.end(), end, ""


def ignored(code):
    """An error that a statement passes on is ignored."""
    for start, end in statements(code):
        if code.text[start:end].endswith("?;") and not code.text.startswith("return", start):
            yield start, end, f"let _ = {code.source[start:end - 2]};"


def logic(code):
    """`&&` becomes `||`, and `||` becomes `&&`."""
    for found in re.finditer(r"(?<=\s)(?:&&|\|\|)(?= )(?! let\b)", code.text):
        yield found.start(), found.end(), "||" if found[0] == "&&" else "&&"


RULES = {
    "comparison turned": swapped_words(RELATION, TURNED),
    "bound": lambda code: [*swapped_words(RELATION, BOUND)(code), *swapped_words(RANGE, {"..": "..=", "..=": ".."})(code)],
    "off by one": numbers,
    "truth": swapped_words(re.compile(r"\b(?:true|false)\b"), {"true": "false", "false": "true"}),
    "statement": left_out(fences=False),
    "fence": left_out(fences=True),
    "check": guards,
    "ignored error": ignored,
    "flag": flags,
    "ordering": lambda code: [(f.start(), f.end(), f"{f[1]}Relaxed") for f in ORDERING.finditer(code.text)],
    "arguments": arguments,
    "negated": negated,
    "operand": operands,
    "logic": logic,
    "errno": lambda code: [(f.start(), f.end(), "EPERM" if f[0] == "EINVAL" else "EINVAL") for f in ERRNO.finditer(code.text)],
}
