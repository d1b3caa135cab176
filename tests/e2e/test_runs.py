"""Runs of site.yml on the running stack: what they change, what they leave alone, and what they never show."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certificates import self_signed
from conftest import ROOT, Run, Stack, until
from cryptography import x509

Site = Callable[..., Run]
Kubectl = Callable[..., str]


def served_certificate(stack: Stack) -> x509.Certificate:
    text = ssl.get_server_certificate((str(stack.settings["stack_app_host"]), 443), timeout=10)
    return x509.load_pem_x509_certificate(text.encode())


@pytest.fixture(scope="module")
def second_run(site: Site) -> Run:
    return site().succeeded()


def test_a_second_run_changes_nothing(second_run: Run) -> None:
    assert second_run.changes == []


def test_a_run_says_where_everything_is(second_run: Run, stack: Stack) -> None:
    summary = second_run.output[second_run.output.rindex("Asked at ") :]
    for text in (stack.app_url, stack.pgadmin_url, str(stack.ca_file)):
        assert text in summary
    assert re.search(rf"\d+\.\d+\.\d+\.\d+ {stack.settings['stack_app_host']}", summary)
    for url in (f"{stack.app_url}/readyz", f"{stack.pgadmin_url}/login"):
        assert re.search(rf"{re.escape(url)} +200, \d+ ms", summary)


def test_the_command_that_shows_passwords_works(second_run: Run, stack: Stack) -> None:
    (command,) = re.findall(r"^Secrets:  (make secrets.*) shows ", second_run.output, re.MULTILINE)
    shown = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for secret, key in (
        ("pgadmin-secret", "PGADMIN_DEFAULT_PASSWORD"),
        ("postgres-secret", "POSTGRES_PASSWORD"),
        ("flask-app-secret", "API_TOKEN"),
    ):
        assert re.search(rf"  {re.escape(stack.secret(secret)[key])}$", shown, re.MULTILINE)
    assert len(shown.splitlines()) == 3


def test_check_mode_shows_the_change_and_no_secret(site: Site, stack: Stack) -> None:
    before = stack.versions()
    run = site(
        "--check",
        "--diff",
        "-vvv",
        flask_app_body_limit_kb=4321,
        postgres_password="check-mode-only-1",
        pgadmin_password="check-mode-only-2",
        flask_app_api_token="check-mode-only-3",
    ).succeeded()
    assert run.changed > 0
    assert "4321k" in run.output
    assert stack.versions() == before
    assert stack.secrets_shown(run.output) == []
    assert "check-mode-only" not in run.output


def test_an_update_shows_what_is_newer_and_changes_nothing(site: Site, stack: Stack) -> None:
    before = stack.versions()
    update = "playbooks/update.yml"
    assert "update_check is 'perhaps'" in site(playbook=update, update_check="perhaps").output
    run = site(playbook=update, update_check=True).succeeded()
    assert run.changed == 0
    assert stack.versions() == before
    # Where each image could be looked into, and the mirror asked.
    assert re.search(r"^(PACKAGE +OLD +NEW |Nothing newer was found\.)", run.output, re.MULTILINE)
    assert "cannot" not in run.output


@pytest.mark.alone
@pytest.mark.timeout(1800)
def test_later_runs_stay_on_what_an_update_has_brought(site: Site) -> None:
    """It builds all images anew where Debian has newer packages."""
    site(playbook="playbooks/update.yml", seconds=1500).succeeded()
    assert site("--diff").succeeded().changes == []


def test_a_run_at_full_verbosity_shows_no_secret(site: Site, stack: Stack) -> None:
    run = site("-vvv", "--diff", "--tags", "tls,postgres,pgadmin,flask_app,monitoring").succeeded()
    assert stack.secrets_shown(run.output) == []


@pytest.mark.parametrize(
    ("tag", "kind", "name"),
    [
        ("minikube", None, None),
        ("tls", "Secret", "tls-secret"),
        ("tls", "ConfigMap", "ca-certificates"),
        ("tls", "NetworkPolicy", "default-deny"),
        ("postgres", "PodDisruptionBudget", "postgres"),
        ("pgadmin", "Service", "pgadmin"),
        ("flask_app", "PodDisruptionBudget", "flask-app"),
        ("monitoring", "ConfigMap", "prometheus"),
    ],
)
def test_a_tag_alone_does_its_part(site: Site, stack: Stack, tag: str, kind: str | None, name: str | None) -> None:
    """What is missing of that part is back, and nothing else is touched."""
    if kind:
        stack.resource(kind).delete(name=name, namespace=stack.namespace)
        before = stack.versions()
    else:
        before = stack.versions()
    run = site("--tags", tag).succeeded()
    after = stack.versions()
    if kind:
        assert after.pop(f"{kind}/{name}")
    else:
        assert run.changes == []
    assert after == before
    until(stack.answers, 30)


def test_what_somebody_has_changed_is_set_right(site: Site, stack: Stack, kubectl: Kubectl) -> None:
    changes = {
        ("Ingress", "pgadmin-ingress"): {
            "metadata": {"annotations": {"nginx.ingress.kubernetes.io/proxy-body-size": "1m"}}
        },
        ("PodDisruptionBudget", "postgres"): {"spec": {"maxUnavailable": 0}},
        ("Service", "postgres-ro"): {"spec": {"ports": [{"port": 5432, "name": "by-hand"}]}},
    }

    def seen() -> list[tuple[Any, Any]]:
        found = [stack.get(*what).to_dict() for what in changes]
        return [(item["spec"], item["metadata"]["annotations"]) for item in found]

    before = seen()
    for (kind, name), patch in changes.items():
        kubectl(f"patch {kind} {name} -p {shlex.quote(json.dumps(patch))}")
    assert all(now != then for now, then in zip(seen(), before, strict=True))
    site("--tags", "postgres,pgadmin").succeeded()
    assert seen() == before


def test_own_certificate_and_hand_scaled_replicas_survive(site: Site, stack: Stack, kubectl: Kubectl) -> None:
    # For both hosts: a run fails where a host shows a certificate that is not its own.
    own = self_signed("a user's own", *(str(stack.settings[f"stack_{part}_host"]) for part in ("app", "pgadmin")))
    secret = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls", "metadata": {"name": "tls-secret"}}
    kubectl("apply -f -", stdin=json.dumps({**secret, "stringData": own}))
    certificate = x509.load_pem_x509_certificate(own["tls.crt"].encode())
    kubectl("scale deployment flask-app --replicas=3")
    try:
        site(flask_app_replicas_kept=True).succeeded()
        assert stack.get("Deployment", "flask-app").status.readyReplicas == 3
        until(lambda: served_certificate(stack) == certificate, 30, "another certificate is served")
    finally:
        kubectl("delete secret tls-secret")
        site("--tags", "tls,flask_app").succeeded()
    assert stack.get("Deployment", "flask-app").spec.replicas == 2
    until(lambda: served_certificate(stack) != certificate, 30, "the user's certificate is still served")
    until(stack.answers, 30)


def test_an_edit_is_live(site: Site, stack: Stack, tmp_path: Path) -> None:
    copy = tmp_path / "app"
    shutil.copytree(ROOT / "app", copy, ignore=shutil.ignore_patterns(".*cache", "__pycache__", ".hypothesis"))
    source = copy / "src" / "flask_postgres_app" / "api" / "health.py"
    text = source.read_text()
    assert '"name": "flask-postgres-app"' in text
    source.write_text(text.replace('"name": "flask-postgres-app"', '"name": "edited"'))
    until(stack.is_settled, 120, "pods come and go")
    try:
        site("--tags", "flask_app", flask_app_source=str(copy)).succeeded()
        # A pod of before may be in its grace period, until the ingress knows.
        until(lambda: {stack.api("/version").json()["name"] for _ in range(10)} == {"edited"}, 15)
    finally:
        site("--tags", "flask_app").succeeded()
    until(lambda: stack.api("/version").json()["name"] == "flask-postgres-app", 15)
