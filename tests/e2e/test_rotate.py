"""Rotations while a client writes over HTTPS: no request fails, what is new is used, what was before is refused.

The long form, `ROTATIONS=20 make test-e2e ARGS=tests/e2e/test_rotate.py`, rotates one kind after the other.
"""

from __future__ import annotations

import itertools
import os
import shlex
import ssl
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests
from conftest import NOT_YET, Run, Stack, console_connects, until

pytestmark = pytest.mark.second

Kubectl = Callable[..., str]

KINDS = ["database", "token", "certificates", "pgadmin", "ca"]
ROTATIONS = list(itertools.islice(itertools.cycle(KINDS), int(os.environ.get("ROTATIONS", "0")))) or ["all"]
PER_SECOND = 10
REFUSED_WITHIN_S = 60.0


class Writer(threading.Thread):
    """Writes rows as any client would, over connections of their own, with the CA and the token as they are now."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.stack = stack
        self.written = 0
        self.failures: list[str] = []
        self.stopped = threading.Event()

    def run(self) -> None:
        began = time.monotonic()
        for number in itertools.count():
            if self.stopped.wait(max(0.0, began + number / PER_SECOND - time.monotonic())):
                return
            try:
                token = self.stack.secret("flask-app-secret")["API_TOKEN"]
                with requests.Session() as session:
                    session.trust_env = False
                    session.verify = str(self.stack.ca_file)
                    headers = {"Authorization": f"Bearer {token}"}
                    url = f"{self.stack.app_url}/api/data"
                    answer = session.post(url, json={"name": f"row {number}"}, headers=headers, timeout=10)
                problem = "" if answer.status_code == 201 else f"{answer.status_code} {answer.text[:200]}"
            except NOT_YET as error:
                problem = repr(error)
            if problem:
                self.failures.append(f"{time.strftime('%X')} {problem}")
            else:
                self.written += 1

    def stop(self) -> None:
        self.stopped.set()
        self.join(30)


class Credential(threading.Thread):
    """Follows a credential through a rotation.

    Attributes:
        replaced_s: When another one was there, in seconds on the clock of `time.monotonic`; 0 while none was.
        refused_s: When the former one was refused, likewise.
    """

    def __init__(self, name: str, read: Callable[[], str], is_refused: Callable[[str], bool]) -> None:
        super().__init__(name=name, daemon=True)
        self.read, self.is_refused = read, is_refused
        self.former = read()
        assert not is_refused(self.former)
        self.replaced_s = self.refused_s = 0.0
        self.stopped = threading.Event()

    def run(self) -> None:
        # Each look starts programs, and six of them at once would slow down what they look at.
        while not self.refused_s and not self.stopped.wait(2):
            try:
                if not self.replaced_s and self.read() != self.former:
                    self.replaced_s = time.monotonic()
                if self.replaced_s and self.is_refused(self.former):
                    self.refused_s = time.monotonic()
            except NOT_YET:
                # It is just restarting, which refuses nobody.
                continue


@pytest.fixture
def writer(stack: Stack) -> Iterator[Writer]:
    writer = Writer(stack)
    writer.start()
    until(lambda: writer.written > PER_SECOND, 30, "nothing was written")
    yield writer
    writer.stop()


def credentials(stack: Stack, kubectl: Kubectl, kind: str) -> list[Credential]:
    """Those that a rotation of a kind replaces."""

    def login(secret: str, user: str, password: str) -> Credential:
        def is_refused(former: str) -> bool:
            name, _, word = former.partition(" ")
            line = f"env PGPASSWORD={word} psql -h postgres -U {name} -d postgres -c {shlex.quote('SELECT 1')}"
            try:
                kubectl(f"exec statefulset/postgres -- {line}")
            except AssertionError as error:
                if "password authentication failed" in str(error):
                    return True
                raise
            return False

        def read() -> str:
            values = stack.secret(secret)
            return f"{values[user]} {values[password]}"

        return Credential(secret, read, is_refused)

    def token_is_refused(former: str) -> bool:
        answer = stack.api("/api/data", "POST", json={"name": 1}, headers={"Authorization": f"Bearer {former}"})
        assert answer.status_code in (401, 422), answer.text
        return answer.status_code == 401

    def account_is_refused(former: str) -> bool:
        return stack.pgadmin_login(former) == "/login"

    def account() -> str:
        return stack.secret("pgadmin-secret")["PGADMIN_DEFAULT_PASSWORD"]

    found = {
        "database": [
            login("flask-app-db", "DB_USER", "DB_PASSWORD"),
            login("pgadmin-db", "DB_USER", "DB_PASSWORD"),
            login("prometheus-db", "DB_USER", "DB_PASSWORD"),
            login("postgres-secret", "POSTGRES_USER", "POSTGRES_PASSWORD"),
        ],
        "token": [Credential("API token", lambda: stack.secret("flask-app-secret")["API_TOKEN"], token_is_refused)],
        "pgadmin": [Credential("pgAdmin", account, account_is_refused)],
    }
    return [one for name, some in found.items() if kind in (name, "all") for one in some]


def database_certificate(kubectl: Kubectl) -> str:
    """The certificate that PostgreSQL shows, verified by the CA that a pod of the service has."""
    client = "openssl s_client -starttls postgres -connect postgres:5432"
    text = kubectl(f"exec deployment/flask-app -- {client} -CAfile /etc/ssl/stack/ca.crt -verify_return_error")
    return text[text.index("-----BEGIN") : text.index("-----END")]


def rotate(stack: Stack, kubectl: Kubectl, site: Callable[..., Run], kind: str) -> str:
    """Rotate once, check that what is new is used and what was before refused, and say how long it took."""
    host = (str(stack.settings["stack_app_host"]), 443)
    authority = stack.ca_file.read_text()
    shown = ssl.get_server_certificate(host, timeout=10), database_certificate(kubectl)
    followed = credentials(stack, kubectl, kind)
    before = stack.secret_values()
    for credential in followed:
        credential.start()

    run = site("-vvv", "-e", f"rotate={kind}", playbook="playbooks/rotate.yml").succeeded()

    assert stack.secrets_shown(run.output) == []
    assert not [name for name, parts in before.items() if any(part in run.output for part in parts)]
    until(lambda: all(one.refused_s for one in followed), REFUSED_WITHIN_S, "what was before is still accepted")
    times = {one.name: round(one.refused_s - one.replaced_s, 1) for one in followed}
    if kind in ("certificates", "ca", "all"):
        assert ssl.get_server_certificate(host, timeout=10) != shown[0]
        assert database_certificate(kubectl) != shown[1]
    assert (stack.ca_file.read_text() != authority) == (kind in ("ca", "all"))
    assert stack.ca_file.read_text().count("BEGIN CERTIFICATE") == 1
    assert console_connects(stack, kubectl)
    return f"{kind}: {run.seconds:.0f} s, what was before refused after {times} s"


@pytest.mark.timeout(600 + 120 * len(ROTATIONS))
def test_no_request_fails_while_secrets_are_replaced(
    stack: Stack, kubectl: Kubectl, site: Callable[..., Run], writer: Writer
) -> None:
    for number, kind in enumerate(ROTATIONS, 1):
        before = writer.written
        result = rotate(stack, kubectl, site, kind)
        print(f"{number}. {result}, {writer.written} rows written, {len(writer.failures)} refused")
        assert writer.failures == []
        assert writer.written > before
    again = site("--diff").succeeded()
    assert again.changes == []


def test_a_rotation_that_broke_off_ends_no_login_in_use(
    stack: Stack, kubectl: Kubectl, site: Callable[..., Run], sql: Callable[..., str], writer: Writer
) -> None:
    """The database has the next login, and the service could not be rolled out with it."""
    former = stack.secret("flask-app-db")
    (login, *_) = credentials(stack, kubectl, "database")
    too_large = {"requests": {"cpu": "64", "memory": "128Mi"}, "limits": {"cpu": "64", "memory": "256Mi"}}
    broken = {"rotate": "database", "flask_app_resources": too_large, "flask_app_rollout_timeout": 10}
    assert site(playbook="playbooks/rotate.yml", **broken).code == 2
    assert stack.secret("flask-app-db")["DB_USER"] != former["DB_USER"]

    # A run that leaves the service as it is, and connections that are made after it.
    site("--tags", "postgres").succeeded()
    sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{former['DB_USER']}'")
    written = writer.written
    until(lambda: writer.written > written + 2 * PER_SECOND, 30, "the service does not get in any more")
    assert not login.is_refused(login.former)

    failures = len(writer.failures)
    site("--tags", "flask_app").succeeded()
    until(stack.is_settled, 120, "the former pods are still there")
    site("--tags", "postgres").succeeded()
    assert login.is_refused(login.former)
    assert writer.failures[failures:] == []
