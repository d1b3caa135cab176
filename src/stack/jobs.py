"""Waiting for a Job, and telling meanwhile what it does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from stack.cluster import READ_ERRORS
from stack.polling import Clock, Sleep, looks
from stack.waiting import containers, explain, failure, hopeless, rollout_problem

Object = dict[str, Any]

INTERVAL_S = 1.0
# How often it is said that the Job goes on, where it logs nothing.
SAY_S = 10.0
# How many new lines are shown at once, and how long each may be, where it is to be brief.
BRIEF_LINES = 5
BRIEF_WIDTH = 160
# How many lines of the log a message ends with.
LAST_LINES = 5
# How long a pod that cannot start is given, for nodes and images may still come; and an API server without an answer.
PATIENCE_S = 120.0


class Cluster(Protocol):
    """What is asked of the cluster; `stack.cluster.Cluster` has it."""

    def job(self, name: str) -> Object | None:
        """A Job, if there is one."""

    def items(self, group: str, kind: str, query: str = "") -> list[Object]:
        """All objects of a kind."""

    def log(self, pod: str, container: str, since: str) -> list[tuple[str, str]]:
        """What a container has logged after a time: pairs of a time and a line."""


@dataclass(frozen=True)
class Outcome:
    """How a Job has ended.

    Attributes:
        succeeded: Whether it has done what it is for.
        message: Where not, why; with the end of its log.
    """

    succeeded: bool
    message: str


class JobWait:
    """Waits for a Job.

    Args:
        cluster: Where the Job runs.
        name: Its name.
        say: Takes each line for whoever waits.
        brief: Whether of many new lines the last ones are enough, and of a long one its beginning.
        clock: Seconds that pass, such as `time.monotonic`.
        sleep: Waits for seconds, such as `time.sleep`.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        say: Callable[[str], None],
        *,
        brief: bool = False,
        clock: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._cluster = cluster
        self._name = name
        self._say = say
        self._brief = brief
        self._clock = clock
        self._sleep = sleep
        self._logged_until: dict[str, str] = {}
        # By pod, in the order in which they began to log.
        self._last_lines: dict[str, deque[str]] = {}

    def wait(self, timeout_s: float) -> Outcome:
        """Wait until the Job has ended, cannot start, or takes too long.

        Args:
            timeout_s: The longest wait, in seconds.

        Raises:
            Exception: One of `stack.cluster.READ_ERRORS`, where the API server does not answer any more.
        """
        said_at = answered_at = 0.0
        stuck_since: float | None = None
        for now in looks(INTERVAL_S, self._clock, self._sleep):
            try:
                job = self._cluster.job(self._name)
                pods = self._pods()
                has_logged = self._read_logs(pods)
            except READ_ERRORS:
                if now >= answered_at + PATIENCE_S:
                    raise
                continue
            answered_at = now
            if job is None:
                return self._failed(f"Job {self._name} is gone, for somebody has deleted it", pods)
            if why := failure(job):
                return self._failed(why, pods)
            if not rollout_problem(job):
                return Outcome(True, "")
            stuck_since = (now if stuck_since is None else stuck_since) if _is_stuck(pods) else None
            if now >= timeout_s:
                return self._failed(f"Job {self._name} is not done after {timeout_s:.0f} s", pods)
            if stuck_since is not None and now >= stuck_since + PATIENCE_S:
                return self._failed(f"Job {self._name} has not begun after {now:.0f} s", pods)
            if has_logged:
                said_at = now
            elif now >= said_at + SAY_S:
                said_at = now
                self._say(f"Job {self._name} {self._doing(pods)}: {now:.0f} of at most {timeout_s:.0f} s")
        raise AssertionError("looks never end")

    def _pods(self) -> list[Object]:
        query = f"?labelSelector=batch.kubernetes.io%2Fjob-name%3D{self._name}"
        found = self._cluster.items("api/v1", "pods", query)
        return sorted(found, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")))

    def _reasons(self, pods: list[Object]) -> list[str]:
        """Why pods do not run, without their names, which say nothing more than the Job's."""
        names = {self._name, *(pod["metadata"]["name"] for pod in pods)}
        try:
            events = self._cluster.items("api/v1", "events", "?limit=1000")
        except READ_ERRORS:
            events = []
        lines = explain(pods, [event for event in events if event["involvedObject"].get("name") in names])
        return [line.partition(": ")[2] for line in lines]

    def _doing(self, pods: list[Object]) -> str:
        if pods and any("running" in (container.get("state") or {}) for container in containers(pods[-1])):
            return "runs"
        reasons = self._reasons(pods[-1:])
        return f"does not run yet ({'; '.join(reasons)})" if reasons else "has no pod yet"

    def _read_logs(self, pods: list[Object]) -> bool:
        """Say what has come since the last time, and return whether there was anything."""
        has_logged = False
        for pod in pods:
            name = pod["metadata"]["name"]
            for container in containers(pod):
                if not {"running", "terminated"} & (container.get("state") or {}).keys():
                    continue
                key = f"{name}/{container['name']}"
                lines = []
                for at, line in self._cluster.log(name, container["name"], self._logged_until.get(key, "")):
                    self._logged_until[key] = at
                    lines.append(line)
                    if line.strip():
                        self._last_lines.setdefault(name, deque(maxlen=LAST_LINES)).append(line.strip())
                for line in brief(lines) if self._brief else lines:
                    self._say(line)
                has_logged = has_logged or bool(lines)
        return has_logged

    def _failed(self, why: str, pods: list[Object]) -> Outcome:
        """The failure with what the last try has to say; those before it have mostly said the same."""
        runs = pods and any("running" in (container.get("state") or {}) for container in containers(pods[-1]))
        parts = [why, *([] if runs else self._reasons(pods[-1:]))]
        *_, last = [(), *self._last_lines.values()]
        parts.append("its log ends with: " + " | ".join(last) if last else "it logged nothing")
        return Outcome(False, "; ".join(part.rstrip(".") for part in parts))


def brief(lines: list[str]) -> list[str]:
    """The last lines, each to a width, below how many there were before them."""
    shown = [line if len(line) <= BRIEF_WIDTH else f"{line[: BRIEF_WIDTH - 1]}…" for line in lines[-BRIEF_LINES:]]
    more = len(lines) - BRIEF_LINES
    return [f"({more} line{'s' if more > 1 else ''} before, which -v shows)", *shown] if more > 0 else shown


def _is_stuck(pods: list[Object]) -> bool:
    """Whether the newest pod finds no node, or waits for what does not come by waiting."""
    conditions = (pods[-1].get("status") or {}).get("conditions") or [] if pods else []
    is_scheduled = all(found["status"] == "True" for found in conditions if found["type"] == "PodScheduled")
    return not is_scheduled or bool(hopeless(pods[-1:]))
