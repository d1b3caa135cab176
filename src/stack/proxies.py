"""What is asked without the user's proxy: the cluster, which no proxy knows a way to.

``python3 proxies.py`` prints it, as the value of ``NO_PROXY``. Nothing but the standard library is loaded, since the
Makefile asks before there is an environment.
"""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "https_proxy", "http_proxy", "all_proxy")
# This machine, Services and pods as minikube numbers them, and the networks of its drivers (docker, kvm2, virtualbox):
# a cluster that is being started has no kubeconfig yet. https://minikube.sigs.k8s.io/docs/handbook/vpn_and_proxy/
LOCAL = (
    "localhost", "127.0.0.1", "127.0.0.0/8", "::1", ".svc", ".cluster.local", "10.96.0.0/12", "10.244.0.0/16",
    "192.168.49.0/24", "192.168.39.0/24", "192.168.59.0/24",
)  # fmt: skip


def is_near(host: str) -> bool:
    """Whether a host is within reach of this machine: a private address or a name without a domain.

    An API server with a public name may be one that only the proxy leads to.
    """
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host


def servers(kubeconfigs: Iterable[Path]) -> list[str]:
    """The hosts of the API servers that kubeconfigs name; a file that cannot be read names none."""
    found = []
    for path in kubeconfigs:
        try:
            text = path.read_text()
        except (OSError, UnicodeDecodeError):
            continue
        for url in re.findall(r"""\bserver["']?\s*:\s*["']?(https?://[^\s"',}]+)""", text):
            host = urlsplit(url).hostname
            if host:
                found.append(host)
    return found


def own_address() -> list[str]:
    """The address that this machine is known by, which a cluster of the driver none has; no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return [str(probe.getsockname()[0])]
        except OSError:
            return []


def kubeconfigs(environ: Mapping[str, str]) -> list[Path]:
    """The files that a client of Kubernetes reads."""
    listed = [Path(name) for name in environ.get("KUBECONFIG", "").split(os.pathsep) if name]
    return listed or [Path(environ.get("HOME", "/")) / ".kube" / "config"]


def bypassed(environ: Mapping[str, str], near: Iterable[str]) -> str:
    """The value of ``NO_PROXY``: what the user has in it, then this machine, the cluster's networks and ``near``."""
    listed = ",".join(environ.get(name, "") for name in ("NO_PROXY", "no_proxy"))
    users = [entry.strip() for entry in listed.split(",") if entry.strip()]
    return ",".join(dict.fromkeys(users if "*" in users else [*users, *LOCAL, *near]))


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What an environment needs so that the cluster is asked directly; nothing where it names no proxy."""
    if not any(environ.get(name) for name in PROXIES):
        return {}
    near = [host for host in servers(kubeconfigs(environ)) if is_near(host)]
    return dict.fromkeys(("NO_PROXY", "no_proxy"), bypassed(environ, [*own_address(), *near]))


def build_arguments(environ: Mapping[str, str], network: str) -> dict[str, str]:
    """The arguments by which the steps of an image's build ask for packages by the user's proxy.

    Docker keeps them out of the image, https://docs.docker.com/engine/cli/proxy/. A proxy on this machine's loopback is
    within reach of builds on its network alone.

    Args:
        environ: The user's environment.
        network: The build's network, as ``docker build --network`` takes it.
    """
    found = {name: environ[name] for name in PROXIES if environ.get(name)}
    if network != "host":
        found = {name: value for name, value in found.items() if not _is_loopback(urlsplit(value).hostname or "")}
    return {**found, **variables(environ)} if found else {}


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


if __name__ == "__main__":
    print(variables(os.environ).get("NO_PROXY", ""))
