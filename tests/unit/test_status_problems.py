# ruff: noqa: E501 - a line for each case
"""What is wrong with a state, each with the next command; on plain values as stack_state reads them."""

from __future__ import annotations

import copy
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from stack.status.problems import judged
from stack.status.screen import screen

LIMITS = {
    "certificate_days": 14,
    "volume_percent": 85,
    "lag_mb": 16,
    "backup_hours": 26,
    "restore_test_days": 8,
    "error_percent": 1,
    "connections_percent": 90,
    "restart_minutes": 60,
}
WANTED = ["deployment/flask-app", "deployment/pgadmin", "statefulset/postgres"]
NOW = "2026-03-01T12:00:00+00:00"


def workload(name: str, count: int) -> dict[str, Any]:
    app = name.partition("/")[2]
    return {
        "name": name, "selector": f"app={app}", "wanted": count, "ready": count, "updated": count, "images": ["image:1"],
        "restarts": 0, "pods": [f"{app}-{number}" for number in range(count)], "paused": False, "refused": None,
    }  # fmt: skip


def pod(name: str, **values: Any) -> dict[str, Any]:
    return {
        "name": name, "app": name.rpartition("-")[0], "created": "2026-03-01T08:00:00Z", "phase": "Running",
        "leaving": False, "leaving_since": None, "job": None, "node": "one", "bound": False, "ready": True, "reason": "",
        "looping": False, "restarts": 0, "last_restart": None, "last_restart_reason": None, **values,
    }  # fmt: skip


def job(name: str, hour: int, **values: Any) -> dict[str, Any]:
    return {
        "name": name, "app": "postgres-backup-job", "cronjob": name.rpartition("-")[0],
        "created": f"2026-03-01T{hour:02}:00:00Z", "complete": False, "failed": None, "failed_pods": 0, **values,
    }  # fmt: skip


def answer(url: str, part: str, **values: Any) -> dict[str, Any]:
    return {
        "url": url, "part": part, "status": 200, "ms": 12.0, "wrong": "", "unasked": "", "failure": "",
        "issuer_unknown": False, **values,
    }  # fmt: skip


@pytest.fixture
def state() -> dict[str, Any]:
    """A stack that is well."""
    workloads = [
        workload("deployment/flask-app", 2),
        workload("deployment/pgadmin", 1),
        workload("statefulset/postgres", 2),
    ]
    return {
        "namespace": "shop",
        "context": "minikube",
        "time": NOW,
        "clock_seconds_ahead": 0.4,
        "kubernetes": "v1.34.4",
        "front_door": {
            "address": "192.0.2.7",
            "port": 443,
            "routes": "ingresses",
            "answers": [
                answer("https://app.example.com/readyz", "app"),
                answer("https://pgadmin.example.com/login", "pgadmin"),
            ],
        },
        "workloads": workloads,
        "pods": [pod(name) for found in workloads for name in found["pods"]],
        "jobs": [],
        "cronjobs": [{"name": "postgres-backup-full", "suspended": False}],
        "autoscalers": [],
        "nodes": [{"name": "one", "ready": True, "cordoned": False, "pressure": []}],
        "images": {"since": {"image:1": "2026-02-01T00:00:00Z"}, "asked": "2026-02-20T10:00:00+00:00"},
        "budgets": [{"name": "postgres", "pods": 2, "ready": 2, "may_move": 1}],
        "missing": [],
        "services_without_pods": [],
        "database": {
            "postgresql": "17.6",
            "patroni": "4.1.0",
            "synchronous": True,
            "paused": False,
            "members": [
                {
                    "name": "postgres-0", "role": "primary", "synchronous": False, "state": "running", "timeline": 1,
                    "lag_bytes": None, "restart_pending": False, "tags": [],
                },
                {
                    "name": "postgres-1", "role": "replica", "synchronous": True, "state": "streaming", "timeline": 1,
                    "lag_bytes": 0, "restart_pending": False, "tags": [],
                },
            ],
            "primary": {
                "archiving": True, "connections": 12, "connections_limit": 97, "damaged_pages": 0, "recovering": False,
                "oldest_transaction": 900, "read_only": [],
            },
        },
        "collations": [
            {"database": name, "recorded": "2.41", "actual": "2.41", "collations": 0, "collations_used": 0}
            for name in ("postgres", "app", "template1")
        ],
        "connections": {"pgadmin": "", "flask-app": ""},
        "certificates": [
            {
                "secret": "tls-secret", "names": ["app.example.com"], "begins": "2026-02-01T00:00:00+00:00",
                "ends": "2027-02-01T00:00:00+00:00", "days": 336, "own": True,
            }
        ],
        "backups": {
            "status": "ok", "ok": True, "count": 3, "restored": None, "archiving": True,
            "last": {"label": "F", "type": "full", "time": "2026-03-01T02:00:00+00:00", "bytes": 1, "damaged": False},
        },
        "restore_test": {
            "since": "2026-01-01T00:00:00Z",
            "last": {
                "ok": True, "reason": "", "backup": "F", "ended": "2026-02-26T03:31:00+00:00",
                "succeeded": "2026-02-26T03:31:00+00:00", "rows": 1234, "newest_seconds": 31.0, "restore_seconds": 14.2,
            },
        },
        "alerts": [],
        "delivery": None,
        "volumes": [
            {
                "claim": "data-postgres-0", "phase": "Bound", "size": "1Gi", "filesystem_bytes": 100, "used_bytes": 20,
                "fill": 0.2, "mounted_by": "postgres-0",
            },
            {
                "claim": "pgadmin-data", "phase": "Bound", "size": "1Gi", "filesystem_bytes": 100, "used_bytes": 20,
                "fill": 0.2, "mounted_by": "pgadmin-0",
            },
        ],
        "requests": {
            "total": 100, "errors": 0, "error_share": 0.0, "seconds": 1.0, "per_second": 1.0, "errors_now": 0,
        },
        "unread": {},
    }  # fmt: skip


