"""Silences of Alertmanager, while something is done on purpose that alerts would tell of."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from stack.alerting import WATCHDOG
from stack.cluster import READ_ERRORS

APP = "alertmanager"
AMTOOL = ("amtool", "--alertmanager.url=http://localhost:9093", "silence")
AUTHOR = "flask-postgres-stack"
# A silence that nobody ends, because whoever began it was killed, lasts no longer; one that goes on is renewed.
MINUTES = 10
RENEWED_S = 240.0


class Pods(Protocol):
    """The part of `stack.cluster.Cluster` that silences take."""

    def items(self, group: str, kind: str, query: str = "") -> list[dict[str, Any]]:
        """All objects of a kind."""

    def run(self, pod: str, container: str, *command: str) -> str:
        """The standard output of a command in a container."""


def running(cluster: Pods) -> str:
    """The pod of Alertmanager; empty where none runs."""
    pods = cluster.items("api/v1", "pods", f"?labelSelector=app%3D{APP}&fieldSelector=status.phase%3DRunning")
    return next((pod["metadata"]["name"] for pod in pods), "")


def begin(cluster: Pods, reason: str, minutes: int = MINUTES) -> str:
    """Silence all alerts but the one that always fires.

    Args:
        cluster: The cluster of the stack.
        reason: What is done, for whoever looks at the silence.
        minutes: How long it lasts if nobody ends it.

    Returns:
        The id of the silence; empty where there is no Alertmanager.

    Raises:
        OSError: Alertmanager does not answer.
    """
    if not (pod := running(cluster)):
        return ""
    words = (f"--author={AUTHOR}", f"--comment={reason}", f"--duration={minutes}m", f'alertname!="{WATCHDOG}"')
    return cluster.run(pod, APP, *AMTOOL, "add", *words).strip()


def end(cluster: Pods, silence: str) -> None:
    """End a silence; one that is not there any more, as of a pod that was replaced, is no failure."""
    if silence and (pod := running(cluster)):
        with suppress(OSError):
            cluster.run(pod, APP, *AMTOOL, "expire", silence)


@contextmanager
def silenced(cluster: Pods, reason: str) -> Iterator[None]:
    """Silence alerts for as long as the block runs.

    Where Alertmanager does not answer, alerts are sent: that is no reason not to begin.
    """
    known: list[str] = []
    ended = threading.Event()

    def add() -> None:
        with suppress(*READ_ERRORS):
            known.append(begin(cluster, reason))

    def renew() -> None:
        # The next one begins before the one before it ends.
        while not ended.wait(RENEWED_S):
            add()

    add()
    thread = threading.Thread(target=renew, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(timeout=30)
        for silence in known:
            with suppress(*READ_ERRORS):
                end(cluster, silence)
