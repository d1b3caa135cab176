"""Wait until a workload of the cluster is rolled out."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import urlencode

from stack.cluster import READ_ERRORS, reason
from stack.polling import Clock, Sleep, looks
from stack.waiting import explain, hopeless, is_ready, never_started, rollout_problem, speechless

Object = dict[str, Any]
PATHS = {"Deployment": "deployments", "StatefulSet": "statefulsets", "DaemonSet": "daemonsets"}
# How long a container waits for what does not come before the wait ends: a kubelet tries again within this time.
HOPELESS_S = 60.0
HASH = "pod-template-hash"
ASK_S = 1.0
LOOK_S = 5.0
# From when on somebody wants to know how far it is, and how often where nothing has changed.
SAY_FROM_S = 3.0
SAY_S = 10.0
LOG_LINES = 5


class Cluster(Protocol):
    """What is asked of the cluster; `stack.cluster.Cluster` has it."""

    namespace: str

    def get(self, path: str) -> str:
        """The body that a path of the API server answers with."""

    def items(self, group: str, kind: str, query: str = "") -> list[Object]:
        """All objects of a kind."""

    def delete_pod(self, name: str) -> None:
        """Delete a pod."""


class RolloutError(Exception):
    """A workload that is not rolled out, with the reason that the cluster gives."""


@dataclass
class Sight:
    """What there is of a workload."""

    pods: list[Object] = field(default_factory=list)
    # Those of the version that is to be.
    newest: list[Object] = field(default_factory=list)
    events: list[Object] = field(default_factory=list)


class Rollout:
    """One workload.

    Args:
        cluster: The cluster, with the workload's namespace.
        kind: Deployment, StatefulSet or DaemonSet.
        name: Its name.
        clock: Seconds that pass, such as `time.monotonic`.
        sleep: Waits for seconds, such as `time.sleep`.
    """

    def __init__(
        self,
        cluster: Cluster,
        kind: str,
        name: str,
        clock: Clock = time.monotonic,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._sleep = sleep
        self._kind = kind
        self._name = name
        self._subject = f"{kind} {name} is not rolled out"

    def wait(self, seconds: float, say: Callable[[str], None] = lambda _: None) -> None:
        """Wait until it is rolled out.

        A StatefulSet does not replace a pod of an earlier version that has never become ready, so one whose containers
        have never run is deleted: https://kubernetes.io/docs/concepts/workloads/controllers/statefulset/#forced-rollback

        Args:
            seconds: The longest wait.
            say: Takes a line with what it still lacks, whenever that has changed, and every ten seconds.

        Raises:
            RolloutError: It is not after this time, or a container has waited for a minute for what does not come.
        """
        looked = said_at = 0.0
        said = ""
        since: dict[tuple[str, str], float] = {}
        for now in looks(ASK_S, self._clock, self._sleep):
            try:
                workload = self._workload()
                problem = rollout_problem(workload)
                if not problem:
                    return
                if now - looked > LOOK_S:
                    looked = now
                    sight = self._look(workload)
                    self._replace(workload, sight)
                    since = {key: since.get(key, now) for key in hopeless(sight.newest, sight.events)}
            except READ_ERRORS as error:
                problem = reason(error)
            if now >= SAY_FROM_S and (problem != said or now >= said_at + SAY_S):
                said, said_at = problem, now
                say(f"{self._kind} {self._name}: {problem} ({now:.0f} of at most {seconds:.0f} s)")
            if any(now - first > HOPELESS_S for first in since.values()):
                raise RolloutError(self._message(problem, f"after {now:.0f} s, and waiting does not help"))
            if now > seconds:
                raise RolloutError(self._message(problem, f"after {seconds:.0f} s"))

    def _workload(self) -> Object:
        path = f"/apis/apps/v1/namespaces/{self._cluster.namespace}/{PATHS[self._kind]}/{self._name}"
        found: Object = json.loads(self._cluster.get(path))
        return found

    def _look(self, workload: Object) -> Sight:
        labels = workload["spec"]["selector"]["matchLabels"]
        query = _query(labelSelector=",".join(f"{key}={value}" for key, value in labels.items()))
        pods = self._cluster.items("api/v1", "pods", query)
        makers = {self._name}
        if self._kind == "Deployment":
            sets = self._sets(query)
            makers.update(found["metadata"]["name"] for found in sets)
            hashes = {_label(found, HASH) for found in sets if _revision(found) == _revision(workload)}
            newest = [pod for pod in pods if _label(pod, HASH) in hashes] if sets else pods
        elif self._kind == "StatefulSet":
            newest = [pod for pod in pods if not self._is_old(workload, pod)]
        else:
            newest = pods
        names = makers | {pod["metadata"]["name"] for pod in pods}
        events = self._cluster.items("api/v1", "events", _query(limit=1000))
        return Sight(pods, newest, [event for event in events if event["involvedObject"].get("name") in names])

    def _sets(self, query: str) -> list[Object]:
        """The ReplicaSets; none where the account may not read them, and then all pods count as the newest."""
        try:
            return self._cluster.items("apis/apps/v1", "replicasets", query)
        except READ_ERRORS:
            return []

    @staticmethod
    def _is_old(workload: Object, pod: Object) -> bool:
        return _label(pod, "controller-revision-hash") != (workload.get("status") or {}).get("updateRevision")

    def _replace(self, workload: Object, sight: Sight) -> None:
        if self._kind != "StatefulSet":
            return
        for pod in sight.pods:
            if "deletionTimestamp" not in pod["metadata"] and self._is_old(workload, pod) and never_started(pod):
                self._cluster.delete_pod(pod["metadata"]["name"])

    def _message(self, problem: str, when: str) -> str:
        try:
            workload = self._workload()
            sight = self._look(workload)
            # A pod of the version before is in the way where all others are ready.
            lines = self._lines(sight.newest, sight.events) or self._lines(sight.pods, sight.events)
        except READ_ERRORS as error:
            return f"{self._subject} {when}: {problem}. The cluster does not say more: {reason(error)}"
        labels = ",".join(f"{key}={value}" for key, value in workload["spec"]["selector"]["matchLabels"].items())
        before = [pod for pod in sight.pods if is_ready(pod) and pod not in sight.newest]
        parts = [f"{self._subject} {when}: {problem}.", *(f"{line.rstrip('.')}." for line in lines)]
        if before:
            parts.append(f"The version before it goes on serving, with {len(before)} ready pods.")
        elif not any(is_ready(pod) for pod in sight.pods):
            parts.append("Nothing of it runs yet.")
        return " ".join([*parts, f"See: kubectl -n {self._cluster.namespace} describe pods -l {labels}"])

    def _lines(self, pods: list[Object], events: list[Object]) -> list[str]:
        return explain(pods, events, self._logs(pods))

    def _logs(self, pods: list[Object]) -> dict[tuple[str, str], str]:
        found = {}
        for pod, container, previous in speechless(pods):
            query = _query(container=container, tailLines=LOG_LINES, previous=str(previous).lower())
            try:
                path = f"/api/v1/namespaces/{self._cluster.namespace}/pods/{pod}/log{query}"
                found[pod, container] = self._cluster.get(path)
            except READ_ERRORS as error:
                found[pod, container] = f"({reason(error)})"
        return found


def _query(**values: Any) -> str:
    return f"?{urlencode(values)}"


def _label(found: Object, name: str) -> str:
    return str((found["metadata"].get("labels") or {}).get(name, ""))


def _revision(found: Object) -> str:
    return str((found["metadata"].get("annotations") or {}).get("deployment.kubernetes.io/revision", ""))