def judge(state: dict[str, Any]) -> dict[str, Any]:
    return judged(state, LIMITS, "make deploy", WANTED)


def test_a_stack_that_is_well(state: dict[str, Any]) -> None:
    found = judge(state)
    assert found["problems"] == []
    assert (found["verdict"], found["healthy"]) == ("well", True)


def put(*path: Any, **values: Any) -> Callable[[dict[str, Any]], None]:
    """A change of the values at a path."""

    def change(state: Any) -> None:
        for key in path:
            state = state[key]
        state.update(values)

    return change


def add(key: str, item: Any) -> Callable[[dict[str, Any]], None]:
    return lambda state: state[key].append(item)


MINUTES_AGO = "2026-03-01T11:30:00Z"
FAILED = job("postgres-backup-full-1", 2, failed="DeadlineExceeded")
URGENT = [
    # What users meet.
    (put("front_door", "answers", 0, status=503, wrong="it answers 503 (no available server)"), "users get no answer of https://app.example.com/readyz at 192.0.2.7: it answers 503 (no available server)"),
    (put("front_door", "answers", 1, status=None, wrong="connection refused", failure="refused"), "users get no answer of https://pgadmin.example.com/login at 192.0.2.7: connection refused"),
    (put("front_door", "answers", 1, status=404, wrong="it answers 404"), "users get no answer of https://pgadmin.example.com/login at 192.0.2.7: it answers 404"),
    # What runs.
    (lambda state: state["workloads"].pop(0), "there is no deployment/flask-app"),
    (lambda state: state["workloads"].pop(1), "there is no deployment/pgadmin"),
    (put("workloads", 1, wanted=0, ready=0), "deployment/pgadmin is scaled to 0"),
    (put("workloads", 0, ready=1), "deployment/flask-app: 1 of 2 pods are ready"),
    (put(services_without_pods=["postgres"]), "service postgres leads to none of the pods that are ready"),
    (put(missing=[{"kind": "Secret", "name": "flask-app-db", "by": "deployment/flask-app"}]), "Secret flask-app-db is missing: no new pod of deployment/flask-app starts without it"),
    (put("nodes", 0, ready=False), "node one is not ready, and so are its pods: flask-app-0, flask-app-1, pgadmin-0, postgres-0, postgres-1"),
    (put("nodes", 0, pressure=["DiskPressure"]), "node one has DiskPressure: its pods may be ended"),
    (add("pods", pod("left-1", phase="Failed", ready=False, reason="Evicted")), "pod left-1 has failed: Evicted"),
    (put("cronjobs", 0, suspended=True), "cronjob postgres-backup-full is suspended: it starts nothing"),
    (put(jobs=[FAILED]), "job postgres-backup-full-1 has failed (DeadlineExceeded), and none after it has not"),
    # An incremental backup is not verified as a full one is.
    (put(jobs=[FAILED, job("postgres-backup-incr-1", 3, complete=True)]), "job postgres-backup-full-1 has failed (DeadlineExceeded), and none after it has not"),
    # That of a service, whose others have done other work.
    (put(jobs=[job("flask-app-cron-incr-1", 2, failed="BackoffLimitExceeded", app="flask-app-cronjob"), job("flask-app-cron-a-1", 3, complete=True, app="flask-app-cronjob")]), "job flask-app-cron-incr-1 has failed (BackoffLimitExceeded), and none after it has not"),
    # The database.
    (put("database", "members", 0, role="replica", state="streaming"), "the database has no primary: nothing can be written"),
    (put("database", "members", 1, state="starting"), "replica postgres-1 is starting"),
    (put("database", "members", 1, lag_bytes=17_000_000), "replica postgres-1 is 17 MB behind"),
    (put("database", "members", 1, synchronous=False), "no replica is synchronous: a failover would lose what is written"),
    (lambda state: state["database"]["members"].pop(), "Patroni knows 1 of 2 instances that are ready"),
    (put("database", paused=True), "Patroni is paused: no failover would happen"),
    (put(database=None), "no instance of the database answers"),
    (put("database", "primary", connections=97), "97 of 97 connections of the database are in use"),
    (put("database", "primary", damaged_pages=2), "the database has met 2 damaged pages"),
    (put("database", "primary", recovering=True), "the pod that has the label of the primary is a replica: nothing can be written"),
    (put("database", "primary", read_only=["database app"]), "default_transaction_read_only is on for database app: nothing can be written"),
    (put("database", "primary", oldest_transaction=1_900_000_000), "the oldest transaction is 1900 million ago, and at 2,147 million nothing can be written"),
    (put("connections", pgadmin="FATAL: password authentication failed"), "pgAdmin gets no new connection to the database: FATAL: password authentication failed"),
    (put("connections", **{"flask-app": "FATAL: no pg_hba.conf entry"}), "the service gets no new connection to the database: FATAL: no pg_hba.conf entry"),
    (put("collations", 1, recorded="2.31"), "database app is sorted by collation version 2.31, and the system has 2.41"),
    (put("collations", 2, recorded="2.31"), "database template1 is sorted by collation version 2.31, and the system has 2.41"),
    (put("collations", 1, collations=3, collations_used=1), "3 collations in database app are of another version than the system's"),
    (put("collations", 1, collations=1, collations_used=1), "1 collation in database app is of another version than the system's"),
    # The rest.
    (put("requests", errors_now=1), "1 of the last 1 requests ended with an error"),
    (put("volumes", 0, phase="Lost"), "volume data-postgres-0 is Lost"),
    (put("volumes", 0, fill=0.9), "the disk of volume data-postgres-0 is 90% full"),
    (put("certificates", 0, begins="2026-03-01T12:10:00+00:00"), "the certificate in tls-secret is not valid yet: it begins in 10 min"),
    (put("certificates", 0, days=-1, ends="2026-02-28T00:00:00+00:00"), "the certificate in tls-secret ended on 2026-02-28"),
    (put("certificates", 0, days=13), "the certificate in tls-secret ends in 13 days"),
    (put("certificates", 0, days=None, begins=None), "the certificate in tls-secret cannot be read"),
    (put("backups", last=None), "there is no backup yet"),
    (put("backups", ok=False, status="missing stanza path"), "the repository of backups is not well: missing stanza path"),
    (put("backups", "last", time="2026-02-27T12:00:00+00:00"), "the last backup is 48 h old"),
    (put("backups", "last", damaged=True), "the last backup, F, has damaged pages"),
    (put("backups", archiving=False), "WAL does not reach the repository of backups"),
    (put("restore_test", "last", ok=False, reason="pg_amcheck: index is broken"), "the last backup could not be restored: pg_amcheck: index is broken"),
    (put(alerts=[{"name": "NoPrimary", "severity": "critical", "since": "2026-03-01T11:00:00Z", "summary": "none", "command": None}]), "alert NoPrimary since 11:00 UTC: none"),
]  # fmt: skip
NOTICES = [
    (lambda state: (state["workloads"].pop(1), state["volumes"].pop(1)), "deployment/pgadmin was not deployed"),
    (put("workloads", 0, updated=1), "deployment/flask-app is being rolled out"),
    (put("workloads", 0, paused=True), "deployment/flask-app is paused: no change is rolled out"),
    (put("budgets", 0, ready=1, may_move=0), "1 of 2 pods of postgres are ready, and none of these may be moved: a drain of their nodes waits until the others are back"),
    (put("nodes", 0, cordoned=True), "node one is cordoned: no pod starts on it"),
    (add("nodes", {"name": "unused", "ready": False, "cordoned": False, "pressure": []}), "node unused is not ready"),
    (put("pods", 0, last_restart=MINUTES_AGO, last_restart_reason="OOMKilled"), "pod flask-app-0 restarted 30 min ago (OOMKilled)"),
    (put("pods", 0, leaving=True, leaving_since=MINUTES_AGO), "pod flask-app-0 should have ended 30 min ago"),
    (put(jobs=[FAILED, job("postgres-backup-full-2", 3, complete=True)]), "job postgres-backup-full-1 has failed (DeadlineExceeded); one after it has not"),
    (put(jobs=[job("postgres-backup-incr-1", 2, failed="BackoffLimitExceeded"), job("postgres-backup-full-1", 3, complete=True)]), "job postgres-backup-incr-1 has failed (BackoffLimitExceeded); one after it has not"),
    (put(jobs=[job("postgres-backup-incr-1", 2, failed_pods=1)]), "job postgres-backup-incr-1 goes on after 1 failed pods"),
    (put(autoscalers=[{"name": "flask-app", "most": 5, "wanted": 5, "limited": True, "blind": None}]), "flask-app has all 5 pods that it may have, and would take more"),
    (put(autoscalers=[{"name": "flask-app", "most": 5, "wanted": 2, "limited": False, "blind": "no metrics"}]), "the autoscaler of flask-app cannot tell how many pods it takes: no metrics"),
    (put("database", "members", 1, restart_pending=True), "postgres-1 has settings that wait for a restart"),
    (put("database", "members", 1, tags=["nofailover"]), "postgres-1 has the tag nofailover: it cannot stand in for the primary"),
    (put("collations", 1, recorded="2.31", actual=None), "database app has noted collation version 2.31, and its collation has none"),
    (put("collations", 1, collations=3), "3 collations in database app are of another version than the system's"),
    (put("restore_test", "last", succeeded="2026-02-20T03:31:00+00:00"), "for 9 days no restore was tested"),
    (put("restore_test", last=None), "for 60 days no restore was tested"),
    (put("requests", error_share=0.02), "2.0% of all requests since the pods' start ended with an error, none of the last"),
    (put("front_door", "answers", 0, issuer_unknown=True), "app.example.com shows the certificate in tls-secret, whose issuer this machine does not trust"),
    (put(clock_seconds_ahead=600.0), "the clock of this machine is 10 min ahead of the cluster's: what it dates is wrong by that much"),
    (put(clock_seconds_ahead=-7200.0), "the clock of this machine is 2 h behind the cluster's: what it dates is wrong by that much"),
]  # fmt: skip
UNSEEN = [
    (put("front_door", "answers", 0, unasked="no connection within 5 s"), "https://app.example.com/readyz at 192.0.2.7 could not be asked: no connection within 5 s"),
    (put(unread={"alerts": "Prometheus does not run"}), "alerts could not be read: Prometheus does not run"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "what", "verdict"),
    [
        *((change, what, "wrong") for change, what in URGENT),
        *((change, what, "well") for change, what in NOTICES),
        *((change, what, "unseen") for change, what in UNSEEN),
    ],
)
def test_one_line_for_what_is_wrong(
    state: dict[str, Any], change: Callable[[dict[str, Any]], None], what: str, verdict: str
) -> None:
    change(state)
    found = judge(state)
    [said] = found["problems"]
    assert said["what"] == what
    assert said["urgent"] == (verdict == "wrong")
    assert (found["verdict"], found["healthy"]) == (verdict, verdict == "well")
    # A shell takes it as one command.
    program = shlex.split(said["command"])[0]
    assert program in ("kubectl", "make", "curl", "date")


