"""A run with the values of somebody else, and what people then see; afterwards the stack is as before."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import Run, Stack, console_connects, until
from test_docs import BLOCKS

pytestmark = pytest.mark.second

Site = Callable[..., Run]
Kubectl = Callable[..., str]

SECOND_SERVICE = """
apiVersion: v1
kind: Service
metadata: {{name: second}}
spec: {{selector: {{app: second}}, ports: [{{port: 8000}}]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: second}}
spec:
  selector: {{matchLabels: {{app: second}}}}
  template:
    metadata: {{labels: {{app: second}}}}
    spec:
      securityContext: {{runAsNonRoot: true, runAsUser: 10001, seccompProfile: {{type: RuntimeDefault}}}}
      containers:
        - name: second
          image: {image}
          command: [python3, -m, http.server, "8000", -d, /app]
          resources: {{requests: {{cpu: 10m, memory: 32Mi}}}}
          securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
          readinessProbe: {{tcpSocket: {{port: 8000}}, periodSeconds: 1}}
"""
OWN_VALUES: dict[str, Any] = {
    "postgres_password": "postgres",
    "postgres_client_certificates": True,
    # What they have, in other words.
    "postgres_storage_size": "5120Mi",
    "pgadmin_storage_size": "1024Mi",
    "pgadmin_password": "admin",
    "stack_app_host": "shop.example.com",
    "stack_pgadmin_host": "console.example.com",
    "flask_app_sql_comments": True,
    # Every statement counts as slow.
    "postgres_parameters": {"log_min_duration_statement": 0},
    "flask_app_other_paths": [{"path": "/src", "service": "second", "port": 8000}],
    "namespace_flows": [{"from": "ingress", "to": "second", "ports": [8000]}],
    "flask_app_resources": {
        "requests": {"cpu": "50m", "memory": "96Mi"},
        "limits": {"cpu": "500m", "memory": "300Mi"},
    },
}


@pytest.fixture(scope="module", autouse=True)
def _own_values(site: Site, stack: Stack, kubectl: Kubectl) -> Iterator[None]:
    generated = {
        "postgres_password": stack.secret("postgres-secret")["POSTGRES_PASSWORD"],
        "pgadmin_password": stack.secret("pgadmin-secret")["PGADMIN_DEFAULT_PASSWORD"],
    }
    image = stack.get("Deployment", "flask-app").spec.template.spec.containers[0].image
    second = SECOND_SERVICE.format(image=image)
    kubectl("apply -f -", stdin=second)
    try:
        site(**OWN_VALUES).succeeded()
        yield
    finally:
        kubectl("delete --wait=false -f -", stdin=second)
        site(**generated).succeeded()


def test_postgres_password(kubectl: Kubectl) -> None:
    line = 'exec deployment/flask-app -- env PGPASSWORD={} psql -h postgres -U postgres -Atc "SELECT 42"'
    assert kubectl(line.format("postgres")).strip() == "42"
    with pytest.raises(AssertionError, match="password authentication failed"):
        kubectl(line.format("another"))


def test_client_certificates(stack: Stack, kubectl: Kubectl) -> None:
    """Of the right passwords none is enough without a certificate, and a login's own asks for its name on it."""

    def says(user: str, password: str, environment: str = "") -> str:
        psql = f"psql -h postgres -U {user} -d app -Atc 'SELECT 42'"
        try:
            return kubectl(f"exec deployment/flask-app -- env {environment} PGPASSWORD={password} {psql}").strip()
        except AssertionError as error:
            return str(error)

    service, console = stack.secret("flask-app-db"), stack.secret("pgadmin-db")
    login = service["DB_USER"], service["DB_PASSWORD"]
    # They are asked for as soon as every pod has its own, which is at the end of the run.
    until(lambda: "requires a valid client certificate" in says(*login, "-u PGSSLCERT -u PGSSLKEY"), 30)
    assert "requires a valid client certificate" in says("postgres", "postgres", "-u PGSSLCERT -u PGSSLKEY")
    # PostgreSQL says no more than this of a certificate with another name; with its own the console gets in.
    assert "authentication failed" in says(console["DB_USER"], console["DB_PASSWORD"])
    assert console_connects(stack, kubectl)
    assert says(*login) == says("postgres", "postgres") == "42"


def test_pgadmin_password(stack: Stack) -> None:
    url = f"https://{OWN_VALUES['stack_pgadmin_host']}"
    assert stack.pgadmin_login("admin", url) == "/browser/"
    assert stack.pgadmin_login("another", url) == "/login"


def test_hosts(stack: Stack) -> None:
    url = f"https://{OWN_VALUES['stack_app_host']}"
    until(lambda: stack.session.get(f"{url}/api/data", timeout=10).status_code == 200, 30)
    former = stack.app_url.replace("https:", "http:")
    assert stack.session.get(f"{former}/healthz", timeout=10, allow_redirects=False).status_code == 404


def test_path_to_a_second_service(stack: Stack) -> None:
    url = f"https://{OWN_VALUES['stack_app_host']}"

    def listed() -> bool:
        response = stack.session.get(f"{url}/src/", timeout=10)
        assert response.status_code == 200, response.text[:300]
        return "flask_postgres_app" in response.text and response.headers["Server"].startswith("SimpleHTTP")

    until(listed, 60)
    assert stack.session.get(f"{url}/healthz", timeout=10).json() == {"status": "healthy"}


def test_sizes(stack: Stack) -> None:
    container = stack.get("Deployment", "flask-app").spec.template.spec.containers[0]
    assert container.resources.to_dict() == OWN_VALUES["flask_app_resources"]


def test_a_slow_statement_leads_to_its_request(stack: Stack, sql: Callable[..., str]) -> None:
    """By the commands of the documentation, as typed."""
    [block] = [block for _, block in BLOCKS if block.startswith("statement=")]
    request = secrets.token_hex(8)
    sql("SELECT pg_stat_statements_reset()", database="postgres")
    url = f"https://{OWN_VALUES['stack_app_host']}/api/data"
    assert stack.session.get(url, headers={"X-Request-ID": request}, timeout=10).status_code == 200

    def found() -> bool:
        command = ["bash", "-euo", "pipefail", "-c", block]
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert result.returncode == 0, result.stdout + result.stderr
        statement, line = result.stdout.splitlines()
        assert f"/*request_id='{request}',route='/api/data'*/" in statement
        assert f'"request_id":"{request}"' in line
        assert '"path":"/api/data"' in line
        return True

    until(found, 15)


def test_pgadmin_locks_the_account_after_five_wrong_passwords(stack: Stack) -> None:
    """The last one here: what follows it restarts the pod, which unlocks the account."""
    url = f"https://{OWN_VALUES['stack_pgadmin_host']}"
    # A right one sets the count back.
    assert stack.pgadmin_login("admin", url) == "/browser/"
    assert {stack.pgadmin_login("another", url) for _ in range(5)} == {"/login"}
    assert stack.pgadmin_login("admin", url) == "/login"
