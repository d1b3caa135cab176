"""Nodes that are containers of a Docker engine that answers here, as Minikube's Docker driver and kind have them.

They are switched off as machines are that lose their power, and cut off as machines are whose link breaks.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from docker.models.containers import Container

from stack.engine import connected
from stack.images import ImageError
from stack.polling import wait_until

from .database import Database, DrillError

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
CHAIN = "DRILL"
# Forwarded packets, those of pods, are in the second as well.
HOOKS = (("raw", "PREROUTING", "-i"), ("mangle", "POSTROUTING", "-o"))
LINK = "eth0"
# By this name the nodes of a Minikube know their control plane. Docker writes the file anew at each start.
NAME = "control-plane.minikube.internal"
READY_S = 120.0
# What was switched off from here: the nodes, each with the address of its control plane.
_off: dict[str, str] = {}


def are_elsewhere(database: Database) -> str:
    """Why the nodes cannot be switched off from here; empty if they can."""
    try:
        are_here = all(_is_container(node) for node in database.nodes())
    except DrillError:
        are_here = False
    return "" if are_here else "the nodes are no containers of an engine that answers here"


@contextmanager
def _container(name: str) -> Iterator[Container]:
    """A container by its name.

    Raises:
        DrillError: The engine has none, or a call of it has failed.
    """
    try:
        with connected() as engine:
            yield engine.containers.get(name)
    except ImageError as error:
        raise DrillError(f"the engine of the nodes: {error}") from error


def _is_container(node: Any) -> bool:
    """Whether a node is the container of its name; one that is switched off has no address."""
    with _container(node.metadata.name) as container:
        networks = container.attrs["NetworkSettings"]["Networks"].values()
    addresses = {network["IPAddress"] for network in networks} - {""}
    return not addresses or address(node) in addresses


def address(node: Any) -> str:
    """The address of a node in its cluster."""
    return next((str(each.address) for each in node.status.addresses if each.type == "InternalIP"), "")


def is_ready(node: Any) -> bool:
    return any(each.type == "Ready" and each.status == "True" for each in node.status.conditions or [])


def is_control_plane(node: Any) -> bool:
    return CONTROL_PLANE in (node.metadata.labels or {})


def switch_off(name: str, control_plane: str, seconds: float) -> None:
    """Take a node's power away, and have it come back by itself after a time, whatever becomes of this process.

    Args:
        name: The node.
        control_plane: The address of the control plane.
        seconds: After which it comes back.
    """
    with _container(name) as container:
        _later(seconds, "on", name, control_plane)
        _off[name] = control_plane
        container.kill()


def switch_on(name: str, control_plane: str) -> None:
    """Start a node that is off; one that is on stays as it is."""
    with _container(name) as container:
        if container.status == "running":
            return
        container.start()
    run(name, f"grep -q {NAME} /etc/hosts || echo '{control_plane} {NAME}' >> /etc/hosts")

    def problem() -> str:
        with suppress(DrillError):
            run(name, "systemctl start kubelet")
            return ""
        return "systemd does not answer"

    wait_until(problem, READY_S, f"kubelet of {name}")


def bring_back() -> None:
    """Start what was switched off from here."""
    while _off:
        switch_on(*_off.popitem())


def cut(name: str, seconds: float) -> None:
    """Let no packet of its link into a node or out of it, for a time at most."""
    _later(seconds, "connect", name, "")
    run(name, " && ".join(_filters("-N {0}", "-A {0} {2} {1} -j DROP", "-I {3} -j {0}")))


def connect(name: str) -> None:
    """Take that back."""
    run(name, "; ".join(f"{each} 2> /dev/null" for each in _filters("-D {3} -j {0}", "-F {0}", "-X {0}")) + "; true")


def _filters(*rules: str) -> Iterator[str]:
    for table, hook, side in HOOKS:
        for rule in rules:
            yield f"iptables --wait --table {table} {rule.format(CHAIN, LINK, side, hook)}"


def run(name: str, script: str) -> None:
    """Run a shell script as root on a node.

    Raises:
        DrillError: It failed.
    """
    with _container(name) as container:
        code, output = container.exec_run(["sh", "-c", script])
    if code:
        raise DrillError(f"on {name}: {script!r} ended with {code}: {output!r}")


def _later(seconds: float, *arguments: str) -> None:
    """Call this module after a time."""
    command = [sys.executable, "-m", __name__, *arguments]
    subprocess.Popen(
        ["setsid", "sh", "-c", f'sleep {seconds}; exec "$@"', "sh", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def main(arguments: Sequence[str]) -> None:
    todo, name, control_plane = arguments
    if todo == "on":
        switch_on(name, control_plane)
    else:
        connect(name)


if __name__ == "__main__":
    main(sys.argv[1:])