@pytest.mark.parametrize(
    "change",
    [
        put(front_door=None),
        put("front_door", answers=[]),
        put(front_door=None, unread={"front door": "403 forbidden"}),
    ],
)
def test_nothing_is_well_that_nobody_has_asked(state: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    change(state)
    assert judge(state)["verdict"] == "unseen"


@pytest.mark.parametrize(
    "change",
    [
        # A replica need not be synchronous where none is wanted, and a service without metrics counts no requests.
        put("database", synchronous=False),
        put(requests=None),
        put(alerts=None),
        put(backups=None),
        put(restore_test=None),
        put("restore_test", last=None, since="2026-02-26T00:00:00Z"),
        put(collations=None),
        put("connections", **{"flask-app": None}),
        put("database", "primary", connections=87, connections_limit=97),
        put("pods", 0, last_restart="2026-03-01T10:30:00Z", last_restart_reason="Error"),
        put("pods", 0, leaving=True, leaving_since="2026-03-01T11:59:00Z"),
        put("collations", 0, recorded=None),
        put(clock_seconds_ahead=None),
        # Nobody depends on it.
        put(services_without_pods=["postgres-ro"]),
        put("certificates", 0, begins="2026-03-01T11:59:00+00:00"),
        put(jobs=[job("postgres-backup-incr-1", 2, complete=True, failed_pods=1)]),
    ],
)
def test_what_is_no_problem(state: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    change(state)
    assert judge(state)["problems"] == []


def test_full_connections_are_one_line(state: dict[str, Any]) -> None:
    state["database"]["primary"]["connections"] = 97
    state["connections"] = dict.fromkeys(
        state["connections"], "FATAL: remaining connection slots are reserved for roles"
    )
    [said] = judge(state)["problems"]
    assert said["what"] == "97 of 97 connections of the database are in use"


def test_urgent_lines_come_first(state: dict[str, Any]) -> None:
    before = copy.deepcopy(state)
    put("workloads", 0, paused=True)(state)
    put("backups", archiving=False)(state)
    assert [found["urgent"] for found in judge(state)["problems"]] == [True, False]
    assert judge(before)["healthy"]


@pytest.mark.parametrize(
    "change", [lambda _: None, *(change for change, _ in [*URGENT, *NOTICES, *UNSEEN]), put(front_door=None)]
)
def test_one_screen(state: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    change(state)
    found = judge(state)
    lines = screen(found).splitlines()
    assert len(lines) < 50
    assert ("All is well." in lines) == found["healthy"]
    for said in found["problems"]:
        mark = "!" if said["urgent"] else "-"
        assert lines[lines.index(f"{mark} {said['what']}") + 1] == f"    {said['command']}"


def test_what_users_meet_is_what_is_seen_first(state: dict[str, Any]) -> None:
    put("front_door", "answers", 1, status=503, wrong="it answers 503")(state)
    lines = screen(judge(state)).splitlines()
    assert [line.split() for line in lines[3:6]] == [
        ["USERS", "at", "192.0.2.7:443", "ANSWER", "TIME"],
        ["https://app.example.com/readyz", "200", "12", "ms"],
        ["https://pgadmin.example.com/login", "503", "!", "12", "ms"],
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("app", ["REINDEX DATABASE app", "ALTER DATABASE app REFRESH COLLATION VERSION"]),
        ("My shop", ['REINDEX DATABASE "My shop"', 'ALTER DATABASE "My shop" REFRESH COLLATION VERSION']),
        ("it's $5", ['REINDEX DATABASE "it\'s $5"', 'ALTER DATABASE "it\'s $5" REFRESH COLLATION VERSION']),
    ],
)
def test_the_commands_against_an_old_collation(state: dict[str, Any], name: str, words: list[str]) -> None:
    """As a shell hands them to psql."""
    put("collations", 1, database=name, recorded="2.31", collations=2, collations_used=1)(state)
    first, second = (shlex.split(found["command"])[-1] for found in judge(state)["problems"])
    said = subprocess.run(
        ["sh", "-c", first.replace("psql", "printf '%s\n'")], capture_output=True, text=True, check=True
    )
    assert said.stdout.splitlines()[-5:] == [name, "-c", words[0], "-c", words[1]]
    piped = ["sh", "-c", second.rpartition(" | ")[0].replace("psql", "printf '%s\n'")]
    said = subprocess.run(piped, capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1].startswith(
        "SELECT format($$ALTER COLLATION %s REFRESH VERSION;$$, oid::regcoll"
    )


@pytest.mark.parametrize(
    ("state", "what"),
    [
        ({"unreachable": "timed out", "server": "https://192.0.2.1:8443"}, "the cluster of context minikube at https://192.0.2.1:8443 cannot be read: timed out"),
        ({"unreachable": "no such context"}, "the cluster of context minikube cannot be read: no such context"),
        ({"workloads": [], "time": NOW, "unread": {}}, "there is no stack in namespace shop"),
    ],
)  # fmt: skip
def test_nothing_to_judge(state: dict[str, Any], what: str) -> None:
    found = judge({"namespace": "shop", "context": "minikube", **state})
    assert found["problems"] == [{"what": what, "command": "make deploy", "urgent": True}]
    assert found["verdict"] == "wrong"


def test_a_lost_node_is_given_up_by_the_command_that_is_printed(state: dict[str, Any]) -> None:
    state["nodes"] = [
        {"name": name, "ready": name == "one", "cordoned": False, "pressure": []} for name in ("one", "two")
    ]
    for found in state["pods"]:
        if found["name"] == "postgres-1":
            found |= {"node": "two", "bound": True, "leaving": True, "leaving_since": NOW}
        if found["name"] == "flask-app-1":
            found |= {"node": "two"}
    document = judged({**state}, LIMITS, "make deploy INVENTORY=inventory/existing", WANTED)
    lines = [(found["what"], found["command"], found["urgent"]) for found in document["problems"]]
    assert lines == [
        ("node two is not ready, and so are its pods: flask-app-1, postgres-1", "kubectl describe node two", True),
        (
            "no other node takes over from two: postgres-1; if it is lost for good",
            "make replace-node NODE=two INVENTORY=inventory/existing",
            False,
        ),
    ]


@pytest.mark.parametrize(
    ("images", "line"),
    [
        (
            {"since": {"app:2": "2026-02-20T00:00:00Z", "registry.example.com/team/db:1": "2026-01-31T10:00:00Z"}, "asked": "2026-02-21T10:00:00+00:00"},
            "the oldest, db, runs since 2026-01-31; make update last asked for newer ones 2026-02-21 10:00 UTC",
        ),
        ({"since": {"app:2": "2026-02-20T00:00:00Z"}, "asked": None},
         "the oldest, app, runs since 2026-02-20; make update has never asked for newer ones"),
        ({"since": {}, "asked": None}, "since when they run is unknown; make update has never asked for newer ones"),
    ],
)  # fmt: skip
def test_how_old_the_images_are(state: dict[str, Any], images: dict[str, Any], line: str) -> None:
    state["images"] = images
    [shown] = [row for row in screen(judge(state)).splitlines() if row.startswith("IMAGES")]
    assert shown.removeprefix("IMAGES").strip() == line
