"""The service's environment on this machine: what its pod gets, with the database at the end of a tunnel."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Object = dict[str, Any]
# The content of ConfigMaps and Secrets, by kind and name.
Data = Mapping[tuple[str, str], Mapping[str, str]]

# Names that only the cluster's name server knows.
ELSEWHERE = ("DB_READ_HOST", "DB_READ_PORT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def sources(deployment: Object) -> set[tuple[str, str]]:
    """The ConfigMaps and Secrets that a Deployment's pods read, as pairs of a kind and a name."""
    pod = _pod(deployment)
    environment = {found for container in pod["containers"] for found in _environment_of(container)}
    return environment | {source for _, source in _mounts(pod)}


def environment(deployment: Object, data: Data, port: int, folder: Path) -> dict[str, str]:
    """The environment of the service on this machine.

    Args:
        deployment: Its Deployment.
        data: What its sources hold.
        port: Where on this machine the database answers.
        folder: Where `files` are.
    """
    pod = _pod(deployment)
    container = pod["containers"][0]
    found: dict[str, str] = {}
    for source in _environment_of(container):
        found |= data[source]
    found |= {entry["name"]: entry["value"] for entry in container.get("env", []) if "value" in entry}
    for mount, (_, name) in _mounts(pod):
        found = {
            key: str(folder / name / value.removeprefix(f"{mount}/")) if value.startswith(f"{mount}/") else value
            for key, value in found.items()
        }
    # The certificate of the database is valid for this name, too.
    local = {"DB_HOST": "localhost", "DB_PORT": str(port), "TRUSTED_PROXIES": "0"}
    return {key: value for key, value in found.items() if key not in ELSEWHERE} | local


def files(deployment: Object, data: Data, folder: Path) -> dict[Path, str]:
    """The files of the service's pod that are to lie in a folder, with their content."""
    return {
        folder / source[1] / key: content
        for _, source in _mounts(_pod(deployment))
        for key, content in data[source].items()
    }


def _pod(deployment: Object) -> Object:
    pod: Object = deployment["spec"]["template"]["spec"]
    return pod


def _environment_of(container: Object) -> Iterator[tuple[str, str]]:
    for entry in container.get("envFrom", []):
        for key, kind in {"configMapRef": "ConfigMap", "secretRef": "Secret"}.items():
            if key in entry:
                yield kind, entry[key]["name"]


def _mounts(pod: Object) -> Iterator[tuple[str, tuple[str, str]]]:
    """Where ConfigMaps and Secrets are mounted."""
    volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
    for mount in pod["containers"][0].get("volumeMounts", []):
        volume = volumes[mount["name"]]
        if "configMap" in volume:
            yield mount["mountPath"], ("ConfigMap", volume["configMap"]["name"])
        elif "secret" in volume:
            yield mount["mountPath"], ("Secret", volume["secret"]["secretName"])
