"""The lines of code of a file, as the documents count them."""


def code(path):
    """The lines of a Rust or assembler file that are neither blank nor comment, without unit tests."""
    text = path.read_text().split("#[cfg(test)]\nmod tests {")[0]
    lines = (line.strip() for line in text.splitlines())
    comments = ("//", "/*", "*", "#") if path.suffix == ".S" else ("//",)
    return [line for line in lines if line and not line.startswith(comments)]
