"""Whether a workload is rolled out, and in words of Kubernetes why it is not.

Objects are as the API server answers with them. Nothing here asks it; `stack.rollout` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Object = dict[str, Any]
# What a container said last, by the pod's and the container's name.
Logs = Mapping[tuple[str, str], str]

# Reasons that tell less than the events: the kubelet gives them before it has tried anything.
STARTING = ("ContainerCreating", "PodInitializing")
# What time alone does not mend: a Secret that is not there, a name that is none.
HOPELESS = ("CreateContainerConfigError", "ErrImageNeverPull", "InvalidImageName")
# An image that cannot be had, https://kubernetes.io/docs/concepts/containers/images/, and what a registry says of one
# that will never come. A registry that does not answer may do so in a while.
PULLING = ("ErrImagePull", "ImagePullBackOff")
ABSENT = re.compile(
    r"(?i)not found|does not exist|denied|unauthorized|forbidden|manifest unknown|no match for platform"
)
# Events that stand for a pod that is not there, or cannot start.
TELLING = ("FailedCreate", "FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox", "FailedScheduling")
LONGEST = 300


def rollout_problem(workload: Object) -> str:
    """What a Deployment, StatefulSet, DaemonSet or Job still lacks of its specification; empty once it is rolled out.

    A Job is once it is complete. Of the others these are the conditions of ``kubectl rollout status``, and pods of an
    older version must have ended.

    Raises:
        ValueError: It is of another kind.
    """
    spec, status = workload.get("spec") or {}, workload.get("status") or {}
    kind = workload["kind"]
    # A Job has a generation, and its status tells of none.
    if kind == "Job":
        return "" if _condition(workload, "Complete") else f"{status.get('failed', 0)} of its pods have failed"
    if status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0):
        return "the cluster has not looked at it yet"
    if kind == "DaemonSet":
        wanted = there = status.get("desiredNumberScheduled", 0)
        updated, ready = status.get("updatedNumberScheduled", 0), status.get("numberAvailable", 0)
    elif kind in ("Deployment", "StatefulSet"):
        wanted = 1 if spec.get("replicas") is None else spec["replicas"]
        there, updated = status.get("replicas", 0), status.get("updatedReplicas", 0)
        ready = status.get("availableReplicas" if kind == "Deployment" else "readyReplicas", 0)
        if kind == "StatefulSet" and status.get("currentRevision") == status.get("updateRevision"):
            # Those that an update has changed, of which there is none.
            updated = there
    else:
        raise ValueError(f"a {kind} has no rollout")
    if updated < wanted:
        return f"{updated} of {wanted} pods are of this version"
    if there > wanted:
        return f"{there - wanted} pods of an older version have not ended"
    if ready < wanted:
        return f"{ready} of {wanted} pods are ready"
    return ""


def unfinished_rollouts(objects: Mapping[str, Object], names: Iterable[str]) -> list[str]:
    """The Deployments that are not rolled out, of those that are there.

    Args:
        objects: Objects by ``Kind/name``.
        names: The names of the Deployments.
    """
    found = {name: objects[key] for name in names if (key := f"Deployment/{name}") in objects}
    return [name for name, workload in found.items() if rollout_problem(workload)]


def _condition(found: Object, kind: str) -> Object:
    """A condition that holds; nothing where it does not."""
    conditions = (found.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == kind and each["status"] == "True"), {})


def failure(workload: Object) -> str:
    """Why it has failed for good, as a Job can; empty where it has not."""
    found = _condition(workload, "Failed") if workload["kind"] == "Job" else {}
    return _join(found.get("reason", ""), found.get("message", ""))


def is_ready(pod: Object) -> bool:
    """Whether a pod takes requests, or has done what it was there for."""
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return False
    return status.get("phase") == "Succeeded" or bool(_condition(pod, "Ready"))


def containers(pod: Object) -> list[Object]:
    """The states of a pod's containers, those that initialize it first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _waiting(container: Object) -> tuple[str, str]:
    """The reason and the message of a container that waits."""
    waiting = (container.get("state") or {}).get("waiting") or {}
    return waiting.get("reason", ""), waiting.get("message", "")


def hopeless(pods: Iterable[Object], events: Iterable[Object] = ()) -> set[tuple[str, str]]:
    """The containers, by pod and name, that wait for something that does not come by waiting."""
    failed = [event for event in events if event.get("reason") == "Failed"]
    found = set()
    for pod in pods:
        name = pod["metadata"]["name"]
        told = " ".join(event.get("message", "") for event in failed if event["involvedObject"].get("name") == name)
        for container in containers(pod):
            reason, message = _waiting(container)
            if reason in HOPELESS or (reason in PULLING and ABSENT.search(f"{message} {told}")):
                found.add((name, container["name"]))
    return found


