"""Instances of PostgreSQL: their volumes, and Patroni's record of them.

Patroni keeps its state in annotations of ConfigMaps (https://patroni.readthedocs.io/en/latest/kubernetes.html).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

Object = Mapping[str, Any]


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
