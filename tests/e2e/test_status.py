"""`make status` on the running stack: what it says is so, and what is wrong is named with a command that works."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Run, Stack, until
from cryptography import x509
from screen import Screen, part, status

Kubectl = Callable[..., str]


def is_healthy() -> Screen:
    """The screen of a healthy stack, which earlier tests may have left with a rollout that is not done yet."""

    def healthy() -> Screen:
        screen = status(status_format="json")
        assert screen.code == 0, [problem["what"] for problem in screen.document["problems"]]
        return screen

    return until(healthy, 90)  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def healthy(stack: Stack) -> Screen:
    stack.answers()
    return is_healthy()


def test_one_screen_and_nothing_else(healthy: Screen) -> None:
    assert healthy.document["healthy"]

    def well() -> Screen | None:
        screen = status()
        assert screen.code == 0, screen.text
        return screen if "All is well." in screen.text.splitlines() else None

    screen = until(well, 60, "something is unread")
    lines = screen.text.splitlines()
    assert len(lines) < 50
    assert max(map(len, lines)) < 150
    assert screen.errors == ""


def test_it_says_what_runs(healthy: Screen, stack: Stack, kubectl: Kubectl, sql: Callable[..., str]) -> None:
    document = healthy.document
    assert document["namespace"] == stack.namespace
    assert document["kubernetes"] == json.loads(kubectl("version -o json"))["serverVersion"]["gitVersion"]
    assert {found["name"]: (found["ready"], found["wanted"]) for found in document["workloads"]} == {
        f"{kind.lower()}/{item.metadata.name}": (item.status.readyReplicas, item.spec.replicas)
        for kind in ("Deployment", "StatefulSet")
        for item in stack.resource(kind).get(namespace=stack.namespace).items
    }
    assert sql("SHOW server_version").split()[0] == document["database"]["postgresql"]


def test_it_knows_the_primary(healthy: Screen, kubectl: Kubectl) -> None:
    members = healthy.document["database"]["members"]
    primary = kubectl("get pods -l cluster-name=postgres,role=primary -o jsonpath={.items[*].metadata.name}")
    assert [member["name"] for member in members if member["role"] == "primary"] == [primary]
    assert len(members) == int(kubectl("get statefulset postgres -o jsonpath={.spec.replicas}"))


def test_it_knows_when_certificates_end(healthy: Screen, stack: Stack) -> None:
    found = {item["secret"]: item for item in healthy.document["certificates"]}
    for name in ("tls-secret", "postgres-tls", "stack-ca"):
        certificate = x509.load_pem_x509_certificate(stack.secret(name)["tls.crt"].encode())
        assert found[name]["ends"] == certificate.not_valid_after_utc.isoformat()
        assert found[name]["own"]


def test_it_counts_requests(healthy: Screen, stack: Stack) -> None:
    sent = 25
    for _ in range(sent):
        stack.answers()
    requests = part("requests")
    assert requests["total"] >= healthy.document["requests"]["total"] + sent


def test_it_knows_how_full_the_volumes_are(healthy: Screen) -> None:
    volumes = {volume["claim"]: volume for volume in healthy.document["volumes"]}
    assert 0 < volumes["data-postgres-0"]["fill"] < 1
    assert volumes["data-postgres-0"]["phase"] == "Bound"


@pytest.fixture
def no_more_pods(stack: Stack, kubectl: Kubectl) -> Iterator[None]:
    """A quota under which the namespace gets no new pod."""
    try:
        kubectl(f"-n {stack.namespace} create quota no-more-pods --hard=pods=0")
        # Until its controller has seen it, it holds nobody back.
        kubectl(f"-n {stack.namespace} wait quota/no-more-pods --for=jsonpath={{.status.hard.pods}}=0 --timeout=60s")
        yield
    finally:
        kubectl(f"-n {stack.namespace} delete quota no-more-pods")
        # A ReplicaSet that was refused tries again ever more seldom, and at once when it is changed.
        for change in ("test/try=again", "test/try-"):
            kubectl(f"-n {stack.namespace} annotate replicasets -l app=flask-app {change}")
        kubectl(f"-n {stack.namespace} rollout status deployment flask-app --timeout=120s")


@pytest.mark.usefixtures("healthy", "no_more_pods")
def test_a_missing_pod(stack: Stack, kubectl: Kubectl) -> None:
    wanted = stack.get("Deployment", "flask-app").spec.replicas
    kubectl(f"-n {stack.namespace} delete pod {stack.pods('flask-app')[0].metadata.name} --wait=false")

    def named() -> Any:
        screen = status(status_format="json")
        assert screen.code == 2
        (problem,) = screen.urgent
        assert problem["what"].startswith(f"deployment/flask-app: {wanted - 1} of {wanted} pods are ready (")
        assert "exceeded quota: no-more-pods" in problem["what"]
        return problem

    problem = until(named, 30)
    program, _, line = problem["command"].partition(" ")
    assert program == "kubectl"
    assert "exceeded quota: no-more-pods" in kubectl(line)


CONNECT = """
import os, sys, psycopg2
held = []
try:
    while True:
        held.append(psycopg2.connect(host=os.environ["DB_HOST"], dbname=os.environ["DB_NAME"],
                                     user=os.environ["DB_USER"], password=os.environ["DB_PASSWORD"]))
