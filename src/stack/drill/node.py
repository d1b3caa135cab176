"""What takes root on the machine that is the node: the network of a pod, and the API server's own process."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from .database import Database, DrillError

# https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/
MANIFEST = Path("/etc/kubernetes/manifests/kube-apiserver.yaml")
MOVED = MANIFEST.parents[1] / "kube-apiserver.yaml.drill"
# The authority of the cluster, by kubeadm and by minikube.
AUTHORITIES = (Path("/etc/kubernetes/pki"), Path("/var/lib/minikube/certs"))
PROXY = "stack.drill.slow_api"
PROXY_PORT = 8444
API_SERVER = "kube-apiserver"


def is_elsewhere(database: Database) -> str:
    """Why the networks of the pods cannot be changed from here; empty if they can."""
    missing = [tool for tool in ("iptables", "nsenter") if not shutil.which(tool)]
    if os.geteuid() != 0 or missing:
        return f"it takes root{''.join(f' and {tool}' for tool in missing)} on the node"
    nodes = {pod.status.host_ip for pod in database.pods()}
    return "" if all(_is_own(address) for address in nodes) else "the nodes are other machines than this one"


def has_no_api_server(database: Database) -> str:
    """Why the API server cannot be stopped from here; empty if it can."""
    if reason := is_elsewhere(database):
        return reason
    return "" if MANIFEST.exists() or MOVED.exists() else f"the node has no {MANIFEST}"


def has_no_authority(database: Database) -> str:
    """Why nothing can be put between the instances and the API server; empty if it can."""
    if reason := is_elsewhere(database):
        return reason
    return "" if authority() else "the key of the cluster's authority is not on this machine"


def authority() -> Path | None:
    """The folder with the certificate and the key of the cluster's authority."""
    return next((folder for folder in AUTHORITIES if (folder / "ca.key").exists()), None)


def _is_own(address: str) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
        return True


def network(pod: Any) -> str:
    """The id of a process in the network of a pod.

    Raises:
        DrillError: The pod has no process on this machine.
    """
    statuses = pod.status.container_statuses or []
    container = next((status.container_id or "" for status in statuses), "").rpartition("/")[2]
    found = next((path.parent.name for path in Path("/proc").glob("[0-9]*/cgroup") if _contains(path, container)), "")
    if not container or not found:
        raise DrillError(f"the container of {pod.metadata.name} was not found on this machine")
    return found


def packets(pod: Any, *arguments: str, table: str = "filter", check: bool = True) -> None:
    """Change a table of the packet filter in a pod's network.

    Args:
        pod: The pod; one that is gone has taken its network with it, which counts where the change is to be checked.
        arguments: Those of iptables.
        table: The table.
        check: Whether a change that fails is an error.

    Raises:
        DrillError: The change failed, and was to be checked.
    """
    try:
        process = network(pod)
    except DrillError:
        if check:
            raise
        return
    command = ["nsenter", "--target", process, "--net", "iptables", "--wait", "--table", table, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if check and result.returncode:
        raise DrillError(f"{' '.join(command)}: {result.stderr.strip()}")


def _contains(path: Path, text: str) -> bool:
    try:
        return text in path.read_text()
    except OSError:
        return False


def stop_api_server(seconds: float) -> None:
    """Take the API server away, and have it come back by itself after a time, whatever becomes of this process."""
    back = f"sleep {seconds}; test ! -e {MOVED} || mv {MOVED} {MANIFEST}"
    subprocess.Popen(
        ["setsid", "sh", "-c", back], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    MANIFEST.rename(MOVED)
    # The kubelet would let it end in its own time.
    for process in filter(is_nodes_own, processes(API_SERVER)):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)


def start_api_server() -> None:
    """Bring the API server back, if it was taken away."""
    with suppress(FileNotFoundError):
        MOVED.rename(MANIFEST)


def put_between(pod: Any, server: str, seconds: float) -> None:
    """Let a pod reach the API server through a proxy alone, which answers late and wrong.

    Args:
        pod: The pod.
        server: The address by which the pod knows the API server.
        seconds: After which the proxy ends by itself, with it what leads to it.
    """
    folder = authority()
    assert folder is not None
    subprocess.Popen(
        ["nsenter", "--target", network(pod), "--net", sys.executable, "-m", PROXY, "--server", server,
         "--authority", str(folder), "--port", str(PROXY_PORT), "--seconds", str(seconds)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip


def take_away() -> None:
    """End the proxies, each of which then removes what leads to it."""
    for process in processes(PROXY):
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)


def processes(word: str) -> Iterator[int]:
    """The processes of this machine whose program has a name, or that run a Python module of that name."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            if words[0].rpartition("/")[2] == word or word in words[1:3]:
                yield int(path.parent.name)


def is_nodes_own(process: int) -> bool:
    """Whether a process is in the network of this machine, as static pods are, and not of a node in a container."""
    with suppress(OSError):
        return Path(f"/proc/{process}/ns/net").readlink() == Path("/proc/self/ns/net").readlink()
    return False
