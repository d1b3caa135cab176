"""What the roles postgres_backup and postgres_pooler refuse of their settings, all at once."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from issued import issued
from role_settings import defaults

from stack.validation import Problem, lines, postgres_backup, postgres_pooler

# Those whose default is another role's.
BACKUP: dict[str, Any] = {
    **defaults("postgres_backup"),
    "postgres_backup_storage_class": "standard",
    "postgres_backup_s3_path": "/flask-postgres",
    "postgres_backup_instances": 2,
    "postgres_backup_database_storage_size": "5Gi",
}
POOLER: dict[str, Any] = {
    **defaults("postgres_pooler"),
    "postgres_pooler_enabled": True,
    "postgres_pooler_base_image": "docker.io/library/debian:trixie-slim",
    "postgres_pooler_image_repository": "",
    "postgres_pooler_client_certificates": False,
}
BUCKET = {
    "postgres_backup_repository": "s3",
    "postgres_backup_s3_endpoint": "s3.example.com:9000",
    "postgres_backup_s3_bucket": "backups",
    "postgres_backup_s3_region": "here",
    "postgres_backup_s3_key": "someone",
    "postgres_backup_s3_key_secret": "something",
}


def backup(**changes: Any) -> list[str]:
    return [problem.name for problem in postgres_backup.problems({**BACKUP, **changes})]


def pooler(**changes: Any) -> list[str]:
    return [problem.name for problem in postgres_pooler.problems({**POOLER, **changes})]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        BUCKET,
        {"postgres_backup_full_schedule": "@weekly", "postgres_backup_incr_schedule": "*/30 1-3 * * mon-fri"},
        {"postgres_backup_queue_size": "1Gi"},
        {"postgres_backup_restore_test_schedule": ""},
        {"postgres_backup_enabled": False, "postgres_backup_retention": 0},
    ],
)
def test_backups_that_work_are_taken(changes: dict[str, Any]) -> None:
    assert backup(**changes) == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("postgres_backup_storage_size", {"postgres_backup_storage_size": "100Mi"}),
        ("postgres_backup_full_schedule", {"postgres_backup_full_schedule": "30 25 * * 0"}),
        ("postgres_backup_incr_schedule", {"postgres_backup_incr_schedule": "nightly"}),
        ("postgres_backup_retention", {"postgres_backup_retention": 0}),
        ("postgres_backup_resources", {"postgres_backup_resources": {"limits": {"memory": "a lot"}}}),
        ("postgres_backup_restore_test_schedule", {"postgres_backup_restore_test_schedule": "sundays"}),
        ("postgres_backup_restore_test_max_age", {"postgres_backup_restore_test_max_age": 0}),
        ("postgres_backup_restore_test_requests", {"postgres_backup_restore_test_requests": {"memory": "a lot"}}),
        (
            "postgres_backup_queue_size",
            {"postgres_backup_queue_size": "5Gi", "postgres_backup_database_storage_size": "1Gi"},
        ),
        ("postgres_backup_queue_size", {"postgres_backup_queue_size": "16Mi"}),
        ("postgres_backup_timeout", {"postgres_backup_timeout": 10}),
        ("postgres_backup_passphrase", {"postgres_backup_passphrase": "short"}),
        ("postgres_backup_s3_bucket", {**BUCKET, "postgres_backup_s3_bucket": ""}),
        ("postgres_backup_s3_endpoint", {**BUCKET, "postgres_backup_s3_endpoint": "https://s3.example.com"}),
        ("postgres_backup_s3_path", {**BUCKET, "postgres_backup_s3_path": "no/slash"}),
        ("postgres_backup_s3_ca", {**BUCKET, "postgres_backup_s3_ca": "/etc/ssl/ca.crt"}),
    ],
)
def test_backups_that_cannot_work_are_refused_by_name(name: str, changes: dict[str, Any]) -> None:
    assert backup(**changes) == [name]


def test_everything_is_reported_at_once() -> None:
    found = backup(postgres_backup_retention=0, postgres_backup_timeout=1, postgres_backup_passphrase="short")
    assert found == ["postgres_backup_retention", "postgres_backup_timeout", "postgres_backup_passphrase"]


def test_no_line_has_the_passphrase() -> None:
    found = " ".join(lines(postgres_backup.problems({**BACKUP, "postgres_backup_passphrase": "a secret"})))
    assert "postgres_backup_passphrase" in found
    assert "a secret" not in found


CLAIM = {"resources": {"requests": {"storage": "5Gi"}}, "storageClassName": "standard"}
RUNNING: dict[str, Any] = {
    **BACKUP,
    "found_claim": CLAIM,
    "volume_grows": False,
    "found_cipher": "none",
    "found_passphrase": "",
}
ENCRYPTED = {"found_cipher": "aes-256-cbc", "found_passphrase": "the one it was", "postgres_backup_encrypted": True}


def changed(changes: dict[str, Any]) -> list[Problem]:
    return postgres_backup.running_problems({**RUNNING, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"found_claim": {}, "found_cipher": ""},
        {"postgres_backup_storage_size": "5120Mi"},
        {"postgres_backup_storage_size": "6Gi", "volume_grows": True},
        {"postgres_backup_storage_class": ""},
        ENCRYPTED,
        {**ENCRYPTED, "postgres_backup_passphrase": "the one it was"},
        {"postgres_backup_encrypted": True, "postgres_backup_enabled": False},
    ],
)
def test_what_fits_the_repository_is_taken(changes: dict[str, Any]) -> None:
    assert changed(changes) == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("postgres_backup_storage_size", {"postgres_backup_storage_size": "6Gi"}),
        ("postgres_backup_storage_size", {"postgres_backup_storage_size": "4Gi", "volume_grows": True}),
        ("postgres_backup_storage_class", {"postgres_backup_storage_class": "fast"}),
        ("postgres_backup_encrypted", {"postgres_backup_encrypted": True}),
        ("postgres_backup_encrypted", {**ENCRYPTED, "postgres_backup_encrypted": False}),
        ("postgres_backup_passphrase", {**ENCRYPTED, "postgres_backup_passphrase": "another"}),
    ],
)
def test_what_a_repository_cannot_become_is_refused_by_name(name: str, changes: dict[str, Any]) -> None:
    (problem,) = changed(changes)
    assert problem.name == name
    assert "the one it was" not in str(problem)


def test_a_pooler_that_works_is_taken() -> None:
    assert pooler() == []
    assert pooler(postgres_pooler_enabled=False, postgres_pooler_replicas=0) == []


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("postgres_pooler_enabled", {"postgres_pooler_client_certificates": True}),
        ("postgres_pooler_replicas", {"postgres_pooler_replicas": 0}),
        ("postgres_pooler_pool_size", {"postgres_pooler_pool_size": 0}),
        ("postgres_pooler_max_clients", {"postgres_pooler_max_clients": 0}),
        ("postgres_pooler_query_timeout", {"postgres_pooler_query_timeout": 0}),
        ("postgres_pooler_resources", {"postgres_pooler_resources": {"limits": {"cpu": "a lot"}}}),
    ],
)
def test_a_pooler_that_cannot_work_is_refused_by_name(name: str, changes: dict[str, Any]) -> None:
    assert pooler(**changes) == [name]


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[int]:
    """The port of a server on this machine that refuses every request, as a bucket does without a key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(issued("s3.example.com").save(tmp_path))

    class Refuses(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(403)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Refuses) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_an_endpoint_that_answers_anything_is_taken(answering: int) -> None:
    settings = {**BACKUP, **BUCKET, "postgres_backup_s3_endpoint": f"127.0.0.1:{answering}"}
    assert postgres_backup.unreachable(settings) == []


def test_an_endpoint_that_does_not_answer_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
        (problem,) = postgres_backup.unreachable({**BACKUP, **BUCKET, "postgres_backup_s3_endpoint": endpoint})
    assert str(problem).startswith(f"postgres_backup_s3_endpoint is {endpoint}: it does not answer: ")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {**BUCKET, "postgres_backup_enabled": False, "postgres_backup_s3_endpoint": "127.0.0.1:1"},
        {**BUCKET, "postgres_backup_s3_endpoint": "bucket.storage.svc:9000"},
    ],
)
def test_an_endpoint_of_the_cluster_is_not_asked(changes: dict[str, Any]) -> None:
    assert postgres_backup.unreachable({**BACKUP, **changes}) == []
