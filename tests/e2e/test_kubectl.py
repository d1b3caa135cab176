"""The everyday commands as typed: the context points at the stack's namespace, so that none needs -n."""

from __future__ import annotations

import shlex
from collections.abc import Callable

import pytest
from conftest import Stack, until

Kubectl = Callable[..., str]


def test_secrets(kubectl: Kubectl) -> None:
    names = kubectl("get secret tls-secret postgres-secret -o name").split()
    assert names == ["secret/tls-secret", "secret/postgres-secret"]


def test_describe_ingress(stack: Stack, kubectl: Kubectl) -> None:
    text = kubectl("describe ingress app-ingress")
    assert str(stack.settings["stack_app_host"]) in text
    assert "flask-app:http" in text
    assert "tls-secret" in text


@pytest.mark.parametrize("app", ["flask-app", "postgres", "pgadmin"])
def test_logs(stack: Stack, kubectl: Kubectl, app: str) -> None:
    assert stack.pods(app)
    assert kubectl(f"logs -l app={app} --all-containers").strip()


def test_top_pods(stack: Stack, kubectl: Kubectl) -> None:
    """The metrics of new pods are there after a scrape or two."""
    expected = {pod.metadata.name for app in ("flask-app", "postgres", "pgadmin") for pod in stack.pods(app)}

    def measured() -> bool:
        lines = kubectl("top pods --no-headers").splitlines()
        assert expected <= {line.split()[0] for line in lines}
        return all(line.split()[1].endswith("m") and line.split()[2].endswith("Mi") for line in lines)

    until(measured, 120)


def test_psql_from_a_flask_pod(stack: Stack, kubectl: Kubectl) -> None:
    """It is the server's certificate that is verified, and PostgreSQL that says so."""
    password = stack.secret("postgres-secret")["POSTGRES_PASSWORD"]
    query = shlex.quote('psql -h postgres -U postgres -Atc "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"')
    output = kubectl(f"exec deployment/flask-app -- env PGPASSWORD={shlex.quote(password)} bash -c {query}")
    assert output.strip() == "t"


def test_psql_refuses_a_wrong_password(kubectl: Kubectl) -> None:
    with pytest.raises(AssertionError, match="password authentication failed"):
        kubectl('exec deployment/flask-app -- env PGPASSWORD=wrong bash -c "psql -h postgres -U postgres -c SELECT"')


def test_scale_to_five_and_back(stack: Stack, kubectl: Kubectl) -> None:
    before = stack.get("Deployment", "flask-app").spec.replicas
    kubectl("scale deployment flask-app --replicas=5")
    try:
        kubectl("rollout status deployment flask-app --timeout=120s")
        assert stack.get("Deployment", "flask-app").status.readyReplicas == 5
        assert stack.answers()
    finally:
        kubectl(f"scale deployment flask-app --replicas={before}")
        kubectl("rollout status deployment flask-app --timeout=120s")


@pytest.mark.parametrize(
    ("kind", "app"), [("deployment", "flask-app"), ("deployment", "pgadmin"), ("statefulset", "postgres")]
)
def test_rollout_restart(stack: Stack, kubectl: Kubectl, kind: str, app: str) -> None:
    """Every pod is another one afterwards, and the rows are the same."""
    rows = stack.api("/api/data").json()
    before = {pod.metadata.uid for pod in stack.pods(app)}
    kubectl(f"rollout restart {kind} {app}")
    kubectl(f"rollout status {kind} {app} --timeout=180s")
    # The pods of before may still be in their grace period.
    until(lambda: not before & {pod.metadata.uid for pod in stack.pods(app)}, 60)
    assert stack.pods(app)
    until(stack.answers, 30)
    assert stack.api("/api/data").json() == rows
