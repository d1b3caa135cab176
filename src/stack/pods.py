"""Commands in pods, until their output is as wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stack.cluster import READ_ERRORS, reason
from stack.polling import Clock, Sleep, looks

INTERVAL_S = 0.5
# The longest that is repeated of what a command says, in characters.
LONGEST = 500

Pod = Mapping[str, Any]
Execute = Callable[[Pod], tuple[int | None, str, str]]


@dataclass
class Answer:
    """What a command in a pod has answered last.

    Attributes:
        pod: The pod's name.
        code: The exit code; None where there is none.
        output: What it wrote to standard output.
        errors: What it wrote to standard error, in all tries.
        met: Whether the answer is as wanted.
    """

    pod: str
    code: int | None = None
    output: str = ""
    errors: list[str] = field(default_factory=list)
    met: bool = False

    def __str__(self) -> str:
        end = "no exit code" if self.code is None else f"exit code {self.code}"
        said = " ".join((self.errors[-1] if self.errors else self.output).split())
        return f"{self.pod}: {end}, {said[-LONGEST:] or 'no output'}"


def run_until(
    pods: Sequence[Pod],
    execute: Execute,
    is_wanted: Callable[[Pod, Answer], bool],
    timeout_s: float,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> list[Answer]:
    """Run a command in each pod, again and again in those whose answer is not as wanted.

    Args:
        pods: Each with its ``name`` and whatever `execute` and `is_wanted` need.
        execute: Runs the command, and returns the exit code, standard output and standard error.
        is_wanted: Whether an answer is as wanted.
        timeout_s: How long to try, in seconds; 0 for once.
        clock: Seconds that pass.
        sleep: Waits for seconds.

    Returns:
        The last answer of each pod, in their order.
    """
    answers = {pod["name"]: Answer(pod["name"]) for pod in pods}
    for passed in looks(INTERVAL_S, clock, sleep):
        for pod in pods:
            answer = answers[pod["name"]]
            if answer.met:
                continue
            try:
                answer.code, answer.output, errors = execute(pod)
            except READ_ERRORS as error:
                answer.code, answer.output, errors = None, "", reason(error)
            answer.errors += [errors] if errors else []
            answer.met = is_wanted(pod, answer)
        if all(answer.met for answer in answers.values()) or passed >= timeout_s:
            break
    return list(answers.values())
