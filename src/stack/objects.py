"""Which manifests still have to be applied, by what the cluster has: a request for each of them takes its time."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible.module_utils.common.yaml import yaml_load_all

from stack.placement import placed

APPLIED = "flask-postgres-stack/applied"
Object = dict[str, Any]


def documents(manifests: str) -> list[Object]:
    """The definitions of a YAML text; a document of which a condition has left nothing is none."""
    return [document for document in yaml_load_all(str(manifests)) if document]


def drifted(manifests: str, objects: dict[str, Object], placement: Mapping[str, Any] | None = None) -> list[Object]:
    """The definitions of manifests that the cluster does not have as they are.

    Args:
        manifests: The documents of a YAML text.
        objects: What is there, by ``Kind/name``.
        placement: What every object and pod has beside it, as `stack.placement.placed` takes it.
    """
    due = []
    for definition in placed_all(manifests, placement or {}):
        digest = hashlib.sha256(json.dumps(_shape(definition), sort_keys=True).encode()).hexdigest()[:16]
        metadata = definition["metadata"]
        metadata["annotations"] = {**(metadata.get("annotations") or {}), APPLIED: digest}
        if not _has(objects.get(name_of(definition)), definition):
            due.append(definition)
    return due


def placed_all(manifests: str | list[Object], placement: Mapping[str, Any]) -> list[Object]:
    """The definitions of a YAML text, or of a list, each with what the settings ask of every object and pod."""
    definitions = documents(manifests) if isinstance(manifests, str) else manifests
    return [placed(definition, placement) for definition in definitions]


def by_name(objects: Iterable[Object]) -> dict[str, Object]:
    """Objects by ``Kind/name``."""
    return {name_of(found): found for found in objects}


def name_of(found: Object) -> str:
    """What an object is recorded by: ``Kind/name``."""
    return f"{found['kind']}/{found['metadata']['name']}"


def merge_applied(objects: dict[str, Object], result: Object) -> dict[str, Object]:
    """Put the objects that kubernetes.core.k8s has returned over those recorded before, without its Secrets."""
    return {**objects, **by_name(found for found in _returned(result) if found["kind"] != "Secret")}


def merge_secrets(secrets: dict[str, dict[str, str]], result: Object) -> dict[str, dict[str, str]]:
    """Put the Secrets that kubernetes.core.k8s has returned over those recorded before, with decoded values.

    A run that only checks returns a definition as it was sent, with ``stringData``.
    """
    found = {
        found["metadata"]["name"]: secret_values(found) for found in _returned(result) if found["kind"] == "Secret"
    }
    return {**secrets, **found}


def secret_values(secret: Object) -> dict[str, str]:
    """The decoded values of a Secret; bytes that are no UTF-8 become surrogates, as Ansible has them."""
    encoded = secret.get("data") or {}
    return {
        **{key: base64.b64decode(value).decode(errors="surrogateescape") for key, value in encoded.items()},
        **(secret.get("stringData") or {}),
    }


def annotation_patches(objects: Iterable[Object], annotations: dict[str, str]) -> list[Object]:
    """What sets annotations of objects, as a patch for each."""
    return [
        {
            "apiVersion": found["apiVersion"],
            "kind": found["kind"],
            "metadata": {
                "name": found["metadata"]["name"],
                "namespace": found["metadata"]["namespace"],
                "annotations": annotations,
            },
        }
        for found in objects
    ]


def _returned(result: Object) -> list[Object]:
    """The objects of what kubernetes.core.k8s returns, which has a list of results for a list of definitions."""
    return [found["result"] for found in result["results"]] if "results" in result else [result]


def _shape(value: Any) -> Any:
    """A definition without its values: an autoscaler's number of replicas is one thing today and another tomorrow."""
    if isinstance(value, dict):
        return {key: _shape(found) for key, found in value.items()}
    return [_shape(found) for found in value] if isinstance(value, list) else None


def _has(live: Any, wanted: Any) -> bool:
    """Whether an object has what is wanted; beside that, it may have what the cluster or others have added."""
    if wanted is None:
        return True
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(_has(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return (
            isinstance(live, list)
            and len(live) == len(wanted)
            and all(_has(ours, theirs) for ours, theirs in zip(live, wanted, strict=True))
        )
    return type(live) is type(wanted) and bool(live == wanted)
