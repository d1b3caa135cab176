"""Fixtures: the stack as site.yml leaves it, and the commands that people run against it."""

from __future__ import annotations

import base64
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from kubernetes import config
from kubernetes.client.exceptions import ApiException
from openshift.dynamic import DynamicClient
from urllib3.exceptions import HTTPError

from stack.inventory import read_settings

ROOT = Path(__file__).parents[2]
DURATIONS = ROOT / "test-output" / "durations"
INVENTORY = os.environ.get("INVENTORY", "inventory/minikube")
SECOND = Path(__file__).parent / "second"
SETTINGS = [
    "minikube_provider", "monitoring_ingress_targets", "monitoring_nodes", "stack_app_host", "stack_ca_file",
    "stack_context", "stack_image_delivery", "stack_image_registry", "stack_kubeconfig", "stack_namespace",
    "stack_pgadmin_host", "stack_versions",
]  # fmt: skip

# What a condition meets while what it asks comes and goes: no answer, another than it reads, an object that is gone.
NOT_YET = (AssertionError, LookupError, OSError, TypeError, ValueError, ApiException, HTTPError)


def until(condition: Callable[[], Any], seconds: float = 60, what: str = "") -> Any:
    """Wait for a condition and return its value; an error inside of it means: not yet."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            value = condition()
            problem: object = what or f"still {value!r}"
        except NOT_YET as error:
            value, problem = None, repr(error)
        if value:
            return value
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds:.0f} s: {problem}")
        time.sleep(0.25)


def output(*command: str, environment: dict[str, str], stdin: str | None = None, seconds: float = 300) -> str:
    """Run a command with more in its environment and return what it prints; an AssertionError says why it failed."""
    result = subprocess.run(
        command,
        env={**os.environ, **environment},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert result.returncode == 0, f"{shlex.join(command)}: {result.stderr}"
    return result.stdout


@dataclass(frozen=True)
class Run:
    """A finished ansible-playbook."""

    code: int
    output: str
    seconds: float

    @property
    def changed(self) -> int:
        return sum(int(count) for count in re.findall(r"\bchanged=(\d+)", self.output))

    @property
    def changes(self) -> list[str]:
        """What was said of each step that changed something, with the difference if the run had ``--diff``."""
        steps = re.findall(r"(?:^.*\n)*?^(?:ok|changed) +[\d.]+ (?:s|min) .*\n", self.output, re.MULTILINE)
        return [step for step in steps if step.splitlines()[-1].startswith("changed")]

    def succeeded(self) -> Run:
        assert self.code == 0, self.output[-6000:]
        return self


@dataclass(frozen=True)
class Stack:
    """The running stack.

    Attributes:
        settings: The inventory's settings, by name.
        kube: A client with the rights of the kubeconfig.
        session: Trusts the stack's CA and nothing else.
    """

    settings: dict[str, Any]
    kube: DynamicClient
    session: requests.Session

    @property
    def namespace(self) -> str:
        return str(self.settings["stack_namespace"])

    @property
    def app_url(self) -> str:
        return f"https://{self.settings['stack_app_host']}"

    @property
    def pgadmin_url(self) -> str:
        return f"https://{self.settings['stack_pgadmin_host']}"

    @property
    def ca_file(self) -> Path:
        return Path(self.settings["stack_ca_file"])

    def resource(self, kind: str) -> Any:
        """The API of a kind, such as ``Pod``."""
        return self.kube.resources.get(kind=kind, api_version=API_VERSIONS.get(kind, "v1"))

    def get(self, kind: str, name: str) -> Any:
        return self.resource(kind).get(name=name, namespace=self.namespace)

    def is_settled(self) -> bool:
        """Whether no pod of the stack is starting or ending."""
        pods = self.resource("Pod").get(namespace=self.namespace).items
        return all(pod.status.phase != "Pending" and not pod.metadata.deletionTimestamp for pod in pods)

    def pods(self, app: str) -> list[Any]:
        """Running pods of one of the stack's apps."""
        found = self.resource("Pod").get(namespace=self.namespace, label_selector=f"app={app}").items
        return [pod for pod in found if pod.status.phase == "Running" and not pod.metadata.deletionTimestamp]

    def secret(self, name: str) -> dict[str, str]:
        data = self.get("Secret", name).to_dict().get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def versions(self) -> dict[str, str]:
        """The version of each object that a run manages, but for what the cluster itself writes into it."""
        found = {}
        for kind in MANAGED:
            for item in self.resource(kind).get(namespace=self.namespace).items:
                meta = item.to_dict()["metadata"]
                # The state that Patroni keeps in ConfigMaps is not Ansible's; a status does not count as a generation.
                if meta.get("labels", {}).get("app.kubernetes.io/managed-by") == "ansible":
                    version = meta.get("generation") or meta["resourceVersion"]
                    found[f"{kind}/{meta['name']}"] = f"{meta['uid']} {version}"
        return found

    def api(self, path: str, method: str = "GET", **options: Any) -> requests.Response:
        return self.session.request(method, self.app_url + path, timeout=10, **options)

    def write(self, name: str) -> int:
        """Add a row through the API and return its id."""
        response = self.api(
            "/api/data",
            "POST",
            json={"name": name},
            headers={"Authorization": f"Bearer {self.secret('flask-app-secret')['API_TOKEN']}"},
        )
        assert response.status_code == 201, response.text
        return int(response.json()["id"])

    def pgadmin_login(self, password: str, url: str = "") -> str:
        """Log in to pgAdmin as the form does, and return the path that this leads to."""
        url = url or self.pgadmin_url
        with requests.Session() as browser:
            browser.trust_env = False
            browser.verify = str(self.ca_file)
            page = browser.get(f"{url}/login", timeout=30)
            token = re.search(r'"?csrf_?[tT]oken"?[^>]*?[:=]\s*"([^"]{20,})"', page.text)
            assert token, page.text[:2000]
            email = self.secret("pgadmin-secret")["PGADMIN_DEFAULT_EMAIL"]
            form = {"email": email, "password": password, "csrf_token": token[1], "internal_button": "Login"}
            answer = browser.post(
                f"{url}/authenticate/login", data=form, headers={"Referer": url}, allow_redirects=False, timeout=30
            )
            assert answer.status_code == 302, answer.text[:500]
            return re.sub(r"^https://[^/]+|\?.*$", "", answer.headers["Location"])

    def secret_values(self) -> dict[str, list[str]]:
        """What must be seen nowhere, by the name of the Secret and its key: the lines of each value, and its base64."""
        values = {}
        for item in self.resource("Secret").get(namespace=self.namespace).items:
            for key, encoded in (item.to_dict().get("data") or {}).items():
                if key not in PUBLIC:
                    lines = base64.b64decode(encoded).decode().splitlines()
                    parts = [encoded, *(line for line in lines if not line.startswith("-----"))]
                    values[f"{item.metadata.name}/{key}"] = [part for part in parts if len(part) >= 8]
        return values

    def secrets_shown(self, output: str) -> list[str]:
        """The names of all secrets whose value, or a line of it, is in an output, plain or in base64."""
        return [name for name, parts in self.secret_values().items() if any(part in output for part in parts)]

    def answers(self) -> bool:
        """Whether the API answers from its database."""
        response = self.api("/api/data")
        assert response.status_code == 200, response.text[:500]
        return True


