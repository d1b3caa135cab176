"""What Ansible applied, read back from the cluster as it was rendered."""

from __future__ import annotations

import json
from typing import Any

MANAGER = "ansible"
KINDS = {
    "v1": ["ServiceAccount", "ConfigMap", "Secret", "PersistentVolumeClaim", "Service"],
    "rbac.authorization.k8s.io/v1": ["Role", "RoleBinding"],
    "policy/v1": ["PodDisruptionBudget"],
    "autoscaling/v2": ["HorizontalPodAutoscaler"],
    "networking.k8s.io/v1": ["Ingress", "NetworkPolicy"],
    "batch/v1": ["Job", "CronJob"],
    "apps/v1": ["StatefulSet", "Deployment"],
}


def owned(value: Any, fields: dict[str, Any]) -> Any:
    """The part of a value that a field manager has applied, as ``managedFields`` describes it.

    A field that was applied with its zero value is owned, and not there.
    """
    if isinstance(value, dict):
        return {
            name[2:]: owned(value[name[2:]], inner)
            for name, inner in fields.items()
            if name.startswith("f:") and name[2:] in value
        } or value
    if isinstance(value, list):
        kept = []
        for item in value:
            for name, inner in fields.items():
                if name.startswith("k:"):
                    key = json.loads(name[2:])
                    if isinstance(item, dict) and key.items() <= item.items():
                        kept.append({**key, **owned(item, inner)} if inner.keys() - {"."} else key)
                elif name.startswith("v:") and json.loads(name[2:]) == item:
                    kept.append(item)
        return kept if any(name[:2] in ("k:", "v:") for name in fields) else value
    return value


def applied(live: dict[str, Any]) -> dict[str, Any] | None:
    """The object as Ansible applied it, or None if it did not."""
    for entry in live["metadata"].get("managedFields", []):
        if entry["manager"] == MANAGER and entry["operation"] == "Apply":
            found: dict[str, Any] = owned(live, entry["fieldsV1"])
            found["apiVersion"], found["kind"] = live["apiVersion"], live["kind"]
            found.setdefault("metadata", {})["name"] = live["metadata"]["name"]
            if "namespace" in live["metadata"]:
                found["metadata"]["namespace"] = live["metadata"]["namespace"]
            return found
    return None


def read(client: Any, namespace: str) -> list[dict[str, Any]]:
    """All that Ansible has applied in a namespace, and the namespace itself first."""
    found = [client.resources.get(api_version="v1", kind="Namespace").get(name=namespace).to_dict()]
    for api_version, kinds in KINDS.items():
        for kind in kinds:
            items = client.resources.get(api_version=api_version, kind=kind).get(namespace=namespace).items
            found.extend({**item.to_dict(), "apiVersion": api_version, "kind": kind} for item in items)
    return [rendered for live in found if (rendered := applied(live))]
