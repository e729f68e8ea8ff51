"""Readable forms of Rust's symbol names: both manglings, without hashes.

The v0 scheme is a small language (rustc book, "v0 symbol format"); this reads all of it
that a kernel's functions use. Any other name stays unchanged.
"""

import re

BASIC = dict(zip("abcdefhijlmnopstuvxyz",
                 "i8 bool char f64 str f32 u8 isize usize i32 u32 i128 u128 _ i16 u16 () ... i64 u64 !".split()))


class Unreadable(Exception):
    """Not a name of this scheme, or a part of it that is not implemented."""


class _V0:
    """A recursive descent over one name; `at` is the place that it reads next."""

    def __init__(self, text):
        self.text, self.at, self.depth = text, 0, 0

    def next(self):
        if self.at >= len(self.text):
            raise Unreadable
        self.at += 1
        return self.text[self.at - 1]

    def eat(self, letter):
        if self.text.startswith(letter, self.at):
            self.at += 1
            return True
        return False

    def base62(self):
        digits = ""
        while not self.eat("_"):
            digits += self.next()
        value = 0
        for digit in digits:
            if not digit.isascii() or not digit.isalnum():
                raise Unreadable
            # Digits, then lower case, then upper case.
            value = value * 62 + (int(digit, 36) if not digit.isupper() else int(digit, 36) + 26)
        return value + 1 if digits else 0

    def optional_base62(self, letter):
        return self.base62() + 1 if self.eat(letter) else 0

    def identifier(self):
        self.optional_base62("s")
        self.eat("u")  # punycode: shown as it is
        found = re.compile(r"\d+").match(self.text, self.at)
        if not found:
            raise Unreadable
        self.at = found.end()
        self.eat("_")
        name = self.text[self.at:self.at + int(found.group())]
        self.at += int(found.group())
        return name

    def backref(self, read):
        target, here = self.base62(), self.at
        if target >= here - 1:
            raise Unreadable
        self.at = target
        result = read()
        self.at = here
        return result

    def many(self, read):
        items = []
        while not self.eat("E"):
            items.append(read())
        return items

    def nested(self, read):
        """Guards against names that nest without end."""
        self.depth += 1
        if self.depth > 200:
            raise Unreadable
        result = read()
        self.depth -= 1
        return result

    def path(self):
        return self.nested(self._path)

    def _path(self):
        kind = self.next()
        if kind == "C":
            return self.identifier()
        if kind == "N":
            space = self.next()
            outer, name = self.path(), self.identifier()
            if space == "C":
                return f"{outer}::{{closure}}"
            if space == "S":
                return f"{outer}::{{shim}}"
            return f"{outer}::{name}" if name else outer
        if kind in "MX":
            self.optional_base62("s")
            self.path()  # the impl's place: the type says enough
            subject = self.type()
            return f"<{subject}>" if kind == "M" else f"<{subject} as {self.path()}>"
        if kind == "Y":
            subject = self.type()
            return f"<{subject} as {self.path()}>"
        if kind == "I":
            outer = self.path()
            return f"{outer}<{', '.join(filter(None, self.many(self.argument)))}>"
        if kind == "B":
            return self.backref(self.path)
        raise Unreadable

    def argument(self):
        if self.eat("L"):
            self.base62()
            return ""
        return self.constant() if self.eat("K") else self.type()

    def type(self):
        return self.nested(self._type)

    def _type(self):
        kind = self.next()
        if kind in BASIC:
            return BASIC[kind]
        if kind == "A":
            item = self.type()
            return f"[{item}; {self.constant()}]"
        if kind == "S":
            return f"[{self.type()}]"
        if kind == "T":
            return f"({', '.join(self.many(self.type))})"
        if kind in "RQ":
            if self.eat("L"):
                self.base62()
            return ("&" if kind == "R" else "&mut ") + self.type()
        if kind in "PO":
            return ("*const " if kind == "P" else "*mut ") + self.type()
        if kind == "F":
            self.optional_base62("G")
            self.eat("U")
            if self.eat("K") and not self.eat("C"):
                self.identifier()
            inputs = self.many(self.type)
            result = self.type()
            return f"fn({', '.join(inputs)})" + ("" if result == "()" else f" -> {result}")
        if kind == "D":
            self.optional_base62("G")
            traits = self.many(self.bound)
            if self.eat("L"):
                self.base62()
            return f"dyn {' + '.join(traits)}"
        if kind == "B":
            return self.backref(self.type)
        self.at -= 1
        return self.path()

    def bound(self):
        trait = self.path()
        while self.eat("p"):
            self.identifier()
            self.type()
        return trait

    def constant(self):
        if self.eat("p"):
            return "_"
        if self.eat("B"):
            return self.backref(self.constant)
        kind = self.next()
        minus = "-" if self.eat("n") else ""
        digits = ""
        while not self.eat("_"):
            digits += self.next()
        try:
            value = int(digits or "0", 16)
        except ValueError:
            raise Unreadable from None
        if kind == "b":
            return "true" if value else "false"
        if kind == "c":
            return repr(chr(value))
        if kind in BASIC:
            return f"{minus}{value}"
        raise Unreadable


def _legacy(text):
    """_ZN, then parts of "length text", the last of them a hash, then E."""
    parts, at = [], 0
    while at < len(text) and text[at] != "E":
        found = re.compile(r"\d+").match(text, at)
        if not found:
            raise Unreadable
        at = found.end() + int(found.group())
        parts.append(text[found.end():at])
    if len(parts) > 1 and re.fullmatch(r"h[0-9a-f]{16}", parts[-1]):
        parts.pop()
    if not parts:
        raise Unreadable
    words = {"SP": "@", "BP": "*", "RF": "&", "LT": "<", "GT": ">", "LP": "(", "RP": ")", "C": ","}
    def escape(found):
        code = found.group(1)
        if code in words:
            return words[code]
        return chr(int(code[1:], 16)) if re.fullmatch(r"u[0-9a-f]+", code) else found.group(0)
    clean = lambda part: re.sub(r"\$(\w+?)\$", escape, re.sub(r"^_(?=\$)", "", part).replace("..", "::"))
    return "::".join(map(clean, parts))


def demangle(symbol):
    """The readable form of a symbol; a name that is not Rust's comes back unchanged."""
    plain = re.sub(r"\.(llvm|cold|part|constprop)\.?[0-9A-F]*$", "", symbol)
    try:
        if plain.startswith("_R"):
            return _V0(plain[2:]).path()
        if plain.startswith("_ZN"):
            return _legacy(plain[3:])
    except (Unreadable, RecursionError, IndexError, ValueError):
        pass
    return plain


def shorten(name):
    """A readable name without generic arguments: a `<` behind a name opens them, while one at the
    start of a path is part of the path (`<T as Trait>::f`)."""
    kept, depth = [], 0
    for i, letter in enumerate(name):
        before = name[i - 1] if i else ""
        arrow = letter == ">" and before == "-"
        if letter == "<" and (depth or before.isalnum() or before in "_:" and before):
            depth += 1
        elif letter == ">" and depth and not arrow:
            depth -= 1
        elif not depth:
            kept.append(letter)
    return re.sub(r"::(?=$|::|[ >,])", "", "".join(kept))
