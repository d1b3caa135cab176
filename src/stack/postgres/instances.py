"""Instances of PostgreSQL: their volumes, and Patroni's record of them.

Patroni keeps its state in annotations of ConfigMaps (https://patroni.readthedocs.io/en/latest/kubernetes.html).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

Object = Mapping[str, Any]

# The node for which a volume was made, in the annotations of its claim:
# https://kubernetes.io/docs/reference/labels-annotations-taints/#volume-kubernetes-io-selected-node
SELECTED_NODE = "volume.kubernetes.io/selected-node"


def claim(statefulset: Object) -> dict[str, Any]:
    """The spec of the claims of a StatefulSet's first volume; empty where there is no StatefulSet."""
    if not statefulset:
        return {}
    return dict(statefulset["spec"]["volumeClaimTemplates"][0]["spec"])


def last_may_leave(configmaps: Iterable[Object], scope: str, count: int) -> bool:
    """Whether the last of the instances can end and leave to the others every commit that was acknowledged.

    There has to be a primary. Where it is the last instance and commits wait for a replica, one of the others has to be
    synchronous, so that it can take over.

    Args:
        configmaps: Those that Patroni keeps its state in.
        scope: Patroni's name of the database, before which the names of ConfigMaps and pods begin.
        count: The number of instances; 1 or more.
    """
    notes = {found["metadata"]["name"]: found["metadata"].get("annotations") or {} for found in configmaps}
    leader = notes.get(f"{scope}-leader", {}).get("leader", "")
    leaving, staying = f"{scope}-{count - 1}", {f"{scope}-{number}" for number in range(count - 1)}
    if leader != leaving:
        return leader in staying
    if not json.loads(notes[f"{scope}-config"]["config"])["synchronous_mode"]:
        return True
    return bool(staying & set(notes.get(f"{scope}-sync", {}).get("sync_standby", "").split(",")))


def spread(objects: Mapping[str, Object], names: Iterable[str]) -> str:
    """What a topology constraint says of an instance for which no node of its own is left (``whenUnsatisfiable``).

    It waits for one, so that two instances are never lost with one node. Where volumes of two were made on one node,
    their instances have to share that node or could not start.

    Args:
        objects: Objects of the namespace, by ``Kind/name``.
        names: The names of the instances.
    """
    claims = (objects.get(f"PersistentVolumeClaim/data-{name}", {}).get("metadata", {}) for name in names)
    nodes = Counter((metadata.get("annotations") or {}).get(SELECTED_NODE, "") for metadata in claims)
    del nodes[""]
    return "ScheduleAnyway" if max(nodes.values(), default=0) > 1 else "DoNotSchedule"
