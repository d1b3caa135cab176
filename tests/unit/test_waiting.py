"""What a run says of a workload that is not rolled out, by what the API server says of its pods."""

from __future__ import annotations

from typing import Any

import pytest

from stack.waiting import explain, failure, hopeless, never_started, rollout_problem, speechless, unfinished_rollouts

Object = dict[str, Any]


def workload(kind: str, **status: Any) -> Object:
    return {
        "kind": kind,
        "metadata": {"generation": 3},
        "spec": {"replicas": 2},
        "status": {"observedGeneration": 3, **status},
    }


ROLLED_OUT = [
    workload("Deployment", replicas=2, updatedReplicas=2, readyReplicas=2, availableReplicas=2),
    workload("StatefulSet", replicas=2, readyReplicas=2, currentRevision="a", updateRevision="a"),
    workload("DaemonSet", desiredNumberScheduled=2, updatedNumberScheduled=2, numberAvailable=2, numberReady=2),
    {"kind": "Deployment", "metadata": {"generation": 3}, "spec": {"replicas": 0}, "status": {"observedGeneration": 3}},
]
UNFINISHED = [
    ({"kind": "Deployment", "metadata": {"generation": 1}, "spec": {}}, "the cluster has not looked at it yet"),
    (ROLLED_OUT[0] | {"metadata": {"generation": 4}}, "the cluster has not looked at it yet"),
    (workload("Deployment", replicas=2, updatedReplicas=1, availableReplicas=2), "1 of 2 pods are of this version"),
    (
        workload("Deployment", replicas=3, updatedReplicas=2, availableReplicas=3),
        "1 pods of an older version have not ended",
    ),
    (workload("Deployment", replicas=2, updatedReplicas=2, availableReplicas=1), "1 of 2 pods are ready"),
    (workload("Deployment"), "0 of 2 pods are of this version"),
    (
        workload(
            "StatefulSet", replicas=2, readyReplicas=2, currentRevision="a", updateRevision="b", updatedReplicas=1
        ),
        "1 of 2 pods are of this version",
    ),
    (workload("StatefulSet", replicas=2, currentRevision="a", updateRevision="a"), "0 of 2 pods are ready"),
    (
        workload("DaemonSet", desiredNumberScheduled=1, updatedNumberScheduled=1, numberUnavailable=1),
        "0 of 1 pods are ready",
    ),
]


@pytest.mark.parametrize("found", ROLLED_OUT, ids=lambda found: found["kind"])
def test_a_workload_that_is_rolled_out(found: Object) -> None:
    assert rollout_problem(found) == ""


def test_the_deployments_that_are_still_to_be_waited_for() -> None:
    objects = {
        "Deployment/a": ROLLED_OUT[0],
        "Deployment/b": workload("Deployment"),
        "Deployment/c": workload("Deployment"),
    }
    # One that a run in check mode would make is not there.
    assert unfinished_rollouts(objects, ["a", "b", "d"]) == ["b"]


@pytest.mark.parametrize(("found", "problem"), UNFINISHED)
def test_a_workload_that_is_not(found: Object, problem: str) -> None:
    assert rollout_problem(found) == problem


def test_a_kind_without_a_rollout() -> None:
    with pytest.raises(ValueError, match="CronJob"):
        rollout_problem(workload("CronJob"))


def test_a_job() -> None:
    late = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "Job was active too long"}
    done = {"type": "Complete", "status": "True"}
    job = {"kind": "Job", "metadata": {"name": "migrate", "generation": 1}, "status": {"active": 1}}
    assert rollout_problem(job) == "0 of its pods have failed"
    assert failure(job) == ""
    assert rollout_problem(job | {"status": {"conditions": [done]}}) == ""
    assert failure(job | {"status": {"conditions": [late]}}) == "DeadlineExceeded: Job was active too long"
    assert failure(job | {"status": {"conditions": [late | {"status": "False"}]}}) == ""


def pod(name: str = "shop-1", *states: Object, **status: Any) -> Object:
    """A pod with a container in each state."""
    found = [{"name": f"c{number}", "ready": False, "restartCount": 0, **state} for number, state in enumerate(states)]
    return {"metadata": {"name": name}, "status": {"phase": "Pending", "containerStatuses": found, **status}}


