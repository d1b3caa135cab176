"""One tag alone on the running stack: whoever uses what it changes comes along, or nothing is touched."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Run, Stack, console_connects, has_synchronous_replica, until
from load import steady_load

pytestmark = pytest.mark.disruptive

Site = Callable[..., Run]
Kubectl = Callable[..., str]
PER_SECOND = 20
MOVED = "moved.example.com"
WORKLOADS = [("Deployment", "flask-app"), ("Deployment", "pgadmin"), ("StatefulSet", "prometheus")]


def pods(stack: Stack) -> dict[str, set[str]]:
    """The pods of each app that uses the database, but for those that end."""
    return {app: {pod.metadata.name + pod.metadata.uid for pod in stack.pods(app)} for _, app in WORKLOADS}


def images(stack: Stack) -> list[str]:
    return [stack.get(*what).spec.template.spec.containers[0].image for what in WORKLOADS]


def gets_in(kubectl: Kubectl, login: dict[str, str]) -> bool:
    """Whether the database takes a login over the network."""
    psql = f"psql -h postgres -U {login['DB_USER']} -d app -Atc {shlex.quote('SELECT 42')}"
    try:
        return kubectl(f"exec statefulset/postgres -- env PGPASSWORD={login['DB_PASSWORD']} {psql}").strip() == "42"
    except AssertionError as error:
        if "password authentication failed" in str(error):
            return False
        raise


def switch_over(stack: Stack, kubectl: Kubectl, sql: Callable[..., str]) -> None:
    """Hand the database over, after which every connection to it is a new one."""
    until(lambda: has_synchronous_replica(sql), 60, "no replica is in sync")
    [primary] = [pod for pod in stack.pods("postgres") if pod.metadata.labels.get("role") == "primary"]
    name = primary.metadata.name
    kubectl(f"exec {name} -c postgres -- patronictl switchover postgres --leader {name} --force")


@pytest.mark.second
def test_the_service_follows_its_password(site: Site, stack: Stack, kubectl: Kubectl, sql: Callable[..., str]) -> None:
    """No request fails while its pods are replaced, and none once all of them have had to connect anew."""
    former, before, ran = stack.secret("flask-app-db"), pods(stack), images(stack)
    password = secrets.token_hex(20)
    with steady_load(stack, PER_SECOND) as load:
        until(lambda: load.answered > PER_SECOND, 30, "nothing is answered")
        run = site("--tags", "postgres", "-vvv", postgres_app_password=password).succeeded()
        assert load.failures == []
        switch_over(stack, kubectl, sql)
        # What a handover itself costs, and for how long, is the drill's to measure.
        answered = load.answered
        until(lambda: load.answered > answered + 5 * PER_SECOND, 30, "nothing is answered any more")
        handed_over, answered = len(load.failures), load.answered
        until(lambda: load.answered > answered + 10 * PER_SECOND, 30, "nothing is answered any more")
    assert load.failures[handed_over:] == []

    now, after = stack.secret("flask-app-db"), pods(stack)
    assert now["DB_PASSWORD"] == password
    assert password not in run.output
    assert gets_in(kubectl, now)
    assert not gets_in(kubectl, former)
    assert not before["flask-app"] & after["flask-app"]
    assert after["pgadmin"] == before["pgadmin"]
    assert after["prometheus"] == before["prometheus"]
    assert images(stack) == ran

    # What was set once and is not any more stays, and nobody comes along again.
    assert site("--tags", "postgres").succeeded().changes == []
    assert site().succeeded().changes == []
    assert stack.secret("flask-app-db") == now


@pytest.mark.second
def test_pgadmin_and_prometheus_follow_theirs(site: Site, stack: Stack, kubectl: Kubectl) -> None:
    before = pods(stack)
    fresh = {f"postgres_{name}_password": secrets.token_hex(20) for name in ("console", "monitoring")}
    site("--tags", "tls,postgres", **fresh).succeeded()
    after = pods(stack)
    assert after["flask-app"] == before["flask-app"]
    assert not after["pgadmin"] & before["pgadmin"]
    assert not after["prometheus"] & before["prometheus"]
    assert console_connects(stack, kubectl)
    assert gets_in(kubectl, stack.secret("prometheus-db"))
    shown = stack.secret("prometheus-exporter")["config.yml"]
    assert fresh["postgres_monitoring_password"] in shown
    assert site("--tags", "postgres").succeeded().changes == []


@pytest.mark.second
def test_check_mode_shows_who_comes_along(site: Site, stack: Stack) -> None:
    before = stack.versions()
    run = site("--check", "--diff", "--tags", "postgres", postgres_app_password="check-mode-only-4").succeeded()
    assert any("flask-postgres-stack/login: " in change for change in run.changes), run.output[-3000:]
    assert "check-mode-only" not in run.output
    assert stack.versions() == before


@pytest.mark.second
def test_the_certificate_follows_the_host(site: Site, stack: Stack) -> None:
    url = f"https://{MOVED}"
    try:
        site("--tags", "flask_app", stack_app_host=MOVED).succeeded()
        until(lambda: stack.session.get(f"{url}/api/data", timeout=10).status_code == 200, 30)
        # pgAdmin is where it was, and its name still on the certificate.
        assert stack.session.get(f"{stack.pgadmin_url}/login", timeout=30).status_code == 200
    finally:
        site("--tags", "flask_app").succeeded()
    until(stack.answers, 30)


LEFT_BEHIND: list[tuple[str, dict[str, Any], str]] = [
    ("--tags minikube", {"stack_ingress_class": "other"}, "--tags minikube,pgadmin,flask_app"),
    ("--tags tls", {"stack_app_host": MOVED}, "--tags tls,flask_app"),
    ("--tags tls", {"stack_pgadmin_host": MOVED}, "--tags tls,pgadmin"),
    ("--tags flask_app", {"stack_namespace": "of-nobody"}, "--tags tls,postgres,flask_app"),
    ("--tags monitoring", {"stack_namespace": "of-nobody"}, "--tags tls,postgres,monitoring"),
    ("--tags pgadmin", {"monitoring_ingress_targets": []}, "--tags pgadmin,monitoring"),
    ("--tags postgres", {"monitoring_enabled": False}, "--tags postgres,monitoring"),
    ("--skip-tags minikube,flask_app", {"postgres_app_password": "never-to-be-seen"}, "without --skip-tags flask_app"),
]


@pytest.mark.parametrize(("arguments", "changed", "remedy"), LEFT_BEHIND)
def test_a_tag_that_would_leave_somebody_behind_is_refused(
    site: Site, stack: Stack, arguments: str, changed: dict[str, Any], remedy: str
) -> None:
    (named,) = changed
    if named == "monitoring_ingress_targets" and not stack.settings["monitoring_ingress_targets"]:
        pytest.skip("Prometheus does not read the ingress controller here")
    before = stack.versions()
    run = site(*arguments.split(), **changed)
    assert run.code == 2, run.output[-3000:]
    said = re.sub(r"\s+", " ", run.output)
    assert named in said
    assert remedy in said
    assert "never-to-be-seen" not in said
    assert run.changed == 0
    assert stack.versions() == before
    names = [item.metadata.name for item in stack.resource("Namespace").get().items]
    assert "of-nobody" not in names
