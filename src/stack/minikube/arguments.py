"""How ``minikube start`` is called, and where the settings differ from the cluster that is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The addon is ingress-nginx (https://kubernetes.io/blog/2025/11/11/ingress-nginx-retirement/).
RETIRED = "ingress-nginx was retired in March 2026 and gets no more fixes"

# What the stack was seen to fit into.
LEAST_CPUS = 2
LEAST_MEMORY_MB = 3072
# An engine of 3 GB has somewhat less than that for its containers.
TOLERANCE = 0.93

WAIT = "--wait=apiserver,system_pods,default_sa"


def is_enough_memory(memory_mb: int) -> bool:
    return memory_mb >= LEAST_MEMORY_MB * TOLERANCE


def sizes(settings: Mapping[str, Any], machine: Mapping[str, Any]) -> tuple[int, int]:
    """CPUs and memory in MB for the first start: what is set, and no more than there is.

    minikube refuses more CPUs than Docker's engine has, or with another driver this machine (its
    ``validateCPUCount``). Less memory of the machine than is set is refused before.
    """
    cpus, memory = int(settings["minikube_cpus"]), int(settings["minikube_memory_mb"])
    docker = machine["docker"]
    if docker and docker["cpus"]:
        return min(cpus, docker["cpus"]), min(memory, docker["memory_mb"])
    return min(cpus, machine["cpus"] or cpus), memory


def installed(settings: Mapping[str, Any], profile: Mapping[str, Any], machine: Mapping[str, Any]) -> list[str]:
    """The arguments for an installed minikube.

    Driver, network plugin, CPUs and memory belong to the first start: minikube refuses or ignores another value later,
    and refuses more CPUs than there are even for a cluster that has fewer.

    Args:
        settings: The role's settings.
        profile: As `stack.minikube.profile.described` returns it.
        machine: As `stack.minikube.machine.read` returns it.
    """
    arguments = [WAIT]
    if settings["minikube_kubernetes_version"]:
        arguments.append(f"--kubernetes-version={settings['minikube_kubernetes_version']}")
    if profile["exists"]:
        return arguments
    cpus, memory = sizes(settings, machine)
    arguments += [f"--cpus={cpus}", f"--memory={memory}"]
    if settings["minikube_driver"]:
        arguments.append(f"--driver={settings['minikube_driver']}")
    if settings["minikube_cni"]:
        arguments.append(f"--cni={settings['minikube_cni']}")
    return arguments


def notes(settings: Mapping[str, Any], profile: Mapping[str, Any], machine: Mapping[str, Any]) -> list[str]:
    """What a run says of settings that are not what the cluster has, or will have, and of a controller without fixes.

    Args:
        settings: The role's settings.
        profile: As `stack.minikube.profile.described` returns it.
        machine: As `stack.minikube.machine.read` returns it.
    """
    return _sizes(settings, profile, machine) + _ingress(settings, profile)


def _ingress(settings: Mapping[str, Any], profile: Mapping[str, Any]) -> list[str]:
    if settings["minikube_ingress_controller"] != "addon":
        return []
    line = f"minikube_ingress_controller is addon: {RETIRED}"
    if "ingress" in profile["addons"]:
        disable = f"minikube --profile {settings['minikube_profile']} addons disable ingress"
        return [f"{line}; `{disable}` and a run with traefik, the default then, replace it"]
    return [f"{line}; traefik is the default"]


def _sizes(settings: Mapping[str, Any], profile: Mapping[str, Any], machine: Mapping[str, Any]) -> list[str]:
    wanted = {
        "minikube_cpus": int(settings["minikube_cpus"]),
        "minikube_memory_mb": int(settings["minikube_memory_mb"]),
        "minikube_cni": settings["minikube_cni"],
    }
    if settings["minikube_provider"] == "offline":
        cpus = machine["cpus"]
        few = f"the machine has {cpus} CPUs, minikube_cpus asks for {wanted['minikube_cpus']}: all fits, and is slower"
        return [few] if 0 < cpus < wanted["minikube_cpus"] else []
    if not profile["exists"]:
        docker = machine["docker"]
        owner = "Docker's engine" if docker and docker["cpus"] else "the machine"
        units = {"minikube_cpus": "CPUs", "minikube_memory_mb": "MB of memory"}
        return [
            f"{name} is {wanted[name]}, {owner} has {size} {unit}: the cluster gets {size}"
            for (name, unit), size in zip(units.items(), sizes(settings, machine), strict=True)
            if size < wanted[name]
        ]
    kept = {
        "minikube_cpus": profile["cpus"],
        "minikube_memory_mb": profile["memory_mb"],
        "minikube_cni": profile["cni"],
    }
    return [
        f"{name} is {value}, the cluster has {kept[name]}: it counts at the first start alone"
        for name, value in wanted.items()
        if value and kept[name] and str(value) != str(kept[name])
    ]
