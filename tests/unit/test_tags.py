"""One tag alone is safe: for each setting that crosses from one role to another, what a run brings along or refuses."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from stack.postgres.passwords import NOTE_ANNOTATION, login_note
from stack.tags import HARMLESS, ROLES, SETTINGS, Run, plan, roles_of_run

REPOSITORY = Path(__file__).parents[2]


def certificate(*names: str, issuer: str = "stack CA") -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


DEFAULTS: dict[str, Any] = {
    "flask_app_gateway": {},
    "flask_app_host": "app.example.com",
    "flask_app_ingress_class": "nginx",
    "flask_app_paths": ["/"],
    "flask_app_tls_secret": "tls-secret",
    "minikube_managed": True,
    "monitoring_enabled": True,
    "monitoring_ingress_targets": ["203.0.113.1:8083"],
    "monitoring_nodes": ["203.0.113.1/32"],
    "namespace_bucket": [],
    "namespace_bucket_ports": [443],
    "namespace_ingress": [{"namespaceSelector": {"matchLabels": {"name": "ingress"}}}],
    "namespace_name": "flask-postgres",
    "namespace_policies": True,
    "pgadmin_gateway": {},
    "pgadmin_host": "pgadmin.example.com",
    "pgadmin_ingress_class": "nginx",
    "pgadmin_path": "/",
    "pgadmin_tls_secret": "tls-secret",
    "postgres_app_password": "",
    "postgres_app_user": "flask_app",
    "postgres_backup_repository": "volume",
    "postgres_backup_s3_endpoint": "",
    "postgres_client_certificates": False,
    "postgres_console_password": "",
    "postgres_console_user": "pgadmin",
    "postgres_database": "app",
    "postgres_metrics_enabled": True,
    "postgres_monitoring_password": "",
    "postgres_monitoring_user": "monitoring",
    "postgres_pooler_enabled": False,
    "tls_ca_common_name": "stack CA",
    "tls_clients": False,
    "tls_clients_app_user": "flask_app",
    "tls_clients_console_user": "pgadmin",
    "tls_hosts": ["app.example.com", "pgadmin.example.com"],
    "tls_issuer": "",
}
PROMETHEUS = """
scrape_configs:
  - job_name: prometheus
    static_configs: [{targets: [localhost:9090]}]
  - job_name: ingress
    static_configs: [{targets: [203.0.113.1:8083]}]
  - job_name: nodes
