"""Backups to a bucket: a stack of its own, with Versity's S3 gateway as the bucket's server."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import self_signed
from conftest import Run, Stack, until

from stack import gotools

pytestmark = pytest.mark.beside

Kubectl = Callable[..., str]
Site = Callable[..., Run]

NAMESPACE = "bucket"
# Outside of the stack's namespace, as a bucket is.
SERVER = "bucket-server"
HOST = f"s3.{SERVER}.svc"
PORT = 7070
KEY, KEY_SECRET = "made-up-key", "made-up-key-secret"
CHECKSUM = "SELECT count(*), sum(hashtext(kept::text)) FROM kept"
SMALL = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}


def server(program: Path, image: str, certificate: dict[str, str]) -> list[dict[str, Any]]:
    """The objects of a bucket's server, whose program lies on the node; the image gives it no more than folders."""
    meta = {"namespace": SERVER, "name": "s3", "labels": {"app": "s3"}}
    command = (
        f"mkdir -p /data/files/backups /data/attributes && exec /program/{program.name} --port :$PORT"
        " --cert /certificate/tls.crt --key /certificate/tls.key"
        " --health /healthz posix --sidecar /data/attributes /data/files"
    )
    environment = {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": KEY_SECRET, "PORT": str(PORT)}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SERVER}},
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": meta,
            "data": {file: base64.b64encode(text.encode()).decode() for file, text in certificate.items()},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            "spec": {"selector": {"app": "s3"}, "ports": [{"port": PORT}]},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": meta,
            "spec": {
                "terminationGracePeriodSeconds": 1,
                "containers": [
                    {
                        "name": "s3",
                        "image": image,
                        "command": ["sh", "-c", command],
                        # The cache's folders are root's alone.
                        "securityContext": {"runAsUser": 0},
                        "env": [{"name": key, "value": value} for key, value in environment.items()],
                        "readinessProbe": {
                            "httpGet": {"scheme": "HTTPS", "port": PORT, "path": "/healthz"},
                            "periodSeconds": 1,
                        },
                        "volumeMounts": [
                            {"name": "program", "mountPath": "/program", "readOnly": True},
                            {"name": "certificate", "mountPath": "/certificate", "readOnly": True},
                            {"name": "data", "mountPath": "/data"},
                        ],
                    }
                ],
                "volumes": [
                    {"name": "program", "hostPath": {"path": str(program.parent)}},
                    {"name": "certificate", "secret": {"secretName": "s3"}},
                    {"name": "data", "emptyDir": {}},
                ],
            },
        },
    ]


@pytest.fixture(scope="module")
def values(stack: Stack, kubectl: Kubectl) -> Iterator[dict[str, Any]]:
    """The settings of a stack whose backups go to the bucket."""
    if stack.settings["minikube_provider"] != "offline":
        pytest.skip("the bucket's server lies on this machine, which is the node in the offline build only")
    image = stack.get("Deployment", "flask-app").spec.template.spec.containers[0].image
    certificate = self_signed(HOST, HOST, is_authority=True)
    # Of a run that was broken off.
    kubectl(f"delete namespace {NAMESPACE} {SERVER} --ignore-not-found --timeout=120s")
    try:
        objects = {"apiVersion": "v1", "kind": "List", "items": server(gotools.build("versitygw"), image, certificate)}
        kubectl("apply -f -", stdin=json.dumps(objects))
        kubectl(f"-n {SERVER} wait pod s3 --for=condition=Ready --timeout=60s")
        yield {
            "stack_namespace": NAMESPACE,
            "stack_ca_file": "",
            "postgres_instances": 1,
            "postgres_resources": SMALL,
            "postgres_backup_repository": "s3",
            "postgres_backup_s3_endpoint": f"{HOST}:{PORT}",
            "postgres_backup_s3_bucket": "backups",
            "postgres_backup_s3_region": "us-east-1",
            "postgres_backup_s3_uri_style": "path",
            "postgres_backup_s3_ca": certificate["tls.crt"],
            "postgres_backup_s3_key": KEY,
            "postgres_backup_s3_key_secret": KEY_SECRET,
            "postgres_backup_encrypted": True,
        }
    finally:
        kubectl(f"delete namespace {NAMESPACE} {SERVER} --ignore-not-found --wait=false")


@pytest.fixture
def sql(kubectl: Kubectl) -> Callable[[str], str]:
    """Run a statement in that stack's database."""
    psql = "psql -XAtq -v ON_ERROR_STOP=1 -U postgres -d app"
    return lambda text: kubectl(f"-n {NAMESPACE} exec service/postgres -c postgres -- {psql} -c '{text}'").strip()


@pytest.mark.timeout(1800)
def test_a_new_cluster_gets_its_rows_from_the_bucket(
    site: Site, kubectl: Kubectl, values: dict[str, Any], sql: Callable[[str], str]
) -> None:
    """As docs/backups.md says: the bucket and the passphrase are all that is left of the stack before it."""
    tags = ("--tags", "tls,postgres")
    site(*tags, **values).succeeded()
    sql("CREATE TABLE kept AS SELECT number, md5(number::text) AS text FROM generate_series(1, 5000) AS number")
    wanted = sql(CHECKSUM)

    def archive() -> None:
        written = sql("SELECT pg_walfile_name(pg_switch_wal())")
        until(lambda: sql("SELECT last_archived_wal FROM pg_stat_archiver") >= written)

    def passphrase() -> str:
        return kubectl(f"-n {NAMESPACE} get secret postgres-backup -o jsonpath={{.data.PGBACKREST_REPO1_CIPHER_PASS}}")

    # What no backup has.
    archive()
    encoded = passphrase()
    kubectl(f"delete namespace {NAMESPACE} --timeout=120s")

    values = {**values, "postgres_backup_passphrase": base64.b64decode(encoded).decode()}
    stopped = site(*tags, **values)
    assert stopped.code == 2
    assert "do not match the database" in stopped.output
    site(playbook="playbooks/restore.yml", restore_unarchived=True, **values).succeeded()
    assert sql(CHECKSUM) == wanted
    # With the backup that the run before could not make.
    site(*tags, **values).succeeded()
    assert sql(CHECKSUM) == wanted

    # Another repository has a backup of its own, and takes what is written from then on.
    moved = {**values, "postgres_backup_s3_path": "/moved"}
    assert "postgres_backup : Apply the Job" in site(*tags, **moved).succeeded().output
    assert "postgres_backup : Apply the Job" not in site(*tags, **moved).succeeded().output
    archive()
    # What is in a repository can still be read.
    moved["postgres_backup_passphrase"] = ""
    site(*tags, **{**moved, "postgres_backup_enabled": False}).succeeded()
    assert passphrase() == encoded
    assert "database system was shut down at" in kubectl(f"-n {NAMESPACE} logs postgres-0 -c postgres")
    refused = site(*tags, **{**moved, "postgres_backup_passphrase": "another passphrase"})
    assert refused.code == 2
    assert "postgres_backup_passphrase" in refused.output
    assert "another passphrase" not in refused.output