def waiting(reason: str, message: str = "", **more: Any) -> Object:
    return {"state": {"waiting": {"reason": reason, **({"message": message} if message else {})}}, **more}


def event(name: str, reason: str, message: str, at: str = "2026-03-01T18:00:00Z") -> Object:
    return {"involvedObject": {"name": name}, "reason": reason, "message": message, "lastTimestamp": at}


READY = {
    "phase": "Running",
    "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
}
UNSCHEDULED = {
    "conditions": [
        {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": "0/1 nodes are available: 1 Insufficient memory. no new claims to deallocate.",
        }
    ]
}
ABSENT = (
    'Back-off pulling image "flask-postgres-app:none": ErrImagePull: rpc error: code = NotFound desc = failed to pull '
    'and unpack image "docker.io/library/flask-postgres-app:none": docker.io/library/flask-postgres-app:none: not found'
)
SILENT = 'Back-off pulling image "shop:1": ErrImagePull: dial tcp: lookup registry-1.docker.io: no such host'
SECRET = 'secret "pgadmin-db" not found'
OOM = {"exitCode": 137, "reason": "OOMKilled"}
CRASHED = {"exitCode": 1, "reason": "Error"}
RUNNING = {"running": {"startedAt": "2026-03-01T18:00:00Z"}}

