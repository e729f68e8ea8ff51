"""Commands that threads run. Each has a limit, and all end when this script does."""

import os
import signal
import subprocess
import threading

from common import die

_running = set()
_ending = False


def _end(child):
    """Ends a command and all processes that it started."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def _end_politely(child):
    """Lets a command end its own processes; ends it if that takes long."""
    try:
        os.killpg(child.pid, signal.SIGTERM)
        child.wait(timeout=5)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        pass
    _end(child)


def end_all():
    """Ends the commands of all threads, and allows no new one."""
    global _ending
    _ending = True
    for child in list(_running):
        _end(child)


def output_within(limit_s, arguments, cwd, env):
    """(status, output) of a command, stderr included; the status is None after the limit."""
    if _ending:
        raise KeyboardInterrupt
    try:
        # A process group of its own, so that all of it can be ended.
        child = subprocess.Popen(arguments, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    except OSError as error:
        die(f"cannot run {arguments[0]}: {error.strerror}.")
    _running.add(child)
    try:
        output, _ = child.communicate(timeout=limit_s)
        if _ending:
            raise KeyboardInterrupt     # a command that was ended from outside has no result
        return child.returncode, output
    except subprocess.TimeoutExpired:
        return None, ""
    finally:
        _end(child)
        child.communicate()
        _running.discard(child)


def lines_within(limit_s, arguments, cwd, env, last):
    """`output_within`, but ends the command at the first line that `last` matches. Returns (status,
    output, that line or None). The command may clean up before it ends."""
    if _ending:
        raise KeyboardInterrupt
    child = subprocess.Popen(arguments, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True)
    _running.add(child)
    late, output, found = threading.Event(), [], None

    def stop():
        late.set()
        _end_politely(child)

    timer = threading.Timer(limit_s, stop)
    timer.start()
    try:
        for line in child.stdout:
            output.append(line)
            if last.match(line):
                found = line.strip()
                break
        if found:
            _end_politely(child)
        status = child.wait()
    finally:
        timer.cancel()
        _end(child)
        child.communicate()
        _running.discard(child)
    if _ending:
        raise KeyboardInterrupt         # a command that was ended from outside has no result
    return None if late.is_set() else status, "".join(output), found
