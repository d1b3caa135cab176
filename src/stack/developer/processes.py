"""Programs that run side by side until one of them ends, or somebody ends them all."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from stack.polling import wait_until

# How long a program may take to end.
PATIENCE_S = 10.0
# The pause before a tunnel that has ended is made anew, as after a failover.
PAUSE_S = 1.0


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_open(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def running(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a folder, and end it with its children.

    At a terminal it is in this process's own group, so that Ctrl+C reaches all of them and a debugger can read from the
    terminal; elsewhere it has a group of its own, which is ended as a whole.
    """
    is_interactive = sys.stdin.isatty()
    process = subprocess.Popen(command, cwd=folder, env=environment, process_group=None if is_interactive else 0)
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(number) if is_interactive else os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(PATIENCE_S)
                break


@contextlib.contextmanager
def tunnel(command: Sequence[str], port: int, say: Callable[[str], None]) -> Iterator[None]:
    """Keep a program running that listens on a port, such as ``kubectl port-forward``.

    Args:
        command: The program. It is run again whenever it ends.
        port: The port of this machine.
        say: Takes a line whenever it has ended.

    Raises:
        TimeoutError: Nothing listens on the port after ten seconds; the message ends with what the program says.
    """
    done = threading.Event()
    processes: list[subprocess.Popen[str]] = []
    last = ["it says nothing"]

    def keep() -> None:
        while not done.is_set():
            with subprocess.Popen(
                command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, process_group=0
            ) as process:
                processes[:] = [process]
                assert process.stderr is not None
                for text in process.stderr:
                    last[:] = [text.strip()]
            if not done.wait(PAUSE_S):
                say(f"the way to the database has ended and is made anew: {last[0]}")

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        wait_until(lambda: "" if is_open(port) else last[0], PATIENCE_S, "the database can be reached from here")
        yield
    finally:
        done.set()
        for process in processes:
            process.terminate()
        thread.join(PATIENCE_S)
