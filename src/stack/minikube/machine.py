"""What the machine has of what a cluster takes, and what Docker's engine has, which need not be the machine's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# The ingress answers on the first two, and Traefik tells its numbers on the third.
PORTS = (80, 443, 8083)
# The oldest that were seen to work, and how each tells its own.
TOOLS = {
    "minikube": ("1.23", ("minikube", "version", "--short")),
    "kubectl": ("1.22", ("kubectl", "version", "--client")),
    "docker": ("20.10", ("docker", "--version")),
}
# A program of each driver that minikube chooses by itself where it finds it (its package registry/drvs).
DRIVERS = {
    "podman": "podman", "kvm2": "virsh", "qemu2": "qemu-system-x86_64", "virtualbox": "VBoxManage", "vmware": "vmrun",
    "hyperkit": "hyperkit", "vfkit": "vfkit", "parallels": "prlctl",
}  # fmt: skip
# Seconds for a tool to answer; an engine that hangs must not hang the run.
TIMEOUT_S = 20

Run = Callable[..., tuple[int, str]]


def run(*command: str) -> tuple[int, str]:
    """Run a command.

    Returns:
        Its exit code, 127 where there is no such program and 124 where it has not answered in time; and what it wrote.
    """
    try:
        result = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT_S, check=False
        )
    except FileNotFoundError:
        return 127, ""
    except PermissionError as error:
        return 126, str(error)
    except subprocess.TimeoutExpired:
        return 124, f"{command[0]} has not answered within {TIMEOUT_S} s"
    return result.returncode, result.stdout


def driver(wanted: str, noted: str | None, environment: Mapping[str, str], config: Mapping[str, Any]) -> str:
    """The driver that minikube will take, as its ``selectDriver`` finds it; empty where it will choose one.

    Args:
        wanted: The setting ``minikube_driver``.
        noted: The driver of the profile.
        environment: ``MINIKUBE_DRIVER`` counts.
        config: What ``minikube config set`` has written.
    """
    return str(
        noted or wanted or environment.get("MINIKUBE_DRIVER") or config.get("driver") or config.get("vm-driver") or ""
    )


def versions(call: Run) -> dict[str, str | None]:
    """The version of each tool, None for one that is not there."""
    found = {}
    for tool, (_, command) in TOOLS.items():
        match = re.search(r"\d+\.\d+[.\d]*", call(*command)[1])
        found[tool] = match[0] if match else None
    return found


def engine(call: Run) -> dict[str, Any]:
    """Docker's engine: what keeps this user from it, or else its CPUs and its memory in MB (of 1024 kB)."""
    code, output = call("docker", "info", "--format", "{{json .}}")
    if code == 127:
        return {"complaint": None, "cpus": None, "memory_mb": None}
    try:
        info = json.loads(output[output.index("{") :])
        if info.get("ServerErrors"):
            output = " ".join(info["ServerErrors"])
        elif info["NCPU"] and info["MemTotal"]:
            return {"complaint": None, "cpus": int(info["NCPU"]), "memory_mb": int(info["MemTotal"]) // 2**20}
    except (ValueError, KeyError, TypeError):
        pass
    return {"complaint": _complaint(output), "cpus": None, "memory_mb": None}


def _complaint(output: str) -> str:
    if "permission denied" in output.lower():
        return (
            "this user may not use Docker: add it to the group docker (sudo usermod -aG docker $USER) and log in again"
        )
    if "cannot connect to the docker daemon" in output.lower():
        return "Docker does not run: start it (sudo systemctl start docker), or set minikube_driver to another"
    said = " ".join(output.split())[:200] or "nothing"
    return f"Docker's engine does not answer as it should, see `docker info`: it said {said}"


def taken_ports(listing: str) -> list[tuple[int, str]]:
    """Ports of the ingress on which something else listens, with its program, from ``ss -Hltnp``."""
    found = re.findall(r":(\d+)\s.*users:\(\(\"([^\"]+)\"", listing)
    taken = {(int(port), program): None for port, program in found if int(port) in PORTS and program != "traefik"}
    return list(taken)


def read(provider: str, wanted: str, noted: str | None, home: str, call: Run = run) -> dict[str, Any]:
    """All that is to be known before a start.

    Args:
        provider: ``installed`` or ``offline``.
        wanted: The setting ``minikube_driver``.
        noted: The driver of the profile, None without one.
        home: minikube's folder.
        call: Runs a command; see `run`.

    Returns:
        ``cpus``, ``memory_mb`` and the ``disk_gb`` that are free below ``HOME``; ``root``; ``taken_ports`` of the
        offline build; of an installed minikube ``driver`` (see `driver`), the ``drivers`` that minikube may find,
        ``versions``, ``docker`` (see `engine`) and ``force``, whether minikube is told to take any user.
    """
    folder = Path(os.environ.get("HOME") or "/")
    found: dict[str, Any] = {
        "cpus": os.cpu_count() or 0,
        "memory_mb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
        "disk_gb": shutil.disk_usage(folder if folder.is_dir() else "/").free // 10**9,
        "root": os.geteuid() == 0,
    }
    if provider == "offline":
        found["taken_ports"] = taken_ports(call("ss", "-Hltnp")[1])
        return found
    try:
        config = json.loads(Path(home, "config", "config.json").read_text())
    except (OSError, ValueError):
        config = {}
    chosen = driver(wanted, noted, os.environ, config if isinstance(config, dict) else {})
    found["driver"] = chosen
    found["drivers"] = [name for name, program in DRIVERS.items() if shutil.which(program)]
    found["versions"] = versions(call)
    found["docker"] = engine(call) if chosen in ("", "docker") else None
    found["force"] = os.environ.get("MINIKUBE_FORCE", "").lower() in ("1", "t", "true")
    return found
