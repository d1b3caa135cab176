"""The wait for a Job, on objects as the API server returns them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from stack import jobs
from stack.jobs import JobWait

Object = dict[str, Any]
State = tuple[list[Object], list[Object], list[str]]

COMPLETE: Object = {"type": "Complete", "status": "True"}
DEADLINE: Object = {
    "type": "Failed",
    "status": "True",
    "reason": "DeadlineExceeded",
    "message": "Job was active longer than specified deadline",
}
TRIED: Object = {
    "type": "Failed",
    "status": "True",
    "reason": "BackoffLimitExceeded",
    "message": "Job has reached the specified backoff limit",
}
RUNNING: Object = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
DONE: Object = {"terminated": {"exitCode": 0, "reason": "Completed"}}
FAILED: Object = {"terminated": {"exitCode": 1, "reason": "Error"}}


def pod(state: Object, name: str = "migrate-a", created: str = "2026-01-01T00:00:00Z") -> Object:
    containers = [{"name": "migrate", "state": state}]
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": {"containerStatuses": containers}}


def waiting(reason: str, message: str = "") -> Object:
    return pod({"waiting": {"reason": reason, "message": message}})


UNSCHEDULED: Object = {
    "metadata": {"name": "migrate-a"},
    "status": {
        "conditions": [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "Unschedulable",
                "message": "0/1 nodes are available: 1 Insufficient cpu.",
            }
        ]
    },
}


class Cluster:
    """A cluster whose Job goes through steps, one for each time that it is asked for.

    Attributes:
        events: About whatever there is.
    """

    def __init__(self, *steps: Callable[[], State] | None) -> None:
        self.events: list[Object] = []
        self._steps = steps
        self._asked = 0
        self._now: State = ([], [], [])

    def job(self, name: str) -> Object | None:
        step = self._steps[min(self._asked, len(self._steps) - 1)]
        self._asked += 1
        if step is None:
            return None
        self._now = step()
        return {"kind": "Job", "metadata": {"name": name, "generation": 1}, "status": {"conditions": self._now[0]}}

    def items(self, _group: str, kind: str, _query: str = "") -> list[Object]:
        return self.events if kind == "events" else self._now[1]

    def log(self, _pod: str, _container: str, since: str) -> list[tuple[str, str]]:
        return [(f"{number:03}", line) for number, line in enumerate(self._now[2]) if f"{number:03}" > since]


def step(conditions: list[Object], pods: list[Object], *log: str) -> Callable[[], State]:
    return lambda: (conditions, pods, list(log))


def unreachable() -> State:
    raise OSError("connection refused")


@pytest.fixture
def clock() -> Iterator[int]:
    """A clock that goes on by a second for each look at it."""
    return count()


def run(
    clock: Iterator[int], *steps: Callable[[], State] | None, timeout_s: float = 300, events: list[Object] | None = None
) -> tuple[jobs.Outcome, list[str]]:
    said: list[str] = []
    cluster = Cluster(*steps)
    cluster.events = events or []
    wait = JobWait(cluster, "migrate-1", said.append, clock=lambda: float(next(clock)), sleep=lambda _: None)
    return wait.wait(timeout_s), said


def test_a_job_that_succeeds_shows_each_line_once(clock: Iterator[int]) -> None:
    outcome, said = run(
        clock,
        step([], []),
        step([], [waiting("ContainerCreating")]),
        step([], [pod(RUNNING)], "one"),
        step([], [pod(RUNNING)], "one", "two"),
        step([{"type": "SuccessCriteriaMet", "status": "True"}], [pod(DONE)], "one", "two", "three"),
        step([COMPLETE], [pod(DONE)], "one", "two", "three"),
    )
    assert outcome.succeeded
    assert said == ["one", "two", "three"]


def test_of_many_lines_the_last_are_shown() -> None:
    lines = [str(number) for number in range(9)]
    assert jobs.brief(lines) == ["(4 lines before, which -v shows)", "4", "5", "6", "7", "8"]
    assert jobs.brief(lines[:5]) == lines[:5]
    assert [len(line) for line in jobs.brief(["x" * 160, "x" * 161, "x" * 9000])] == [160, 160, 160]


def test_a_job_that_logs_nothing_says_that_it_goes_on(clock: Iterator[int]) -> None:
    outcome, said = run(clock, *[step([], [pod(RUNNING)])] * 130, step([COMPLETE], []))
    assert outcome.succeeded
    assert len(said) == 13
    assert said[0] == "Job migrate-1 runs: 10 of at most 300 s"


def test_a_job_that_fails_says_why_and_what_it_logged_last(clock: Iterator[int]) -> None:
    log = [*map(str, range(9)), "", "the last words"]
    outcome, _ = run(clock, step([], [pod(RUNNING)], *log), step([TRIED], [pod(FAILED)], *log))
    assert not outcome.succeeded
    assert outcome.message == (
        "BackoffLimitExceeded: Job has reached the specified backoff limit; container migrate: exit code 1; "
        "its log ends with: 5 | 6 | 7 | 8 | the last words"
    )


def test_a_job_whose_time_is_over_has_its_last_words_although_its_pod_is_gone(clock: Iterator[int]) -> None:
    outcome, _ = run(clock, step([], [pod(RUNNING)], "began"), step([DEADLINE], []))
    expected = "DeadlineExceeded: Job was active longer than specified deadline; its log ends with: began"
    assert outcome.message == expected


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (UNSCHEDULED, "Unschedulable: 0/1 nodes are available: 1 Insufficient cpu"),
        (waiting("ImagePullBackOff", "shop:1 not found"), "container migrate: ImagePullBackOff: shop:1 not found"),
        (waiting("InvalidImageName"), "container migrate: InvalidImageName"),
        (
            waiting("CreateContainerConfigError", 'secret "x" not found'),
            'container migrate: CreateContainerConfigError: secret "x" not found',
        ),
    ],
)
def test_a_job_that_cannot_begin_is_given_up_with_the_reason(clock: Iterator[int], found: Object, reason: str) -> None:
    outcome, said = run(clock, step([], [found]), timeout_s=3600)
    assert outcome.message == f"Job migrate-1 has not begun after 121 s; {reason}; it logged nothing"
    assert reason in said[0]


def test_a_job_whose_pods_are_refused_says_so(clock: Iterator[int]) -> None:
    refused = {"reason": "FailedCreate", "message": "exceeded quota", "involvedObject": {"name": "migrate-1"}}
    other = refused | {"message": "of another", "involvedObject": {"name": "migrate-2"}}
    outcome, said = run(clock, step([], []), timeout_s=30, events=[refused, other])
    assert said[0] == "Job migrate-1 does not run yet (exceeded quota): 10 of at most 30 s"
    assert outcome.message == "Job migrate-1 is not done after 30 s; exceeded quota; it logged nothing"


def test_an_image_that_comes_late_is_waited_for(clock: Iterator[int]) -> None:
    late = [step([], [waiting("ErrImagePull", "not found")])] * 100
    outcome, _ = run(clock, *late, *[step([], [pod(RUNNING)])] * 100, step([COMPLETE], []))
    assert outcome.succeeded


def test_an_image_that_takes_long_is_waited_for(clock: Iterator[int]) -> None:
    outcome, _ = run(clock, *[step([], [waiting("ContainerCreating")])] * 250, step([COMPLETE], []))
    assert outcome.succeeded


def test_a_second_try_is_waited_for(clock: Iterator[int]) -> None:
    first, second = pod(FAILED, "z"), pod(RUNNING, "a", "2026-01-01T00:00:09Z")
    outcome, said = run(clock, step([], [first]), *[step([], [second, first])] * 200, step([COMPLETE], [first]))
    assert outcome.succeeded
    assert said[0].startswith("Job migrate-1 runs")


def test_a_job_that_fails_twice_says_so_once(clock: Iterator[int]) -> None:
    """Each of its pods ends with the same words, in the state of its container and in its log."""
    ends = [{"terminated": {"exitCode": 1, "reason": "Error", "message": f"{word} said: no table"}} for word in "ab"]
    tries = [pod(end, name, f"2026-01-01T00:00:0{name}Z") for end, name in zip(ends, "12", strict=True)]
    log = ["line 1", "no table"]
    outcome, said = run(clock, step([], tries[:1], *log), step([], tries, *log), step([TRIED], tries, *log))
    assert said == log * 2
    assert outcome.message == (
        "BackoffLimitExceeded: Job has reached the specified backoff limit; container migrate: exit code 1, "
        "b said: no table; its log ends with: line 1 | no table"
    )


def test_a_last_try_without_a_word_has_those_of_the_one_before(clock: Iterator[int]) -> None:
    first, second = pod(FAILED, "1"), waiting("ErrImageNeverPull")
    second["metadata"]["creationTimestamp"] = "2026-01-01T00:00:09Z"
    outcome, _ = run(clock, step([], [first], "no table"), step([TRIED], [first, second], "no table"))
    assert outcome.message.endswith("container migrate: ErrImageNeverPull; its log ends with: no table")


def test_a_wait_that_takes_too_long(clock: Iterator[int]) -> None:
    outcome, _ = run(clock, step([], [pod(RUNNING)], "began"), timeout_s=30)
    assert outcome.message == "Job migrate-1 is not done after 30 s; its log ends with: began"


def test_a_job_that_somebody_deletes(clock: Iterator[int]) -> None:
    outcome, _ = run(clock, step([], [pod(RUNNING)]), None)
    assert not outcome.succeeded
    assert "somebody has deleted it" in outcome.message


def test_an_api_server_that_restarts_is_waited_for(clock: Iterator[int]) -> None:
    outcome, _ = run(clock, step([], []), *[unreachable] * 50, step([COMPLETE], []))
    assert outcome.succeeded


def test_an_api_server_that_is_gone_is_not(clock: Iterator[int]) -> None:
    with pytest.raises(OSError, match="connection refused"):
        run(clock, unreachable)
