"""Settings of the role ``minikube``, by what the machine, Docker's engine and minikube's profile have."""

from __future__ import annotations

import re
from typing import Any

from stack.minikube.arguments import LEAST_CPUS, LEAST_MEMORY_MB, is_enough_memory
from stack.minikube.machine import TOOLS
from stack.validation import Problem, Settings

ALIASES = {
    "minikube_ingress_class": "stack_ingress_class",
    "minikube_namespace": "stack_namespace",
    "minikube_profile": "stack_context",
}


def problems(settings: Settings) -> list[Problem]:
    """All that keeps a cluster from being started, at once.

    Args:
        settings: The role's settings, and four facts: ``machine``, as `stack.minikube.machine.read` returns it;
            ``profile``, as `stack.minikube.profile.described` does; ``starting``, whether a cluster that is there
            is about to be started, for one that runs is taken as it is; and ``context``, the kubeconfig's.
    """
    installed = settings["minikube_provider"] == "installed"
    found = _place(settings) + (_installed(settings) if installed else _offline(settings))
    if settings["minikube_profile"] != settings["context"]:
        found.append(
            Problem(
                "minikube_profile",
                f"minikube names the context by its profile, and stack_context is {settings['context']}: set "
                "stack_context alone",
                settings["minikube_profile"],
            )
        )
    return found


def _place(settings: Settings) -> list[Problem]:
    machine, found = settings["machine"], []
    if machine["cpus"] == 1:
        found.append(Problem("the machine has 1 CPU", f"Kubernetes needs {LEAST_CPUS}, the stack likes 4"))
    memory = settings["minikube_memory_mb"]
    # Docker's engine is asked for its own memory, and what it has is taken.
    if not _is_docker(settings) and machine["memory_mb"] and machine["memory_mb"] < memory * 0.95:
        found.append(
            Problem(
                "minikube_memory_mb",
                f"the machine has {machine['memory_mb']} MB: add memory, or set it lower at your own risk",
                memory,
            )
        )
    # A cluster that is there has what it needs of the disk; a full one would keep even a repair from being run.
    disk = settings["minikube_disk_gb"]
    if not settings["profile"]["exists"] and machine["disk_gb"] < disk:
        wanted = f"the home folder has {machine['disk_gb']} GB free: free some, or set it lower at your own risk"
        found.append(Problem("minikube_disk_gb", wanted, disk))
    return found


def _offline(settings: Settings) -> list[Problem]:
    machine, found = settings["machine"], []
    for port, program in machine["taken_ports"]:
        found.append(
            Problem(
                f"port {port} is taken by {program}",
                f"the ingress needs it, stop {program} (ss -ltnp shows its process)",
            )
        )
    if not machine["root"]:
        found.append(Problem("minikube_provider", "it needs root: run as root, or install minikube", "offline"))
    if settings["minikube_driver"] not in ("", "none"):
        wanted = "the offline build has only the none driver, leave it empty or install minikube"
        found.append(Problem("minikube_driver", wanted, settings["minikube_driver"]))
    if settings["minikube_ingress_controller"] == "addon":
        wanted = "its image cannot be built from packages, set traefik"
        found.append(Problem("minikube_ingress_controller", wanted, "addon"))
    return found


def _installed(settings: Settings) -> list[Problem]:
    machine, profile, found = settings["machine"], settings["profile"], []
    docker = machine["docker"]
    for tool, (oldest, _) in TOOLS.items():
        version = machine["versions"][tool]
        # Without a driver minikube takes what it finds, and Docker is one of several.
        optional = tool == "docker" and machine["driver"] != "docker"
        if version is None and not (optional and (machine["driver"] or machine["drivers"])):
            found.append(Problem(f"{tool} is not installed", f"{oldest} or newer is needed"))
        elif version and _version(version) < _version(oldest) and not optional:
            found.append(Problem(f"{tool} is {version}", f"{oldest} or newer is needed"))
    if docker and docker["complaint"] and (machine["driver"] == "docker" or not machine["drivers"]):
        found.append(Problem(*docker["complaint"].split(": ", 1)))
    if _is_docker(settings) and (settings["starting"] or not profile["exists"]):
        found += _engine(settings)
    wanted = settings["minikube_driver"]
    if profile["driver"] and wanted and wanted != profile["driver"]:
        found.append(
            Problem(
                "minikube_driver",
                f"the cluster of the profile {settings['minikube_profile']} has the driver {profile['driver']}, which "
                "a cluster keeps: set that, or another stack_context for another cluster",
                wanted,
            )
        )
    found += _ingress(settings)
    if settings["minikube_encryption_at_rest"]:
        wanted = "the node of an installed minikube gets no key from here, set false"
        found.append(Problem("minikube_encryption_at_rest", wanted, "true"))
    return found


def _ingress(settings: Settings) -> list[Problem]:
    """Two controllers would share the ports 80 and 443 and the class."""
    if settings["minikube_ingress_controller"] != "traefik":
        return []
    if "ingress" in settings["profile"]["addons"]:
        disable = f"minikube --profile {settings['minikube_profile']} addons disable ingress"
        wanted = f"the cluster has the addon ingress for the same ports: run `{disable}` before, or set addon"
        return [Problem("minikube_ingress_controller", wanted, "traefik")]
    if "ingress" in settings["minikube_addons"]:
        wanted = "Traefik has the same ports: leave ingress out, or set minikube_ingress_controller to addon"
        return [Problem("minikube_addons", wanted, ", ".join(settings["minikube_addons"]))]
    return []


def _engine(settings: Settings) -> list[Problem]:
    machine, found = settings["machine"], []
    docker = machine["docker"]
    if machine["root"] and not machine["force"]:
        found.append(
            Problem(
                "this user is root",
                "minikube does not start its Docker driver as root (DRV_AS_ROOT): run as a user of the group docker, "
                "or, in a machine that is yours alone, with MINIKUBE_FORCE=true in the environment",
            )
        )
    if docker["cpus"] and docker["cpus"] < LEAST_CPUS:
        wanted = f"Kubernetes needs {LEAST_CPUS}: give the engine more"
        found.append(Problem(f"Docker's engine has {docker['cpus']} CPU", wanted))
    if docker["memory_mb"] and not is_enough_memory(docker["memory_mb"]):
        wanted = f"the stack needs {LEAST_MEMORY_MB} MB: give the engine more"
        found.append(Problem(f"Docker's engine has {docker['memory_mb']} MB of memory", wanted))
    for name, least in (("minikube_cpus", LEAST_CPUS), ("minikube_memory_mb", LEAST_MEMORY_MB)):
        if settings[name] < least:
            found.append(Problem(name, f"it takes {least} or more", settings[name]))
    return found


def _is_docker(settings: Settings) -> bool:
    """Whether minikube will use Docker's engine, and it answers."""
    machine: dict[str, Any] = settings["machine"]
    if settings["minikube_provider"] != "installed" or not machine["docker"] or not machine["docker"]["cpus"]:
        return False
    return machine["driver"] == "docker" or not machine["drivers"]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text))