REASONS: list[tuple[str, Object, list[Object], str]] = [
    ("an image that is not there", pod("shop-1", waiting("ImagePullBackOff", ABSENT)), [], ": not found"),
    ("a registry that does not answer", pod("shop-1", waiting("ErrImagePull", SILENT)), [], "no such host"),
    ("an image that is never pulled", pod("shop-1", waiting("ErrImageNeverPull", "not present")), [], "not present"),
    (
        "a name that is none",
        pod("shop-1", waiting("InvalidImageName", "couldn't parse")),
        [],
        "InvalidImageName: couldn't",
    ),
    ("a Secret that is not there", pod("shop-1", waiting("CreateContainerConfigError", SECRET)), [], SECRET),
    (
        "a crash",
        pod("shop-1", waiting("CrashLoopBackOff", "back-off", restartCount=4, lastState={"terminated": CRASHED})),
        [],
        "container c0: CrashLoopBackOff: exit code 1, 4 restarts; it said: Error: no such table",
    ),
    (
        "too little memory",
        pod("shop-1", waiting("CrashLoopBackOff", restartCount=2, lastState={"terminated": OOM})),
        [],
        "exit code 137 (OOMKilled), 2 restarts",
    ),
    (
        "a pod of a Job that failed",
        pod("shop-1", {"state": {"terminated": CRASHED}}),
        [],
        "exit code 1; it said: Error",
    ),
    (
        "no node with room",
        pod("shop-1", **UNSCHEDULED),
        [],
        "Unschedulable: 0/1 nodes are available: 1 Insufficient memory",
    ),
    ("an eviction", pod("shop-1", phase="Failed", reason="Evicted", message="low on disk"), [], "Evicted: low on disk"),
    (
        "a volume that cannot be mounted",
        pod("shop-1", waiting("ContainerCreating")),
        [event("shop-1", "FailedMount", 'MountVolume.SetUp failed for volume "ca" : configmap "ca" not found')],
        'FailedMount: MountVolume.SetUp failed for volume "ca" : configmap "ca" not found',
    ),
    (
        "the last of several events",
        pod("shop-1", waiting("PodInitializing")),
        [
            event("shop-1", "FailedCreatePodSandBox", "no network", "2026-03-01T18:02:00Z"),
            event("shop-1", "FailedMount", "no volume", "2026-03-01T18:01:00Z"),
        ],
        "FailedCreatePodSandBox: no network",
    ),
    (
        "a probe that fails",
        pod("shop-1", {"state": RUNNING}),
        [event("shop-1", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503")],
        "Readiness probe failed: HTTP probe failed with statuscode: 503; it said: Error: no such table",
    ),
    ("no answer, and no event", pod("shop-1", {"state": RUNNING}), [], "it runs and is not ready; it said: Error"),
    (
        "an init container",
        {
            "metadata": {"name": "shop-1"},
            "status": {
                "phase": "Pending",
                "initContainerStatuses": [{"name": "prepare", **waiting("CreateContainerConfigError", SECRET)}],
                "containerStatuses": [{"name": "c0", **waiting("PodInitializing")}],
            },
        },
        [],
        f"container prepare: CreateContainerConfigError: {SECRET}",
    ),
    ("nothing at all", pod("shop-1"), [], "it is pending, and nothing says why"),
]


@pytest.mark.parametrize(("found", "events", "text"), [case[1:] for case in REASONS], ids=[case[0] for case in REASONS])
def test_a_reason_is_told(found: Object, events: list[Object], text: str) -> None:
    logs = {("shop-1", name): "Error: no such table\n" for _, name, _ in speechless([found])}
    (line,) = explain([found], events, logs)
    assert line.startswith("shop-1: ")
    assert text in line
    assert "\n" not in line


def test_pods_with_the_same_reason_are_one_line() -> None:
    pods = [pod(f"shop-{number}", waiting("ImagePullBackOff", ABSENT)) for number in range(3)]
    (line,) = explain([*pods, pod("shop-9", **READY)])
    assert line.startswith("shop-0 and 2 more: container c0: ImagePullBackOff")


def test_a_pod_that_ends_is_told() -> None:
    found = pod("shop-1", **READY)
    found["metadata"]["deletionTimestamp"] = "2026-03-01T18:00:00Z"
    assert explain([found]) == ["shop-1: it is ending since 2026-03-01T18:00:00Z"]


def test_what_is_ready_or_done_is_no_reason() -> None:
    assert explain([pod("a", **READY), pod("b", phase="Succeeded")], [event("a", "Unhealthy", "once")]) == []


def test_pods_that_are_not_made_are_told() -> None:
    quota = 'pods "shop-2" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1'
    events = [event("shop-6c9f", "FailedCreate", quota), event("shop-6c9f", "SuccessfulCreate", "Created pod: shop-1")]
    assert explain([], events) == [f"shop-6c9f: {quota}"]
    assert explain([pod("shop-1", **READY)], events) == []


def test_a_long_message_keeps_both_ends() -> None:
    (line,) = explain([pod("shop-1", waiting("ErrImagePull", "begin " + "x" * 5000 + " end"))])
    assert "ErrImagePull: begin" in line
    assert line.endswith(" end")
    assert len(line) < 400


def test_waiting_is_hopeless_only_for_what_does_not_come() -> None:
    assert hopeless([pod("a", waiting("CreateContainerConfigError", SECRET), {"state": RUNNING})]) == {("a", "c0")}
    assert hopeless([pod("a", waiting("ImagePullBackOff", ABSENT))]) == {("a", "c0")}
    # Kubelets before 1.32 tell the reason in an event alone.
    short = pod("a", waiting("ImagePullBackOff", 'Back-off pulling image "shop:1"'))
    assert hopeless([short], [event("a", "Failed", "Failed to pull image: not found")]) == {("a", "c0")}
    assert hopeless([short], [event("b", "Failed", "Failed to pull image: not found")]) == set()
    for state in (
        waiting("ErrImagePull", SILENT),
        waiting("CrashLoopBackOff"),
        waiting("ContainerCreating"),
        {"state": RUNNING},
    ):
        assert hopeless([pod("a", state)]) == set()


def test_a_pod_that_has_run_is_no_pod_that_never_started() -> None:
    assert never_started(pod("a", waiting("ImagePullBackOff", SILENT)))
    assert never_started(pod("a", waiting("CreateContainerConfigError", SECRET), waiting("ContainerCreating")))
    assert not never_started(pod("a", waiting("ImagePullBackOff", SILENT), {"state": RUNNING}))
    assert not never_started(pod("a", waiting("ImagePullBackOff", SILENT, lastState={"terminated": CRASHED})))
    assert not never_started(pod("a", waiting("ContainerCreating")))
    assert not never_started(pod("a"))


def test_logs_are_asked_where_they_tell_more() -> None:
    pods = [
        pod("a", waiting("CrashLoopBackOff", lastState={"terminated": CRASHED}), waiting("ImagePullBackOff", ABSENT)),
        pod("b", {"state": RUNNING}, {"state": {"terminated": CRASHED}}, {"state": RUNNING, "ready": True}),
        pod("c", {"state": RUNNING}, **READY),
    ]
    assert speechless(pods) == [("a", "c0", True), ("b", "c0", False), ("b", "c1", False)]
