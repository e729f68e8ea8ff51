"""Programs that are typed at: GDB and the monitor, each on a terminal of its own."""

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

PROMPTS = ("(gdb) ", "lazy-tlb> ")
# Of one answer.
LIMIT_S = 120


def plain(text):
    """A terminal's output without what only a terminal needs."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", text)


class Terminal:
    """A program on a terminal of its own. GDB and the monitor answer at their prompts."""

    def __init__(self, command, tree):
        master, slave = pty.openpty()
        # So large that nothing waits for a key, or breaks a line.
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 2000, 200, 0, 0))
        self.child = subprocess.Popen(["bash", "-c", command], cwd=tree, stdin=slave, stdout=slave, stderr=slave,
                                      start_new_session=True, env=dict(os.environ, TERM="dumb"))
        os.close(slave)
        self.master = master

    def answer(self):
        """What is printed up to the next prompt and until it is quiet, or to the end; and that prompt. A program
        in the background may print behind the prompt."""
        text, end = "", time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            prompt = next((p for p in PROMPTS if re.search(rf"^{re.escape(p)}", plain(text), re.MULTILINE)), None)
            at_end = prompt and plain(text).endswith(prompt)
            if not select.select([self.master], [], [], 0.2 if at_end else 0.5)[0]:
                if prompt:
                    return re.sub(rf"^{re.escape(prompt)}", "", plain(text), flags=re.MULTILINE), prompt
                continue
            try:
                text += os.read(self.master, 65536).decode(errors="replace")
            except OSError:
                return text, None
        return f"{text}\nno prompt after {LIMIT_S} s", None

    def type(self, line):
        """Types a line; returns its answer without the echo. An empty one is only waited for."""
        if not line:
            return self.answer()
        with contextlib.suppress(OSError):  # it has ended by itself
            os.write(self.master, f"{line}\n".encode())
        text, prompt = self.answer()
        return text.partition("\n")[2], prompt

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGTERM)
        try:
            self.child.wait(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(self.child.pid, signal.SIGKILL)
        os.close(self.master)
