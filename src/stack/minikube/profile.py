"""A profile of minikube, found and read as minikube finds and reads it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

API_SERVER_PORT = 8443
Config = Mapping[str, Any]


class ProfileError(Exception):
    """A profile that is there and cannot be read, in one line that says what to do."""


def home(environment: Mapping[str, str], folder: str) -> Path:
    """minikube's folder, by the rule of its package ``localpath``.

    ``MINIKUBE_HOME`` is the folder itself where its last part is ``.minikube``, however many slashes follow; any other
    value is the folder that ``.minikube`` lies in, and so is ``HOME`` where ``MINIKUBE_HOME`` is unset or empty.
    Nothing is expanded: ``~`` is a folder of that name. minikube knows no ``XDG_*``.

    Args:
        environment: The variables, as minikube gets them.
        folder: Where minikube is started, which a relative path begins at.
    """
    wanted = environment.get("MINIKUBE_HOME", "")
    if wanted.rstrip("/").rsplit("/", 1)[-1] != ".minikube":
        # minikube cleans what it joins by the letters alone, so that `..` takes a link's name away and not its target.
        wanted = os.path.normpath(os.path.join(wanted or environment.get("HOME", ""), ".minikube"))  # noqa: PTH118
    return Path(folder, wanted)


def read(folder: Path, name: str) -> dict[str, Any]:
    """What minikube has noted about a profile; empty before its first start.

    Args:
        folder: minikube's folder, as `home` returns it.
        name: The profile.

    Raises:
        ProfileError: The file is there and holds no profile, as after a full disk, or this user may not read it.
    """
    file = folder / "profiles" / name / "config.json"
    try:
        config = json.loads(file.read_text())
        if not isinstance(config, dict):
            raise TypeError("it is no object")  # noqa: TRY301
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ProfileError(f"{file}, minikube's profile {name}, cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise ProfileError(
            f"{file} does not hold minikube's profile {name} ({error}): put back a copy of the file, or, where the "
            f"cluster is not needed, remove the folder {file.parent}"
        ) from error
    return config


def described(config: Config) -> dict[str, Any]:
    """What others need of a profile, by names that do not change with minikube.

    Returns:
        ``exists``; ``address`` of the first control plane and the ``port`` of its API server; ``addresses`` of all
        nodes; ``driver``, ``cni``, ``cpus`` and ``memory_mb`` as they were at the first start, None where minikube has
        noted none; ``addons`` that are on; ``encrypted``, whether the API server was told to encrypt Secrets;
        the ``runtime`` of its containers.
    """
    kubernetes = config.get("KubernetesConfig") or {}
    nodes = config.get("Nodes") or []
    node = next((node for node in nodes if node.get("ControlPlane")), nodes[0] if nodes else {})
    options = kubernetes.get("ExtraOptions") or []
    return {
        "exists": bool(config),
        "address": node.get("IP") or "127.0.0.1",
        "addresses": [each["IP"] for each in nodes if each.get("IP")],
        "port": node.get("Port") or config.get("APIServerPort") or API_SERVER_PORT,
        "driver": config.get("Driver") or None,
        "cni": kubernetes.get("CNI") or None,
        "cpus": config.get("CPUs") or None,
        "memory_mb": config.get("Memory") or None,
        "addons": sorted(name for name, enabled in (config.get("Addons") or {}).items() if enabled),
        "runtime": kubernetes.get("ContainerRuntime") or "docker",
        "encrypted": any(option.get("Key") == "encryption-provider-config" for option in options),
    }
