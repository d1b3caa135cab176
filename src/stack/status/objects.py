"""What counts of the cluster's objects, as plain values; each function takes objects as the API server has them."""

from __future__ import annotations

import base64
import datetime
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from cryptography import x509

from stack.images import named

REQUESTS = re.compile(r"^http_request_duration_seconds_count\{(?P<labels>[^}]*)\} (?P<count>\S+)$", re.MULTILINE)
STATUS_5XX = re.compile(r'\bstatus="5\d\d"')

Object = Mapping[str, Any]


def workload(found: dict[str, Any], kind: str, pods: list[dict[str, Any]]) -> dict[str, Any]:
    """What counts of a Deployment or StatefulSet, with its own of the pods."""
    selector = found["spec"]["selector"].get("matchLabels", {})
    own = [pod for pod in pods if selector.items() <= pod["labels"].items()]
    status = found.get("status", {})
    return {
        "name": f"{kind}/{found['metadata']['name']}",
        "selector": ",".join(f"{key}={value}" for key, value in selector.items()),
        "wanted": found["spec"].get("replicas", 1),
        "ready": status.get("readyReplicas", 0),
        "updated": status.get("updatedReplicas", 0),
        "images": [container["image"] for container in found["spec"]["template"]["spec"]["containers"]],
        "restarts": sum(pod["restarts"] for pod in own),
        "pods": [pod["name"] for pod in own],
        "paused": bool(found["spec"].get("paused")),
        # Why there are no pods to ask, such as a quota.
        "refused": next(
            (
                condition.get("message", "")
                for condition in status.get("conditions", [])
                if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
            ),
            None,
        ),
    }


def images_since(revisions: Iterable[Object], images: Collection[str]) -> dict[str, str]:
    """Since when images run, by the ReplicaSets and ControllerRevisions that name them; RFC 3339."""
    found: dict[str, str] = {}
    for revision in revisions:
        made = revision["metadata"]["creationTimestamp"]
        for image in named([dict(revision)]):
            if image in images:
                found[image] = min(made, found.get(image, made))
    return found


def pod_state(found: dict[str, Any]) -> dict[str, Any]:
    """What counts of a pod."""
    status, owners = found.get("status", {}), found["metadata"].get("ownerReferences", [])
    containers = status.get("initContainerStatuses", []) + status.get("containerStatuses", [])
    waiting = [container["state"]["waiting"] for container in containers if "waiting" in container.get("state", {})]
    ended = [end for container in containers if (end := container.get("lastState", {}).get("terminated"))]
    unscheduled = [
        condition.get("message", "")
        for condition in status.get("conditions", [])
        if condition["type"] == "PodScheduled" and condition["status"] != "True"
    ]
    last: dict[str, Any] = max(ended, key=lambda end: end.get("finishedAt") or "", default={})
    return {
        "name": found["metadata"]["name"],
        "labels": found["metadata"].get("labels", {}),
        "app": found["metadata"].get("labels", {}).get("app"),
        "created": found["metadata"]["creationTimestamp"],
        "phase": status.get("phase", "Unknown"),
        "leaving": "deletionTimestamp" in found["metadata"],
        "leaving_since": found["metadata"].get("deletionTimestamp"),
        "job": next((owner["name"] for owner in owners if owner["kind"] == "Job"), None),
        "node": found.get("spec", {}).get("nodeName"),
        # What a StatefulSet owns is not made anew elsewhere as long as the node may come back.
        "bound": any(owner["kind"] == "StatefulSet" for owner in owners),
        "ready": has_condition(found, "Ready"),
        "reason": next(
            filter(None, [*unscheduled, *(f"{w.get('reason', '')} {w.get('message', '')}".strip() for w in waiting)]),
            status.get("reason") or status.get("message") or "",
        ),
        "looping": any(state.get("reason") == "CrashLoopBackOff" for state in waiting),
        "restarts": sum(container.get("restartCount", 0) for container in containers),
        "last_restart": last.get("finishedAt"),
        "last_restart_reason": last.get("reason"),
    }


def certificates(secrets: list[dict[str, Any]], now: datetime.datetime) -> Iterator[dict[str, Any]]:
    """The certificates in Secrets of type kubernetes.io/tls; `own` are those of the stack's authority."""
    authority = None
    # The authority's comes first, to know what it has issued.
    for secret in sorted(secrets, key=lambda secret: secret["metadata"]["name"] != "stack-ca"):
        name = secret["metadata"]["name"]
        try:
            found = x509.load_pem_x509_certificate(base64.b64decode(secret["data"]["tls.crt"]))
        except (ValueError, KeyError):
            yield {"secret": name, "names": [], "begins": None, "ends": None, "days": None, "own": False}
            continue
        if name == "stack-ca":
            authority = found.subject
        try:
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            hosts = names.get_values_for_type(x509.DNSName)
        except x509.ExtensionNotFound:
            hosts = []
        ends = found.not_valid_after_utc
        yield {
            "secret": name,
            "names": hosts,
            "begins": found.not_valid_before_utc.isoformat(),
            "ends": ends.isoformat(),
            "days": (ends - now).days,
            "own": found.issuer == authority,
        }


def count_requests(texts: list[str]) -> tuple[float, float]:
    """Requests, and those of them that ended with a status of 500 or more, over all pods' metrics."""
    total = errors = 0.0
    for text in texts:
        for found in REQUESTS.finditer(text):
            total += float(found["count"])
            errors += float(found["count"]) if STATUS_5XX.search(found["labels"]) else 0.0
    return total, errors