def console_connects(stack: Stack, kubectl: Callable[..., str]) -> bool:
    """Whether pgAdmin's pod connects to the database as pgAdmin does, by the service file that holds what it shows."""
    secret = stack.secret("pgadmin-db")
    parameters = f"service=postgres host={secret['DB_HOST']} user={secret['DB_USER']} dbname={secret['DB_NAME']}"
    program = f"import psycopg; print(psycopg.connect({parameters!r}).execute('SELECT current_user').fetchone()[0])"
    line = f"exec deployment/pgadmin -- /venv/bin/python3 -c {shlex.quote(program)}"
    return kubectl(line).strip() == secret["DB_USER"]


def has_synchronous_replica(sql: Callable[..., str]) -> bool:
    """Whether what is written now would survive the loss of the primary."""
    return sql("SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')") != "0"


MANAGED = [
    "ConfigMap", "Secret", "Service", "Deployment", "StatefulSet", "Ingress", "PodDisruptionBudget", "NetworkPolicy",
]  # fmt: skip
# The values of these keys are no secrets: names, addresses and certificates.
PUBLIC = {
    "tls.crt", "ca.crt", "other.crt", "POSTGRES_DB", "POSTGRES_USER", "DB_HOST", "DB_PORT", "DB_NAME", "DB_USER",
    "DB_CLIENT_SECRET", "PGADMIN_DEFAULT_EMAIL",
}  # fmt: skip
API_VERSIONS = {
    "DaemonSet": "apps/v1",
    "PodDisruptionBudget": "policy/v1",
    "Deployment": "apps/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "StatefulSet": "apps/v1",
    "Ingress": "networking.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
}


