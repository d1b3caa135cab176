"""What a cluster asks of every pod and object, put into all definitions in one place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]

# Where a kind has its pods; a Pod is one itself.
TEMPLATES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job"), ("spec", "template")),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "Pod": (),
}


def placed(definition: Object, placement: Mapping[str, Any]) -> Object:
    """A definition with what the settings ask of every object and every pod; what it has itself stays.

    Doing it twice is the same as once. Claims of a StatefulSet are left alone, for they cannot be changed.

    Args:
        definition: An object as a manifest has it.
        placement: ``labels`` and ``annotations`` of all objects and pods; ``image_pull_secrets`` (names),
            ``node_selector``, ``tolerations`` and ``priority_class`` of all pods; ``ip_family_policy`` of all Services.
            Each may be left out.
    """
    if not any(placement.values()):
        return definition
    found = _described(definition, placement)
    if found["kind"] == "CronJob":
        spec = found["spec"]
        found = {**found, "spec": {**spec, "jobTemplate": _described(spec["jobTemplate"], placement)}}
    if found["kind"] == "Service" and placement.get("ip_family_policy"):
        found = {**found, "spec": {"ipFamilyPolicy": placement["ip_family_policy"], **found["spec"]}}
    path = TEMPLATES.get(found["kind"])
    return found if path is None else _changed(found, path, placement)


def _changed(found: Object, path: tuple[str, ...], placement: Mapping[str, Any]) -> Object:
    """An object with its pods changed, which are at the end of a path."""
    if path:
        return {**found, path[0]: _changed(found[path[0]], path[1:], placement)}
    described = _described(found, placement)
    return {**described, "spec": _pod(described["spec"], placement)}


def _described(found: Object, placement: Mapping[str, Any]) -> Object:
    """An object, or a template of one, with further labels and annotations."""
    metadata = found.get("metadata") or {}
    more = {
        key: {**placement[key], **(metadata.get(key) or {})} for key in ("labels", "annotations") if placement.get(key)
    }
    return {**found, "metadata": {**metadata, **more}} if more else found


def _pod(spec: Object, placement: Mapping[str, Any]) -> Object:
    more: Object = {}
    if selector := placement.get("node_selector"):
        more["nodeSelector"] = {**selector, **(spec.get("nodeSelector") or {})}
    if placement.get("priority_class"):
        more["priorityClassName"] = spec.get("priorityClassName") or placement["priority_class"]
    for key, wanted in (
        ("imagePullSecrets", [{"name": name} for name in placement.get("image_pull_secrets") or []]),
        ("tolerations", placement.get("tolerations") or []),
    ):
        if wanted:
            own = spec.get(key) or []
            more[key] = own + [entry for entry in wanted if entry not in own]
    return {**spec, **more}