except psycopg2.OperationalError as error:
    print(len(held), " ".join(str(error).split()), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def all_connections(stack: Stack) -> Iterator[str]:
    """A program in a pod of the service that opens connections until there are none; what it then hears."""
    command = ["kubectl", "exec", "-i", "deployment/flask-app", "--", "python", "-c", CONNECT]
    env = {**os.environ, "KUBECONFIG": stack.settings["stack_kubeconfig"]}
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin
        assert program.stdout
        try:
            yield program.stdout.readline()
        finally:
            program.stdin.close()


@pytest.mark.disruptive
@pytest.mark.usefixtures("healthy")
def test_no_connection_is_left(stack: Stack, kubectl: Kubectl, all_connections: str) -> None:
    """The service goes on with those that it has, and the superuser gets in to see who has the others."""
    assert "remaining connection slots are reserved" in all_connections
    assert stack.answers()
    screen = status(status_format="json")
    assert screen.code == 2
    pattern = r"(\d+) of (\d+) connections of the database are in use"
    [(problem, said)] = [(found, said) for found in screen.urgent if (said := re.fullmatch(pattern, found["what"]))]
    # One that has just ended may be free.
    assert int(said[1]) >= int(said[2]) - 3
    assert "flask_app" in kubectl(problem["command"].removeprefix("kubectl "))


@pytest.fixture
def damaged_table(kubectl: Kubectl, sql: Callable[..., str]) -> Iterator[str]:
    """A table with some bytes of its only page overwritten on the primary's disk."""
    kubectl_primary = "exec service/postgres -c postgres --"
    try:
        sql("CREATE EXTENSION pg_buffercache")
        # An analysis of it would write the page anew.
        sql("CREATE TABLE damaged WITH (autovacuum_enabled = false) AS SELECT generate_series(1, 100) AS number")
        sql("CHECKPOINT")
        path = sql("SELECT current_setting('data_directory') || '/' || pg_relation_filepath('damaged')")
        kubectl(f"{kubectl_primary} sh -c 'printf damage | dd of={path} bs=1 seek=5000 conv=notrunc,fsync status=none'")
        sql(
            "SELECT count(pg_buffercache_evict(bufferid)) FROM pg_buffercache"
            " WHERE relfilenode = pg_relation_filenode('damaged')"
        )
        yield "damaged"
    finally:
        sql("DROP TABLE damaged; DROP EXTENSION pg_buffercache")
        sql("SELECT pg_stat_reset()")


@pytest.mark.disruptive
@pytest.mark.usefixtures("healthy")
def test_a_damaged_page(stack: Stack, kubectl: Kubectl, sql: Callable[..., str], damaged_table: str) -> None:
    """It is not read as if it were whole, and a replica has its own copy."""
    with pytest.raises(AssertionError, match="invalid page in block 0"):
        sql(f"SELECT sum(number) FROM {damaged_table}")
    assert stack.answers()
    replica = "pod/" + kubectl("get pods -l cluster-name=postgres,role=replica -o jsonpath={.items[0].metadata.name}")
    assert sql(f"SELECT sum(number) FROM {damaged_table}", replica) == "5050"

    def named() -> Any:
        screen = status(status_format="json")
        assert screen.code == 2
        (problem,) = screen.urgent
        return problem

    # A session tells the statistics when it ends.
    problem = until(named, 30)
    assert re.fullmatch(r"the database has met \d+ damaged pages", problem["what"])
    assert "app" in kubectl(problem["command"].removeprefix("kubectl "))


@pytest.mark.usefixtures("healthy")
def test_what_users_meet(healthy: Screen, stack: Stack) -> None:
    """Each address has answered, and stands above all else on the screen."""
    front = healthy.document["front_door"]
    assert {answer["url"]: answer["status"] for answer in front["answers"]} == {
        f"{stack.app_url}/readyz": 200,
        f"{stack.app_url}/api/data": 200,
        f"{stack.pgadmin_url}/login": 200,
    }
    # The logins of pgAdmin and the service were tried, and got in.
    assert healthy.document["connections"] == {"pgadmin": "", "flask-app": ""}
    lines = status().text.splitlines()
    assert lines[3].startswith(f"USERS at {front['address']}:{front['port']}")
    assert lines[4].startswith(f"{stack.app_url}/readyz")


@pytest.fixture
def no_console(stack: Stack, kubectl: Kubectl) -> Iterator[None]:
    """pgAdmin's Deployment scaled to 0."""
    try:
        kubectl(f"-n {stack.namespace} scale deployment pgadmin --replicas=0")
        kubectl(f"-n {stack.namespace} wait pod -l app=pgadmin --for=delete --timeout=60s")
        yield
    finally:
        kubectl(f"-n {stack.namespace} scale deployment pgadmin --replicas=1")
        kubectl(f"-n {stack.namespace} rollout status deployment pgadmin --timeout=180s")


@pytest.mark.disruptive
@pytest.mark.usefixtures("healthy", "no_console")
def test_a_console_that_is_gone(stack: Stack, site: Callable[..., Run]) -> None:
    """A run whose tags do not bring pgAdmin back does not say that it answers."""
    screen = status(status_format="json")
    assert screen.code == 2
    said = [problem["what"] for problem in screen.urgent]
    assert said[0].startswith(f"users get no answer of {stack.pgadmin_url}/login at ")
    assert "deployment/pgadmin is scaled to 0" in said
    run = site("--tags", "tls", front_door_timeout=2)
    assert run.code == 2
    output = " ".join(run.output.split())
    assert "The stack does not answer its users after 2 s" in output
    assert re.search(rf"{re.escape(stack.pgadmin_url)}/login +it answers \d+", output), output[-3000:]
    assert re.search(rf"{re.escape(stack.app_url)}/readyz +200, \d+ ms", output), output[-3000:]


@pytest.fixture
def broken_route(stack: Stack, kubectl: Kubectl) -> Iterator[None]:
    """The service's Ingress leads to a Service that there is none of."""
    path = "/spec/rules/0/http/paths/0/backend/service/name"

    def lead_to(service: str) -> None:
        patch = json.dumps([{"op": "replace", "path": path, "value": service}])
        kubectl(f"-n {stack.namespace} patch ingress app-ingress --type=json -p '{patch}'")

    try:
        lead_to("no-such-service")
        yield
    finally:
        lead_to("flask-app")
        until(stack.answers, 60)


@pytest.mark.disruptive
@pytest.mark.usefixtures("healthy", "broken_route")
def test_a_route_that_leads_nowhere(stack: Stack, site: Callable[..., Run]) -> None:
    """All pods are ready and no alert fires, and yet nobody is served."""

    def named() -> bool:
        screen = status(status_format="json")
        said = [problem["what"] for problem in screen.urgent]
        assert screen.code == 2
        return [what.split(" at ")[0] for what in said] == [
            f"users get no answer of {stack.app_url}{path}" for path in ("/readyz", "/api/data")
        ]

    until(named, 60)
    run = site("--tags", "pgadmin,postgres", front_door_timeout=2)
    assert run.code == 2
    output = " ".join(run.output.split())
    assert re.search(rf"{re.escape(stack.app_url)}/api/data +it answers \d+", output), output[-3000:]
    # A run that brings it back ends with what it saw.
    output = " ".join(site("--tags", "flask_app").succeeded().output.split())
    assert re.search(rf"{re.escape(stack.app_url)}/api/data +200, \d+ ms", output), output[-3000:]


@pytest.fixture
def old_collation(sql: Callable[..., str]) -> Iterator[str]:
    """The service's database as if it had been made on an older system; the version that this one has."""
    actual = sql("SELECT pg_database_collation_actual_version(oid) FROM pg_database WHERE datname = 'app'")
    try:
        sql("UPDATE pg_database SET datcollversion = '2.31' WHERE datname = 'app'")
        yield actual
    finally:
        sql(f"UPDATE pg_database SET datcollversion = '{actual}' WHERE datname = 'app'")


@pytest.mark.usefixtures("healthy")
def test_an_old_collation(old_collation: str, sql: Callable[..., str]) -> None:
    screen = status(status_format="json")
    assert screen.code == 2
    (problem,) = screen.urgent
    assert problem["what"] == f"database app is sorted by collation version 2.31, and the system has {old_collation}"
    subprocess.run(["bash", "-c", problem["command"]], check=True, capture_output=True, timeout=60)
    assert sql("SELECT datcollversion FROM pg_database WHERE datname = 'app'") == old_collation
    assert is_healthy()


def test_no_stack() -> None:
    screen = status(stack_namespace="nothing-here", status_format="json")
    assert screen.code == 2
    (problem,) = screen.urgent
    assert problem == {"what": "there is no stack in namespace nothing-here", "command": "make deploy", "urgent": True}


def test_no_cluster(stack: Stack, tmp_path: Path) -> None:
    """A kubeconfig of a cluster that has gone: nothing listens on its port."""
    kubeconfig = yaml.safe_load(Path(stack.settings["stack_kubeconfig"]).read_text())
    for cluster in kubeconfig["clusters"]:
        cluster["cluster"]["server"] = "https://127.0.0.1:1"
    gone = tmp_path / "kubeconfig"
    gone.write_text(yaml.safe_dump(kubeconfig))
    screen = status(stack_kubeconfig=str(gone), status_format="json")
    assert screen.code == 2
    (problem,) = screen.urgent
    assert "at https://127.0.0.1:1 cannot be read" in problem["what"]
    assert problem["command"] == "make deploy"