@pytest.fixture(scope="session")
def settings() -> dict[str, Any]:
    """The settings as the inventory gives them to the roles."""
    return read_settings(INVENTORY, SETTINGS)


@pytest.fixture(scope="session")
def stack(settings: dict[str, Any]) -> Iterator[Stack]:
    """The running stack; its hosts lead to this machine, as with ``curl --resolve``."""
    resolve = socket.getaddrinfo
    hosts = {settings["stack_app_host"], settings["stack_pgadmin_host"]}

    def local(host: Any, *args: Any, **kwargs: Any) -> Any:
        here = host in hosts or str(host).endswith(".example.com")
        return resolve("127.0.0.1" if here else host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch, requests.Session() as session:
        patch.setattr(socket, "getaddrinfo", local)
        session.trust_env = False
        session.verify = settings["stack_ca_file"]
        client = config.new_client_from_config(settings["stack_kubeconfig"], settings["stack_context"])
        yield Stack(settings, DynamicClient(client), session)


@pytest.fixture(scope="session")
def kubectl(settings: dict[str, Any]) -> Callable[..., str]:
    """Run a kubectl command line as typed and return what it prints."""

    def run(line: str, stdin: str | None = None) -> str:
        return output(
            "kubectl", *shlex.split(line), environment={"KUBECONFIG": settings["stack_kubeconfig"]}, stdin=stdin
        )

    return run


@pytest.fixture(scope="session")
def sql(kubectl: Callable[..., str]) -> Callable[..., str]:
    """Run a statement as the superuser in the primary's pod, or another of PostgreSQL, and return its bare rows."""

    def run(statement: str, pod: str = "service/postgres", database: str = "app") -> str:
        psql = f"psql -XAtq -v ON_ERROR_STOP=1 -U postgres -d {database}"
        return kubectl(f"exec {pod} -c postgres -- {psql} -c {shlex.quote(statement)}").strip()

    return run


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """Run a playbook, site.yml if no other is named, with arguments and settings as `make deploy` does."""

    def run(
        *arguments: str,
        playbook: str = "site.yml",
        inventory: str = INVENTORY,
        env: dict[str, str] | None = None,
        seconds: float = 900,
        **values: Any,
    ) -> Run:
        command = ["ansible-playbook", "-i", inventory, playbook, *arguments]
        if values:
            # In a file: a command line is there for everyone to see, and some values are passwords.
            extra = tmp_path_factory.mktemp("settings") / "values.json"
            extra.write_text(json.dumps(values))
            command += ["-e", f"@{extra}"]
        began = time.monotonic()
        result = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=seconds,
            check=False,
        )
        return Run(result.returncode, result.stdout, time.monotonic() - began)

    return run


