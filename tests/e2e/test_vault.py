"""The Secrets filled from a real OpenBao, and what a run says where it cannot read them from it."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, Stack, output, until
from load import steady_load

pytestmark = pytest.mark.second

Site = Callable[..., Run]
Kubectl = Callable[..., str]

# The variables that are read, and where their values are to be in the end.
FILLED = {
    "postgres_password": ("postgres-secret", "POSTGRES_PASSWORD"),
    "postgres_app_password": ("flask-app-db", "DB_PASSWORD"),
    "postgres_console_password": ("pgadmin-db", "DB_PASSWORD"),
    "pgadmin_password": ("pgadmin-secret", "PGADMIN_DEFAULT_PASSWORD"),
    "flask_app_api_token": ("flask-app-secret", "API_TOKEN"),
}
PER_SECOND = 20


@dataclass(frozen=True)
class Server:
    """A server that keeps everything in memory, with a certificate of an authority of its own.

    Attributes:
        url: Its address, on loopback.
        ca_file: The authority.
        root: The token of its administrator.
    """

    url: str
    ca_file: Path
    root: str

    def bao(self, *arguments: str, stdin: str | None = None) -> str:
        """Run its command line as the administrator and return what it prints."""
        environment = {"BAO_ADDR": self.url, "BAO_CACERT": str(self.ca_file), "BAO_TOKEN": self.root, "no_proxy": "*"}
        return output("bao", *arguments, environment=environment, stdin=stdin, seconds=30).strip()

    def put(self, path: str, values: dict[str, str]) -> None:
        self.bao("kv", "put", "-mount=secret", path, "-", stdin=json.dumps(values))

    @property
    def settings(self) -> dict[str, Any]:
        return {"vault_url": self.url, "vault_ca_file": str(self.ca_file)}


@contextmanager
def started(folder: Path) -> Iterator[Server]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = secrets.token_hex(20)
    command = ["bao", "server", "-dev", "-dev-tls", f"-dev-tls-cert-dir={folder}", "-dev-no-store-token"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, f"-dev-listen-address=127.0.0.1:{port}"],
            env={**os.environ, "BAO_DEV_ROOT_TOKEN_ID": root},
            stdout=log,
            stderr=log,
        )
    server = Server(f"https://127.0.0.1:{port}", folder / "vault-ca.pem", root)
    try:
        until(lambda: server.ca_file.exists() and server.bao("status"), 30, "the server does not answer")
        yield server
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, stack: Stack) -> Iterator[Server]:
    """A server on which the policy `stack` may read what is the stack's, also by AppRole."""
    assert shutil.which("bao"), "bao comes with requirements-dev.txt"
    with started(tmp_path_factory.mktemp("bao")) as server:
        own = f"secret/data/{stack.namespace}"
        rules = "".join(f'path "{path}" {{ capabilities = ["read"] }}\n' for path in (own, f"{own}/*"))
        server.bao("policy", "write", "stack", "-", stdin=rules)
        server.bao("auth", "enable", "approle")
        server.bao("write", "auth/approle/role/stack", "token_policies=stack")
        yield server


@pytest.fixture(scope="module")
def token(server: Server) -> str:
    return server.bao("token", "create", "-policy=stack", "-field=token")


@pytest.fixture(scope="module")
def values(server: Server, stack: Stack) -> dict[str, str]:
    """What the server holds for the stack."""
    values = {name: secrets.token_hex(20) for name in FILLED}
    server.put(stack.namespace, values)
    return values


REFUSED = {
    "vault_url.sealed": "it is sealed",
    "vault_url.unknown_authority": "certificate verify failed",
    "vault_path.denied": "the login may not read secret/data/of-somebody-else",
    "vault_path.nothing_there": "has no such secret",
    "vault_path.incomplete": "lacks pgadmin_password, flask_app_api_token, postgres_backup_passphrase;",
    "vault_role_id": "refuses it with the secret id",
}


