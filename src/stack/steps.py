"""What a run says of its steps, in a line each, and of what went wrong.

A step is a task of Ansible. Results are as a callback gets them, https://docs.ansible.com/ansible/latest/dev_guide/developing_plugins.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]

# How often it is said that a step goes on, and from when on less often.
TICK_S = 10.0
LONG_S = 60.0
LONG_TICK_S = 30.0
# How many names a line has at most.
NAMES = 4
# How many lines of a command's output say why it failed.
LAST_LINES = 5


def duration(seconds: float) -> str:
    """A time as people say it: ``4.2 s``, ``2 min 5 s``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s"


def line(status: str, seconds: float, step: str, names: Sequence[str] = ()) -> str:
    """The line of a step.

    Args:
        status: ``changed``, ``ok`` or ``failed``.
        seconds: How long it took.
        step: Its name.
        names: What it has changed.
    """
    more = f", and {len(names) - NAMES} more" if len(names) > NAMES else ""
    what = f": {', '.join(names[:NAMES])}{more}" if names else ""
    return f"{status:<8} {duration(seconds):>11}  {step}{what}"


def changed_names(result: Result) -> list[str]:
    """What a step has changed: the labels of a loop's items, or objects of the cluster as ``Deployment flask-app``."""
    if "results" in result:
        labels = [item.get("_ansible_item_label", item.get("item")) for item in _items(result) if item.get("changed")]
        return [label for label in labels if isinstance(label, str) and "\n" not in label]
    applied = result.get("result")
    if not isinstance(applied, Mapping):
        return []
    # kubernetes.core.k8s answers with a list where it was given more than one.
    done = applied["results"] if isinstance(applied.get("results"), list) else [result]
    objects = [one.get("result") or {} for one in done if isinstance(one, Mapping) and one.get("changed")]
    return [name for found in objects if (name := _object_name(found))]


def reason(result: Result) -> str:
    """Why a step failed: its message, those of a loop's items, or the end of what a command said."""
    if "censored" in result:
        return "Its output has secrets and is not shown."
    if "results" in result:
        reasons = [reason(item) for item in _items(result) if item.get("failed") or item.get("unreachable")]
        return "\n".join(dict.fromkeys(reasons)) or str(result.get("msg", ""))
    # An include that cannot be read has no message, but a reason.
    message = text(result.get("msg") or result.get("reason", ""))
    if not result.get("rc"):
        return message or "It gives no reason."
    said = str(result.get("stderr") or result.get("stdout") or "").strip().splitlines()[-LAST_LINES:]
    # Of a module's own message the output is a part mostly.
    added = [] if message and said and said[-1] in message else said
    return "\n".join([message.replace("non-zero return code", f"exit code {result['rc']}"), *added])


def text(message: object) -> str:
    """A message, or those of a list a line each."""
    if isinstance(message, Sequence) and not isinstance(message, str):
        return "\n".join(str(part) for part in message)
    return str(message).strip("\n")


def failure(step: str, seconds: float, why: str, changes: int) -> str:
    """The last words of a run that failed: what, why, and what to do.

    Args:
        step: The step that failed.
        seconds: How long it took.
        why: Its reason.
        changes: How many steps have changed something before.
    """
    before = f"{changes} step{'s have' if changes > 1 else ' has'} changed something before it, and that stays."
    after = f" after {duration(seconds)}" if seconds >= 1 else ""
    advice = "Remove the cause and run the same command again; with -v it shows every task."
    return f"Failed{after}: {step}\n{why}\n{before if changes else 'Nothing was changed.'} {advice}"


def _object_name(found: Result) -> str:
    """The kind and the name of an object; of what was removed the API server answers with a Status, which has both."""
    kind, name = found.get("kind"), (found.get("metadata") or {}).get("name")
    if kind == "Status":
        details = found.get("details") or {}
        kind, name = details.get("kind"), details.get("name")
    return f"{kind} {name}" if kind and name else ""


def _items(result: Result) -> Iterable[Result]:
    return [item for item in result["results"] if isinstance(item, Mapping)]


class Ticker:
    """Says every few seconds that a step goes on, from a thread of its own.

    Args:
        say: Takes a line.
        interval_s: The time to the first line, and between lines of the first minute.
    """

    def __init__(self, say: Callable[[str], None], interval_s: float = TICK_S) -> None:
        self._say = say
        self._interval_s = interval_s
        self._condition = threading.Condition()
        self._thread: threading.Thread | None = None
        self._step = ""
        self._note = ""
        self._began = 0.0

    def start(self, step: str) -> None:
        """Begin with a step, in the place of any before; an empty name ends it."""
        with self._condition:
            self._step, self._note, self._began = step, "", time.monotonic()
            self._condition.notify()
        if step and self._thread is None:
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()

    def note(self, note: str) -> None:
        """What a line is to say beside the time, such as how many tries there were."""
        self._note = note

    def stop(self) -> None:
        """Say nothing more of the step."""
        self.start("")

    def _run(self) -> None:
        with self._condition:
            while True:
                if not self._step:
                    self._condition.wait()
                    continue
                passed = time.monotonic() - self._began
                pause = self._interval_s if passed < LONG_S else LONG_TICK_S
                if not self._condition.wait(pause) and self._step:
                    self._say(f"  {self._step} goes on: {self._passed()} s{self._note and ', ' + self._note}")

    def _passed(self) -> int:
        return round(time.monotonic() - self._began)