@pytest.fixture(scope="session", autouse=True)
def _second_stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Where the tests are told to use the second stack (INVENTORY=tests/e2e/second), it is there while they run.

    Its namespace is that of the kubeconfig's context, so that commands work as typed.
    """
    if (ROOT / INVENTORY).resolve() != SECOND:
        yield
        return
    kubeconfig = tmp_path_factory.mktemp("second") / "kubeconfig"
    shutil.copyfile(os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config", kubeconfig)
    with pytest.MonkeyPatch.context() as patch:
        # Before any other fixture reads the settings, which name it.
        patch.setenv("KUBECONFIG", str(kubeconfig))
        site, kubectl, settings = (request.getfixturevalue(name) for name in ("site", "kubectl", "settings"))
        namespace = settings["stack_namespace"]
        kubectl(f"config set-context {settings['stack_context']} --namespace={namespace}")
        try:
            site().succeeded()
            yield
        finally:
            kubectl(f"delete namespace {namespace} --ignore-not-found --wait=false")


@pytest.fixture(scope="session")
def refuse(
    site: Callable[..., Run], stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, list[str]]]:
    """Run site.yml over machines with wrong settings, and return what it says to each; nothing may be touched."""

    def run(machines: dict[str, dict[str, Any]], env: dict[str, str] | None = None) -> dict[str, list[str]]:
        inventory = tmp_path_factory.mktemp("refused") / "hosts.json"
        local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
        inventory.write_text(json.dumps({"stack": {"children": {"refused": {"hosts": machines, "vars": local}}}}))
        before = stack.versions()
        as_json = {
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.json",
            "ANSIBLE_JSON_INDENT": "0",
        }
        result = site("-i", str(inventory), "--limit", "refused", env={**as_json, **(env or {})})
        assert result.code == 2, result.output[-3000:]
        assert stack.versions() == before, "something was touched"
        document = json.loads(result.output[result.output.index("{") : result.output.rindex("}") + 1])
        messages: dict[str, list[str]] = {}
        for play in document["plays"]:
            for task in play["tasks"]:
                for host, said in task["hosts"].items():
                    if said.get("failed"):
                        failed = [said, *(item for item in said.get("results", []) if item.get("failed"))]
                        messages.setdefault(host, []).extend(str(item.get("msg")) for item in failed)
        return messages

    return run


# Which files belong to which part of the stack, so that `make test-e2e ARGS='-m backup'` runs one alone.
AREAS = {
    "api": ["api", "fuzz", "rollout", "own_app", "autoscaling"],
    "backup": ["backup", "bucket"],
    "deploy": [
        "runs",
        "refused",
        "help",
        "own_values",
        "existing_cluster",
        "upgrade",
        "docs",
        "kubectl",
        "developer",
        "one_tag",
        "parameters",
        "image",
    ],
    # A cluster of its own, which takes both CPUs: `make test-docker-driver`.
    "docker_driver": ["docker_driver", "docker_nodes"],
    "faults": ["faults", "drill"],
    "monitoring": ["monitoring"],
    "pgadmin": ["pgadmin"],
    "security": ["secrets", "network", "rotate", "tls", "issuer", "vault", "sbom"],
    "status": ["status"],
}


def pytest_configure(config: pytest.Config) -> None:
    for area in AREAS:
        config.addinivalue_line("markers", f"{area}: an area of the stack")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with its area; what takes parts of the stack down comes late, and what takes all down last."""
    areas = {f"test_{name}": area for area, names in AREAS.items() for name in names}
    for item in items:
        item.add_marker(areas[item.path.stem])
    items.sort(key=lambda item: [item.get_closest_marker(name) is not None for name in ("alone", "disruptive")])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Add how long each part of each test took, in seconds, to what `make test` shows the slowest of."""
    reports = [report for some in terminalreporter.stats.values() for report in some]
    lines = [f"{one.duration:7.1f} {one.when:8} {one.nodeid}\n" for one in reports if getattr(one, "duration", 0) > 1]
    DURATIONS.parent.mkdir(exist_ok=True)
    with DURATIONS.open("a") as file:
        file.writelines(lines)
