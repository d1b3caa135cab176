"""Another service, with its own framework and migrations, in a second stack beside the first: by settings alone."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
import yaml
from conftest import ROOT, Run, Stack, until

pytestmark = pytest.mark.beside

Site = Callable[..., Run]
Kubectl = Callable[..., str]

SETTINGS = ROOT / "examples" / "notes" / "stack.yml"
GUESTBOOK = ROOT / "examples" / "guestbook"
ORDERS = ROOT / "examples" / "orders"
# Those that make a Django project of it; the names stay those of the stack.
DJANGO = (
    *("flask_app_migrate_command", "flask_app_environment", "flask_app_error_pages"),
    *("flask_app_workers", "flask_app_cronjobs"),
)
OWN = ("--tags", "flask_app", "-e", f"@{SETTINGS}")
# What its service needs; pgAdmin is the same in every stack.
TAGS = ("--tags", "tls,postgres,flask_app", "-e", f"@{SETTINGS}")


@pytest.fixture(scope="module")
def notes(site: Site, stack: Stack, kubectl: Kubectl) -> Iterator[Stack]:
    """The second stack."""
    values: dict[str, Any] = yaml.safe_load(SETTINGS.read_text())
    namespace = values["stack_namespace"]
    authority = stack.ca_file.with_name(f"{namespace}-ca.crt")
    kubectl(f"delete namespace {namespace} --ignore-not-found --timeout=120s")
    try:
        site(*TAGS).succeeded()
        with requests.Session() as session:
            session.trust_env = False
            session.verify = str(authority)
            yield Stack({**stack.settings, **values, "stack_ca_file": session.verify}, stack.kube, session)
    finally:
        kubectl(f"delete namespace {namespace} --ignore-not-found --wait=false")
        authority.unlink(missing_ok=True)


def test_it_serves_from_its_own_schema(notes: Stack) -> None:
    until(lambda: notes.api("/readyz").status_code == 200, 30, "it is not ready behind the ingress")
    assert notes.api("/notes").json() == []
    refused = notes.api("/notes", "POST", data="Hello")
    assert refused.status_code == 401
    token = {"Authorization": f"Bearer {notes.secret('flask-app-secret')['API_TOKEN']}"}
    written = notes.api("/notes", "POST", data="Hello", headers=token)
    assert written.status_code == 201, written.text
    assert notes.api("/notes").json() == [written.json()] == [{"id": 1, "body": "Hello"}]


def test_the_stacks_know_nothing_of_each_other(notes: Stack, stack: Stack) -> None:
    # The tests beside this one take parts of the first stack down.
    until(lambda: stack.answers() and stack.api("/notes").status_code == 404, 120, "the first stack is another")
    for secret, key in (("flask-app-secret", "API_TOKEN"), ("flask-app-db", "DB_PASSWORD"), ("stack-ca", "tls.key")):
        assert notes.secret(secret)[key] != stack.secret(secret)[key]
    with pytest.raises(requests.exceptions.SSLError):
        notes.session.get(f"{stack.app_url}/healthz", timeout=10)


def test_its_status(notes: Stack) -> None:
    """It has no metrics, which are its own affair."""
    line = f"-e @{SETTINGS.relative_to(ROOT)} -e status_format=json"
    result = subprocess.run(
        ["make", "--silent", "status", f"ARGS={line}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    document = json.loads(result.stdout)
    assert result.returncode == 0, document["problems"]
    assert document["namespace"] == notes.namespace
    assert document["requests"] is None


def test_the_same_by_its_image(site: Site, notes: Stack) -> None:
    """A second run that knows the image and not the folder has nothing to change."""
    image = notes.get("Deployment", "flask-app").spec.template.spec.containers[0].image
    run = site(
        "--tags", "flask_app", "-e", f"@{SETTINGS}", "-e", f"flask_app_image={image}", "-e", "flask_app_source=/none"
    ).succeeded()
    assert run.changes == []


def test_a_schema_that_was_taken_back_is_migrated_again(site: Site, notes: Stack, kubectl: Kubectl) -> None:
    psql = "psql -q -U postgres -d app -c 'DROP TABLE notes, alembic_version'"
    kubectl(f"-n {notes.namespace} exec service/postgres -c postgres -- {psql}")
    until(lambda: notes.api("/readyz").status_code == 503, 30, "it does not miss its schema")
    site("--tags", "flask_app", "-e", f"@{SETTINGS}").succeeded()
    assert notes.api("/notes").json() == []


def test_django_with_a_worker_and_a_cron_job(site: Site, notes: Stack, kubectl: Kubectl) -> None:
    """A Django project takes its place: its admin answers, its worker works, and its cron job runs."""
    settings = yaml.safe_load((ORDERS / "stack.yml").read_text())
    replace(site, notes, {name: settings[name] for name in DJANGO} | {"flask_app_source": str(ORDERS)})
    placed = notes.api("/orders/", "POST", data="tea")
    assert placed.status_code == 201, placed.text
    until(lambda: notes.api("/orders/").json() == [{"id": 1, "item": "tea", "confirmed": True}], 30, "no worker works")
    assert "Django administration" in notes.api("/admin/login/").text
    assert notes.api("/static/admin/css/base.css").headers["Content-Type"].startswith("text/css")
    kubectl(f"-n {notes.namespace} create job --from=cronjob/flask-app-cron-sessions now")
    kubectl(f"-n {notes.namespace} wait --for=condition=Complete job/now --timeout=60s")


def test_a_folder_with_requirements_alone(site: Site, notes: Stack, kubectl: Kubectl) -> None:
    """A Flask service with Flask-SQLAlchemy and Flask-Migrate, and no Dockerfile, takes its place; no worker stays."""
    assert not (GUESTBOOK / "Dockerfile").exists()
    psql = "psql -q -U postgres -d app -c 'DROP TABLE IF EXISTS notes, alembic_version'"
    kubectl(f"-n {notes.namespace} exec service/postgres -c postgres -- {psql}")
    values = {"flask_app_source": str(GUESTBOOK), "flask_app_migrate_command": ["flask", "db", "upgrade"]}
    replace(site, notes, values)
    written = notes.api("/entries", "POST", data="Hello")
    assert written.status_code == 201, written.text
    assert notes.api("/entries").json() == [written.json()] == [{"id": 1, "text": "Hello"}]
    kinds = "deployments,cronjobs,poddisruptionbudgets"
    left = kubectl(f"-n {notes.namespace} get {kinds} -l app.kubernetes.io/name=flask-app -o name")
    assert left.split() == ["deployment.apps/flask-app", "poddisruptionbudget.policy/flask-app"]
    assert site(*OWN, **values).succeeded().changes == []


def replace(site: Site, notes: Stack, values: dict[str, Any]) -> None:
    """Deploy a service in place of the one before it."""
    site(*OWN, **values).succeeded()
    pods = {"namespace": notes.namespace, "label_selector": "app=flask-app"}
    until(lambda: len(notes.resource("Pod").get(**pods).items) == 1, 60, "the pod of the other service has not ended")