def never_started(pod: Object) -> bool:
    """Whether a pod hangs at its start and no container of it has ever run, so that nothing is lost with it."""
    states = containers(pod)
    return any(_waiting(state)[0] in (*HOPELESS, *PULLING) for state in states) and all(
        not {"running", "terminated"} & (state.get("state") or {}).keys() and not state.get("lastState")
        for state in states
    )


def speechless(pods: Iterable[Object]) -> list[tuple[str, str, bool]]:
    """The containers whose log tells more than their state: pod, name, and whether it is the log of the run before."""
    found = []
    for pod in pods:
        if is_ready(pod):
            continue
        for container in containers(pod):
            state = container.get("state") or {}
            crashed = _waiting(container)[0] == "CrashLoopBackOff"
            failed = bool(state.get("terminated", {}).get("exitCode"))
            unready = "running" in state and not container.get("ready")
            if crashed or failed or unready:
                found.append((pod["metadata"]["name"], container["name"], crashed))
    return found


def explain(pods: Iterable[Object], events: Iterable[Object] = (), logs: Logs | None = None) -> list[str]:
    """Why pods are not ready, a line for each reason.

    Args:
        pods: The pods of a workload. With none, only events can say why.
        events: Events about the pods and whatever makes them (ReplicaSet, StatefulSet, Job), in any order.
        logs: The last lines of the containers that `speechless` has named.
    """
    pods = list(pods)
    about: dict[str, list[Object]] = {}
    for event in sorted(events, key=lambda event: str(event.get("lastTimestamp") or event.get("eventTime") or "")):
        about.setdefault((event.get("involvedObject") or {}).get("name", ""), []).append(event)
    reasons: dict[str, list[str]] = {}
    for pod in pods:
        if not is_ready(pod):
            name = pod["metadata"]["name"]
            for reason in _pod_reasons(pod, about.pop(name, []), logs or {}):
                reasons.setdefault(reason, []).append(name)
    lines = [f"{_names(names)}: {reason}" for reason, names in reasons.items()]
    for maker, found in about.items():
        # Only where pods are missing: one that was refused earlier may be there by now.
        refused = [event for event in found if event.get("reason") == "FailedCreate"]
        if refused and (not pods or lines):
            lines.append(f"{maker}: {_shorten(refused[-1].get('message', ''))}")
    return lines


def _pod_reasons(pod: Object, events: list[Object], logs: Logs) -> list[str]:
    name, status = pod["metadata"]["name"], pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return [f"it is ending since {pod['metadata']['deletionTimestamp']}"]
    if status.get("reason") and status.get("phase") == "Failed":
        return [_join(status["reason"], status.get("message", ""))]
    found = [
        _join(condition.get("reason", ""), condition.get("message", ""))
        for condition in status.get("conditions") or []
        if condition["type"] == "PodScheduled" and condition["status"] != "True"
    ]
    for container in containers(pod):
        reason = _container_reason(container, events)
        if reason:
            said = " ".join(logs.get((name, container["name"]), "").split())[-LONGEST:]
            found.append(f"container {container['name']}: {reason}{f'; it said: {said}' if said else ''}")
    if not found:
        told = [event for event in events if event.get("reason") in TELLING]
        found = [_join(told[-1]["reason"], told[-1].get("message", ""))] if told else []
    return found or [f"it is {status.get('phase', 'Pending').lower()}, and nothing says why it is not ready"]


def _container_reason(container: Object, events: list[Object]) -> str:
    """What is wrong with a container; empty where nothing is, or others of the pod have to tell."""
    state = container.get("state") or {}
    reason, message = _waiting(container)
    last = (container.get("lastState") or {}).get("terminated") or {}
    if reason == "CrashLoopBackOff" and last:
        return f"CrashLoopBackOff: {_end(last)}, {container.get('restartCount', 0)} restarts"
    if reason and reason not in STARTING:
        return _join(reason, message)
    if state.get("terminated", {}).get("exitCode"):
        return _end(state["terminated"])
    if "running" in state and not container.get("ready"):
        probes = [event for event in events if event.get("reason") == "Unhealthy"]
        probe = _shorten(probes[-1].get("message", "")) if probes else "it runs and is not ready"
        return f"{probe}{', after ' + _end(last) if last else ''}"
    return ""


def _end(terminated: Object) -> str:
    """How a container has ended."""
    reason = terminated.get("reason") or "Error"
    end = f"exit code {terminated.get('exitCode')}" + (f" ({reason})" if reason != "Error" else "")
    message = terminated.get("message", "").strip()
    return f"{end}, {_shorten(message)}" if message else end


def _join(reason: str, message: str) -> str:
    return _shorten(f"{reason}: {message}" if reason and message else reason or message)


def _shorten(text: str) -> str:
    """One line, without its middle where it is a long one."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"


def _names(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