def has_condition(found: Object, kind: str, status: str = "True") -> bool:
    """Whether an object's status has a condition."""
    conditions = found.get("status", {}).get("conditions") or []
    return any(condition["type"] == kind and condition["status"] == status for condition in conditions)


def job(found: Object) -> dict[str, Any]:
    """What counts of a Job."""
    failed = [
        condition
        for condition in found.get("status", {}).get("conditions") or []
        if condition["type"] == "Failed" and condition["status"] == "True"
    ]
    return {
        "name": found["metadata"]["name"],
        "app": found["metadata"].get("labels", {}).get("app"),
        "cronjob": next(
            (owner["name"] for owner in found["metadata"].get("ownerReferences", []) if owner["kind"] == "CronJob"),
            None,
        ),
        "created": found["metadata"]["creationTimestamp"],
        "complete": has_condition(found, "Complete"),
        "failed": next((condition.get("reason") or "Failed" for condition in failed), None),
        "failed_pods": found.get("status", {}).get("failed", 0),
    }


def cronjob(found: Object) -> dict[str, Any]:
    """What counts of a CronJob."""
    return {"name": found["metadata"]["name"], "suspended": bool(found["spec"].get("suspend"))}


def autoscaler(found: Object) -> dict[str, Any]:
    """What counts of a HorizontalPodAutoscaler: its pods, whether it would take more, and why it cannot tell."""
    conditions = found.get("status", {}).get("conditions") or []
    blind = [entry for entry in conditions if entry["type"] == "ScalingActive" and entry["status"] == "False"]
    return {
        "name": found["metadata"]["name"],
        "most": found["spec"]["maxReplicas"],
        "wanted": found.get("status", {}).get("desiredReplicas", 0),
        "limited": any(
            entry["type"] == "ScalingLimited" and entry["status"] == "True" and entry.get("reason") == "TooManyReplicas"
            for entry in conditions
        ),
        "blind": next((entry.get("message") or entry.get("reason") or "no metrics" for entry in blind), None),
    }


def node(found: Object) -> dict[str, Any]:
    """What counts of a node."""
    pressures = ("DiskPressure", "MemoryPressure", "PIDPressure")
    return {
        "name": found["metadata"]["name"],
        "ready": has_condition(found, "Ready"),
        "cordoned": bool(found["spec"].get("unschedulable")),
        "pressure": [pressure for pressure in pressures if has_condition(found, pressure)],
    }


def budget(found: Object) -> dict[str, Any]:
    """What counts of a PodDisruptionBudget: how many of its pods are ready, and how many may be moved now."""
    status = found.get("status", {})
    return {
        "name": found["metadata"]["name"],
        "pods": status.get("expectedPods", 0),
        "ready": status.get("currentHealthy", 0),
        "may_move": status.get("disruptionsAllowed", 0),
    }


def filesystem(output: str) -> tuple[int, int, int]:
    """The size, what is used and what is free, in bytes, by the output of ``df -Pk``.

    Raises:
        OSError: The output is cut short, as by a node that is lost meanwhile.
    """
    lines = output.splitlines()
    words = lines[1].split() if len(lines) > 1 else []
    if len(words) < 4 or not all(word.isdecimal() for word in words[1:4]):
        raise OSError("df has not answered")
    size, used, free = (int(word) * 1024 for word in words[1:4])
    return size, used, free


def needs(pod: Object) -> set[tuple[str, str]]:
    """The kinds and names of what a pod cannot start without, by its spec."""
    found: set[tuple[str, str]] = set()

    def need(kind: str, source: Object | None, key: str) -> None:
        if source and source.get(key) and not source.get("optional"):
            found.add((kind, source[key]))

    for volume in pod.get("volumes") or []:
        need("Secret", volume.get("secret"), "secretName")
        need("ConfigMap", volume.get("configMap"), "name")
        need("PersistentVolumeClaim", volume.get("persistentVolumeClaim"), "claimName")
        for source in (volume.get("projected") or {}).get("sources") or []:
            need("Secret", source.get("secret"), "name")
            need("ConfigMap", source.get("configMap"), "name")
    for container in [*(pod.get("initContainers") or []), *pod["containers"]]:
        for source in container.get("envFrom") or []:
            need("Secret", source.get("secretRef"), "name")
            need("ConfigMap", source.get("configMapRef"), "name")
        for variable in container.get("env") or []:
            value = variable.get("valueFrom") or {}
            need("Secret", value.get("secretKeyRef"), "name")
            need("ConfigMap", value.get("configMapKeyRef"), "name")
    return found


def missing(templates: Mapping[str, Object], names: Mapping[str, Collection[str]]) -> Iterator[dict[str, Any]]:
    """What pods need and is not there.

    Args:
        templates: The spec of the pods of each workload, by the workload's name.
        names: The names of what is there, by kind; a kind that could not be read is left out.
    """
    for by, spec in templates.items():
        for kind, name in sorted(needs(spec)):
            if kind in names and name not in names[kind]:
                yield {"kind": kind, "name": name, "by": by}


def without_pods(services: Iterable[Object], slices: Iterable[Object]) -> list[str]:
    """The names of the Services with a selector that lead to no pod that is ready."""
    leading = {
        found["metadata"].get("labels", {}).get("kubernetes.io/service-name")
        for found in slices
        for point in found.get("endpoints") or []
        if point.get("conditions", {}).get("ready") is not False
    }
    return [
        found["metadata"]["name"]
        for found in services
        if found["spec"].get("selector")
        and found["spec"].get("clusterIP") != "None"
        and found["metadata"]["name"] not in leading
    ]