@pytest.fixture(scope="module")
def refusals(
    refuse: Callable[..., dict[str, list[str]]],
    server: Server,
    token: str,
    stack: Stack,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, list[str]]:
    some = ["postgres_password", "postgres_app_password", "postgres_console_password"]
    server.put(f"{stack.namespace}/incomplete", dict.fromkeys(some, "something"))
    with started(tmp_path_factory.mktemp("sealed")) as sealed:
        sealed.bao("operator", "seal")
        machines = {
            "vault_url.sealed": sealed.settings,
            "vault_url.unknown_authority": {"vault_url": server.url},
            "vault_path.denied": {**server.settings, "vault_path": "of-somebody-else"},
            "vault_path.nothing_there": {**server.settings, "vault_path": f"{stack.namespace}/nothing"},
            "vault_path.incomplete": {
                **server.settings,
                "vault_path": f"{stack.namespace}/incomplete",
                "postgres_backup_encrypted": True,
            },
            "vault_role_id": {**server.settings, "vault_role_id": "nobody"},
        }
        return refuse(machines, env={"VAULT_TOKEN": token, "VAULT_SECRET_ID": "nothing"})


@pytest.mark.parametrize("machine", REFUSED)
def test_refused_by_name(refusals: dict[str, list[str]], machine: str) -> None:
    (message,) = refusals[machine]
    assert machine.split(".")[0] in message
    assert REFUSED[machine] in message


def test_rotations_are_refused(site: Site, stack: Stack, server: Server) -> None:
    before = stack.versions()
    run = site("-e", "rotate=all", playbook="playbooks/rotate.yml", **server.settings)
    assert run.code == 2
    assert "database, pgadmin, token cannot be rotated here" in " ".join(run.output.split())
    assert stack.versions() == before


def test_the_secrets_are_what_the_server_holds(
    site: Site, stack: Stack, server: Server, token: str, values: dict[str, str]
) -> None:
    tags = "postgres,pgadmin,flask_app"
    run = site("-vvv", "--diff", "--tags", tags, env={"VAULT_TOKEN": token}, **server.settings).succeeded()
    assert {name: stack.secret(secret)[key] for name, (secret, key) in FILLED.items()} == values
    until(lambda: stack.write("with the token of the server"), 15)
    until(lambda: stack.pgadmin_login(values["pgadmin_password"]) == "/browser/", 30)
    assert stack.secrets_shown(run.output) == []
    assert not [name for name, value in {**values, "token": token}.items() if value in run.output]


def test_a_value_changed_there_comes_with_the_next_run(
    site: Site, stack: Stack, kubectl: Kubectl, server: Server, values: dict[str, str]
) -> None:
    """By AppRole, while clients read; what has not changed there stays as it is."""
    former, changed = values["postgres_password"], secrets.token_hex(20)
    server.bao("kv", "patch", "-mount=secret", stack.namespace, "postgres_password=-", stdin=changed)
    role = server.bao("read", "-field=role_id", "auth/approle/role/stack/role-id")
    secret = server.bao("write", "-force", "-field=secret_id", "auth/approle/role/stack/secret-id")
    before = stack.versions()

    with steady_load(stack, PER_SECOND) as load:
        until(lambda: load.answered > PER_SECOND, 30, "nothing is answered")
        site(vault_role_id=role, env={"VAULT_SECRET_ID": secret}, **server.settings).succeeded()

    assert load.failures == []
    after = stack.versions()
    # The ConfigMap is where it is noted which logins the database has.
    assert {name for name in after if after[name] != before.get(name)} == {
        "ConfigMap/postgres-config",
        "Secret/postgres-patroni",
        "Secret/postgres-secret",
    }
    login = 'exec deployment/flask-app -- env PGPASSWORD={} psql -h postgres -U postgres -Atc "SELECT 42"'
    assert kubectl(login.format(changed)).strip() == "42"
    with pytest.raises(AssertionError, match="password authentication failed"):
        kubectl(login.format(former))