"""


def login(user: str) -> dict[str, str]:
    return {"DB_NAME": "app", "DB_USER": user, "DB_PASSWORD": f"password-of-{user}"}


def ingress(host: str) -> dict[str, Any]:
    return {"spec": {"ingressClassName": "nginx", "rules": [{"host": host}]}}


def workload(*ports: str) -> dict[str, Any]:
    containers = [{"name": "one", "ports": [{"name": name} for name in ports]}]
    return {"metadata": {"annotations": {}}, "spec": {"template": {"spec": {"containers": containers}}}}


@dataclass
class Cluster:
    """What the namespace role reads of a stack that runs with DEFAULTS."""

    secrets: dict[str, dict[str, str]]
    objects: dict[str, dict[str, Any]]
    policies: dict[str, dict[str, Any]]

    def note_logins(self) -> None:
        """As a rollout of everything does."""
        users = {
            "Deployment/flask-app": "flask-app-db",
            "Deployment/pgadmin": "pgadmin-db",
            "StatefulSet/prometheus": "prometheus-db",
        }
        for name, secret in users.items():
            self.objects[name]["metadata"]["annotations"][NOTE_ANNOTATION] = login_note(self.secrets, secret)


def deployed() -> Cluster:
    secrets = {
        "stack-ca": {"tls.crt": "made-up"},
        "tls-secret": {"tls.crt": certificate("app.example.com", "pgadmin.example.com")},
        "postgres-tls": {},
        "postgres-backup-tls": {},
        "postgres-secret": {"SALT": "salt"},
        "flask-app-db": login("flask_app"),
        "pgadmin-db": login("pgadmin"),
        "prometheus-db": login("monitoring"),
        "postgres-backup": {},
    }
    objects = {
        "Deployment/flask-app": workload("http"),
        "Deployment/pgadmin": workload("http"),
        "StatefulSet/prometheus": workload("http"),
        "StatefulSet/postgres": workload("postgresql", "metrics"),
        "Ingress/app-ingress": ingress("app.example.com"),
        "Ingress/pgadmin-ingress": ingress("pgadmin.example.com"),
        "ConfigMap/prometheus": {"data": {"prometheus.yml": PROMETHEUS}},
        "ConfigMap/postgres-backup": {"data": {"repository.conf": "repo1-path=/var/lib/pgbackrest"}},
    }
    rule = {"from": DEFAULTS["namespace_ingress"]}
    policies = {app: {"spec": {"ingress": [rule]}} for app in ("flask-app", "pgadmin")}
    cluster = Cluster(secrets, objects, policies)
    cluster.note_logins()
    return cluster


def planned(
    cluster: Cluster, tags: str, settings: dict[str, Any] | None = None, skip: str = ""
) -> tuple[list[str], str]:
    run = Run(
        roles=frozenset(roles_of_run(tags.split(","), skip.split(",") if skip else [])),
        settings={**DEFAULTS, **(settings or {})},
        skipped=frozenset(skip.split(",") if skip else []),
        secrets=cluster.secrets,
        objects=cluster.objects,
        policies=cluster.policies,
    )
    found = plan(run)
    return found.brought, "\n".join(found.problems)


@dataclass
class Case:
    """A run on a healthy stack.

    Attributes:
        tags: As ``--tags`` has them.
        settings: What the run sets otherwise than the run before it.
        brought: The roles that come along.
        refused: A part of each line that the run is refused with.
        before: What was otherwise in the cluster.
    """

    tags: str
    settings: dict[str, Any] = field(default_factory=dict)
    brought: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    before: Callable[[Cluster], Any] = lambda _: None
    skip: str = ""


GATEWAY = {"name": "shared", "namespace": "gateways", "listener": "https"}
FROM_GATEWAY = {"namespace_ingress": [{"namespaceSelector": {"matchLabels": {"name": "gateways"}}}]}
NEW_HOST = {"flask_app_host": "new.example.com", "tls_hosts": ["new.example.com", "pgadmin.example.com"]}
NEW_CONSOLE = {"pgadmin_host": "new.example.com", "tls_hosts": ["app.example.com", "new.example.com"]}
SWAPPED = {"flask_app_host": "pgadmin.example.com", "pgadmin_host": "app.example.com"}
CLIENTS = {"postgres_client_certificates": True, "tls_clients": True}


def with_clients(cluster: Cluster) -> None:
    for name in ("flask-app-db-tls", "flask-app-db-tls-2", "pgadmin-db-tls"):
        cluster.secrets[name] = {}
    cluster.secrets["flask-app-db"]["DB_CLIENT_SECRET"] = "flask-app-db-tls"
    cluster.secrets["pgadmin-db"]["DB_CLIENT_SECRET"] = "pgadmin-db-tls"
    cluster.note_logins()


def with_bucket(cluster: Cluster) -> None:
    cluster.secrets["postgres-backup"] = {"PGBACKREST_REPO1_S3_KEY": "made-up"}
    cluster.objects["ConfigMap/postgres-backup"]["data"] = {
        "repository.conf": "repo1-type=s3\nrepo1-s3-endpoint=s3.example.com:9000\nrepo1-path=/flask-postgres"
    }


def without_prometheus(cluster: Cluster) -> None:
    del cluster.objects["StatefulSet/prometheus"]
    cluster.objects["StatefulSet/postgres"] = workload("postgresql")


def never_deployed(cluster: Cluster) -> None:
    cluster.secrets.clear()
    cluster.objects.clear()
    cluster.policies.clear()


def with_own_certificate(cluster: Cluster) -> None:
    cluster.secrets["tls-secret"] = {"tls.crt": certificate("app.example.com", issuer="somebody else")}


def broken_off(secret: str) -> Callable[[Cluster], None]:
    def change(cluster: Cluster) -> None:
        cluster.secrets[secret]["DB_PASSWORD"] = "of-the-run-before"

    return change


def on_gateway(cluster: Cluster) -> None:
    for name, ingress_name in (("flask-app", "app-ingress"), ("pgadmin", "pgadmin-ingress")):
        rules = cluster.objects.pop(f"Ingress/{ingress_name}")["spec"]["rules"]
        cluster.objects[f"HTTPRoute/{name}"] = {
            "spec": {"parentRefs": [{"name": "shared"}], "hostnames": [rules[0]["host"]]}
        }


BUCKET = {
    "postgres_backup_repository": "s3",
    "postgres_backup_s3_endpoint": "s3.example.com:9000",
    "namespace_bucket": [{"ipBlock": {"cidr": "0.0.0.0/0"}}],
    "namespace_bucket_ports": [9000],
}

CASES = [
    # The logins.
    Case("postgres", {"postgres_app_password": "another"}, ["flask_app"]),
    Case("postgres", {"postgres_console_password": "another"}, ["pgadmin"]),
    Case("postgres", {"postgres_monitoring_password": "another"}, ["monitoring"]),
    Case(
        "postgres",
        {"postgres_monitoring_password": "another", "monitoring_enabled": False},
        refused=["postgres,monitoring"],
    ),
    Case("tls,postgres", {"postgres_app_password": "another"}, ["flask_app"]),
    Case("postgres,flask_app", {"postgres_app_password": "another"}),
    Case("flask_app", {"postgres_app_password": "another"}),
    Case("postgres", {"postgres_app_password": "password-of-flask_app"}),
    Case("postgres", {"postgres_database": "other"}, ["pgadmin", "flask_app", "monitoring"]),
    Case("pgadmin", {"postgres_database": "other"}),
    Case("postgres", before=broken_off("flask-app-db"), brought=["flask_app"]),
    Case("postgres", before=broken_off("pgadmin-db"), brought=["pgadmin"]),
    Case("postgres", before=broken_off("prometheus-db"), brought=["monitoring"]),
    Case("all", {"postgres_app_password": "another"}, skip="flask_app", refused=["without --skip-tags flask_app"]),
    Case("all", {"postgres_app_password": "another"}, skip="monitoring"),
    Case(
        "postgres", {"postgres_app_password": "x"}, before=lambda cluster: cluster.objects.pop("Deployment/flask-app")
    ),
    # Certificates of the database's clients.
    Case("postgres", CLIENTS, ["tls", "pgadmin", "flask_app"]),
    Case("tls,postgres", CLIENTS, ["pgadmin", "flask_app"]),
    Case("tls", CLIENTS),
    Case("flask_app", CLIENTS),
    Case("postgres", before=with_clients, brought=["pgadmin", "flask_app"]),
    Case("postgres", CLIENTS, before=with_clients),
    Case(
        "tls",
        {"tls_clients_app_user": "other", "postgres_app_user": "other"},
        before=with_clients,
        refused=["postgres_app_user is other"],
    ),
    Case(
        "tls",
        {"tls_clients_console_user": "o", "postgres_console_user": "o"},
        before=with_clients,
        refused=["postgres_console_user is o"],
    ),
    Case("tls", {"tls_clients_app_user": "other"}),
    Case("postgres", {"postgres_pooler_enabled": True}, ["tls"]),
    # The names on the ingress's certificate.
    Case("flask_app", NEW_HOST, ["tls"]),
    Case("pgadmin", NEW_CONSOLE, ["tls"]),
    Case("tls", NEW_HOST, refused=["stack_app_host is new.example.com", "--tags tls,flask_app"]),
    Case("tls", NEW_CONSOLE, refused=["stack_pgadmin_host is new.example.com", "--tags tls,pgadmin"]),
    Case(
        "flask_app",
        {**NEW_HOST, **NEW_CONSOLE, "tls_hosts": ["new.example.com"]},
        refused=["--tags tls,pgadmin,flask_app"],
    ),
    Case("tls,flask_app,pgadmin", {**NEW_HOST, "pgadmin_path": "/pgadmin"}),
    Case("postgres", NEW_HOST),
    Case("monitoring", NEW_HOST),
    Case("all", NEW_HOST, skip="tls", refused=["without --skip-tags tls"]),
    Case("flask_app", {"flask_app_host": "new.example.com"}),
    Case("flask_app", {**NEW_HOST, "flask_app_tls_secret": "their-own"}),
    Case("flask_app", NEW_HOST, before=with_own_certificate),
    Case("tls", NEW_HOST, before=with_own_certificate),
    Case("tls", {"tls_hosts": ["*.example.com"]}),
    Case("flask_app", SWAPPED, refused=["stack_app_host is pgadmin.example.com", "--tags pgadmin,flask_app"]),
    Case("pgadmin", SWAPPED, refused=["stack_pgadmin_host is app.example.com", "--tags pgadmin,flask_app"]),
    Case("pgadmin,flask_app", SWAPPED),
    Case("pgadmin", {"pgadmin_path": "/pgadmin"}),
    # Prometheus, and what the instances tell it.
    Case(
        "postgres",
        {"monitoring_enabled": False, "postgres_metrics_enabled": False},
        refused=["--tags postgres,monitoring"],
    ),
    Case("monitoring", {"monitoring_enabled": False, "postgres_metrics_enabled": False}),
    Case("postgres,monitoring", {"monitoring_enabled": False, "postgres_metrics_enabled": False}),
    Case("monitoring", before=without_prometheus, refused=["monitoring_enabled is True", "--tags postgres,monitoring"]),
    Case("postgres", before=without_prometheus),
    # The network policies, which come with every tag.
    Case("flask_app", {"monitoring_nodes": []}, refused=["monitoring_nodes is []", "--tags flask_app,monitoring"]),
    Case(
        "tls", {"monitoring_ingress_targets": []}, refused=["monitoring_ingress_targets is []", "--tags tls,monitoring"]
    ),
    Case("tls", {"monitoring_ingress_targets": [], "namespace_policies": False}),
    Case("monitoring", {"monitoring_nodes": [], "monitoring_ingress_targets": []}),
    Case("minikube", {"monitoring_nodes": []}),
    Case("flask_app", before=with_bucket, refused=["backups go to s3.example.com:9000", "--tags postgres,flask_app"]),
    Case(
        "flask_app",
        {**BUCKET, "namespace_bucket_ports": [443], "postgres_backup_s3_endpoint": "s3.example.com"},
        before=with_bucket,
        refused=["--tags postgres,flask_app"],
    ),
    Case("flask_app", BUCKET, before=with_bucket),
    Case("postgres", before=with_bucket),
    Case("flask_app", BUCKET),
    # How the service and pgAdmin are published.
    Case(
        "flask_app",
        {"flask_app_ingress_class": "other", "pgadmin_ingress_class": "other"},
        refused=["stack_ingress_class is other", "--tags minikube,pgadmin,flask_app"],
    ),
    Case(
        "minikube,flask_app",
        {"flask_app_ingress_class": "other", "pgadmin_ingress_class": "other"},
        refused=["--tags minikube,pgadmin,flask_app"],
    ),
    Case(
        "flask_app", {"flask_app_ingress_class": "other", "pgadmin_ingress_class": "other", "minikube_managed": False}
    ),
    Case("flask_app", {"flask_app_gateway": GATEWAY, "pgadmin_gateway": GATEWAY}),
    Case(
        "flask_app",
        {"flask_app_gateway": GATEWAY, "pgadmin_gateway": GATEWAY, **FROM_GATEWAY},
        refused=["namespace_ingress is", "--tags pgadmin,flask_app"],
    ),
    Case("pgadmin,flask_app", {"flask_app_gateway": GATEWAY, "pgadmin_gateway": GATEWAY, **FROM_GATEWAY}),
    Case("postgres", FROM_GATEWAY),
    Case("postgres", {"flask_app_gateway": GATEWAY, "pgadmin_gateway": GATEWAY}, before=on_gateway),
    # A namespace in which there is nothing yet.
    Case("flask_app", before=never_deployed, refused=["stack-ca", "flask-app-db", "--tags tls,postgres,flask_app"]),
    Case("pgadmin", before=never_deployed, refused=["pgadmin-db", "--tags tls,postgres,pgadmin"]),
    Case("monitoring", before=never_deployed, refused=["prometheus-db", "--tags tls,postgres,monitoring"]),
    Case("monitoring", {"monitoring_enabled": False}, before=never_deployed),
    Case("postgres", before=never_deployed, refused=["stack_namespace is flask-postgres", "--tags tls,postgres"]),
    Case("tls", before=never_deployed),
    Case("tls,postgres", before=never_deployed),
    Case("tls,postgres,flask_app", before=never_deployed),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.tags}-{'-'.join(case.settings)}-{case.skip}")
def test_a_run(case: Case) -> None:
    cluster = deployed()
    case.before(cluster)
    brought, problems = planned(cluster, case.tags, case.settings, case.skip)
    assert [part for part in case.refused if part not in problems] == [], problems
    assert bool(problems) == bool(case.refused), problems
    assert brought == case.brought


@pytest.mark.parametrize("tags", [*ROLES, "all", "tls,postgres", "minikube,monitoring"])
def test_with_nothing_changed_nothing_comes_along(tags: str) -> None:
    assert planned(deployed(), tags) == ([], "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.tags}-{'-'.join(case.settings)}")
def test_a_run_of_all_roles_is_never_refused(case: Case) -> None:
    cluster = deployed()
    case.before(cluster)
    assert planned(cluster, "all", case.settings) == ([], "")


@pytest.mark.parametrize("case", [case for case in CASES if case.refused and not case.skip], ids=lambda case: case.tags)
def test_the_tags_that_a_refusal_names_are_taken(case: Case) -> None:
    cluster = deployed()
    case.before(cluster)
    _, problems = planned(cluster, case.tags, case.settings)
    for tags in re.findall(r"--tags (\S+)$", problems, re.MULTILINE):
        assert planned(cluster, tags, case.settings) == ([], "")


def test_no_line_shows_a_password() -> None:
    passwords = {f"postgres_{name}_password": f"shown-{name}" for name in ("app", "console", "monitoring")}
    _, problems = planned(deployed(), "all", passwords, "pgadmin,flask_app,monitoring")
    assert problems.count("\n") == 2
    assert "shown" not in problems
    assert "password-of" not in problems


@pytest.mark.parametrize(
    ("run_tags", "skip_tags", "roles"),
    [
        (["all"], [], list(ROLES)),
        (["tagged"], [], list(ROLES)),
        (["postgres"], [], ["postgres"]),
        (["flask_app", "tls"], [], ["tls", "flask_app"]),
        (["all"], ["minikube", "tls"], ["postgres", "pgadmin", "flask_app", "monitoring"]),
        (["postgres"], ["postgres"], []),
        (["untagged"], [], []),
        (["all"], ["all"], []),
        (["all"], ["tagged"], []),
        (["nonsense"], [], []),
    ],
)
def test_the_roles_of_a_run(run_tags: list[str], skip_tags: list[str], roles: list[str]) -> None:
    assert roles_of_run(run_tags, skip_tags) == roles


def crossing() -> set[str]:
    """The settings that a role reads though another has them, and the stack's that come to several."""
    folders = [*ROLES, "namespace"]
    # Several roles of the database run under the tag of one.
    parts = {role: [path for path in (REPOSITORY / "roles").glob(f"{role}*") if path.is_dir()] for role in folders}
    texts = {
        role: "\n".join(
            file.read_text()
            for folder in parts[role]
            for part in ("defaults", "vars", "tasks", "templates")
            for file in (folder / part).glob("*")
            if file.is_file()
        )
        for role in folders
    }
    owned = {
        role: {
            name for folder in parts[role] for name in yaml.safe_load((folder / "defaults" / "main.yml").read_text())
        }
        for role in folders
    }
    names = {role: set(re.findall(r"\b[a-z][a-z0-9]*_[a-z0-9_]+\b", text)) for role, text in texts.items()}
    found = {name for role in folders for other in folders if other != role for name in names[role] & owned[other]}
    shared = {name for role in folders for name in names[role] if name.startswith("stack_")}
    return found | {name for name in shared if sum(name in names[role] for role in folders) > 1}


def test_every_setting_that_crosses_is_known() -> None:
    """A new one has to get a rule and a case, or a reason why it needs none."""
    changed = {name for case in CASES for name in case.settings}
    assert set(SETTINGS) == set(DEFAULTS)
    # What the stack's names are called in the roles that read them.
    of_roles = {
        "stack_app_host": "flask_app_host",
        "stack_gateway": "flask_app_gateway",
        "stack_ingress_class": "flask_app_ingress_class",
        "stack_namespace": "namespace_name",
        "stack_pgadmin_host": "pgadmin_host",
    }
    # One that is another is a namespace in which there is nothing.
    tried = changed | {"namespace_name"}
    found = {of_roles.get(name, name) for name in crossing()}
    assert {"postgres_client_certificates", "monitoring_nodes", "flask_app_host"} <= found, "the search finds nothing"
    assert sorted(found - tried - set(HARMLESS)) == []
    assert sorted(set(HARMLESS) - found) == []
