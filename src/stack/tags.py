"""Which roles a run of ``site.yml`` takes beside those of its tags, and which it refuses to go on without.

A role hands things to others: a login, a certificate for a name, the way through a network policy. A run that changes
such a thing without the role that uses it brings that role along where this is cheap and interrupts nobody, and is
refused otherwise. RULES holds one function for each thing that is handed on; SETTINGS names what the rules read, and
HARMLESS every other setting that several roles read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from stack.postgres.passwords import NOTE_ANNOTATION, login_note
from stack.validation import Problem

# In the order of site.yml.
ROLES = ("minikube", "tls", "postgres", "pgadmin", "flask_app", "monitoring")

SETTINGS = (
    "flask_app_gateway", "flask_app_host", "flask_app_ingress_class", "flask_app_paths", "flask_app_tls_secret",
    "minikube_managed", "monitoring_enabled", "monitoring_ingress_targets", "monitoring_nodes", "namespace_bucket",
    "namespace_bucket_ports", "namespace_ingress", "namespace_name", "namespace_policies", "pgadmin_gateway",
    "pgadmin_host", "pgadmin_ingress_class", "pgadmin_path", "pgadmin_tls_secret", "postgres_app_password",
    "postgres_app_user", "postgres_backup_repository", "postgres_backup_s3_endpoint", "postgres_client_certificates",
    "postgres_console_password", "postgres_console_user", "postgres_database", "postgres_metrics_enabled",
    "postgres_monitoring_password", "postgres_monitoring_user", "postgres_pooler_enabled", "tls_ca_common_name",
    "tls_clients", "tls_clients_app_user", "tls_clients_console_user", "tls_hosts", "tls_issuer",
)  # fmt: skip

# Settings that several roles read, and why a role may have its part alone.
HARMLESS = {
    "flask_app_cronjobs": "the policies are brought by every tag",
    "flask_app_workers": "the policies are brought by every tag",
    "monitoring_alert_heartbeat_url": "the policies are brought by every tag, with the ports of these",
    "monitoring_alert_receivers": "the policies are brought by every tag, with the ports of these",
    "pgadmin_oauth2": "the policies are brought by every tag, with the ports of these",
    "namespace_flows": "the policies are brought by every tag, and the service's endpoint is compared with them",
    "stack_context": "the cluster that everything is read from",
    "stack_image_registry": "each image has one user",
    "stack_image_repository": "each image has one user",
    "stack_is_small": "what each role requests is its own",
    "stack_kubeconfig": "the cluster that everything is read from",
    "stack_storage_class": "each volume keeps its class, and its role refuses another",
    "stack_versions": "each image has one user",
}


@dataclass(frozen=True)
class Login:
    """A login of the database, and who uses it."""

    secret: str
    taker: str
    workload: str
    password: str
    user: str
    has_certificate: bool = True


LOGINS = (
    Login("flask-app-db", "flask_app", "Deployment/flask-app", "postgres_app_password", "postgres_app_user"),
    Login("pgadmin-db", "pgadmin", "Deployment/pgadmin", "postgres_console_password", "postgres_console_user"),
    Login("prometheus-db", "monitoring", "StatefulSet/prometheus", "postgres_monitoring_password",
          "postgres_monitoring_user", has_certificate=False),
)  # fmt: skip

# What publishes a role: its Ingress, its HTTPRoute, and the app that the network policy knows it by.
PUBLISHED = {
    "flask_app": ("Ingress/app-ingress", "HTTPRoute/flask-app", "flask-app"),
    "pgadmin": ("Ingress/pgadmin-ingress", "HTTPRoute/pgadmin", "pgadmin"),
}


@dataclass(frozen=True)
class Run:
    """A run of ``site.yml``, and the cluster as the run found it.

    Attributes:
        roles: The roles that take part.
        skipped: The roles that the run was told to leave out.
        settings: The values of SETTINGS by name, of the types that their roles give them.
        secrets: The decoded Secrets of the namespace, by name.
        objects: Its other objects, by ``Kind/name``.
        policies: Its network policies, by name.
    """

    roles: frozenset[str]
    settings: Mapping[str, Any]
    skipped: frozenset[str] = frozenset()
    secrets: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    objects: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    policies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Need:
    """A role that a run cannot be without.

    Attributes:
        role: The role; nothing where no role would help.
        because: The setting that is the cause, and what would be left behind, without the tags that would do.
        brings: Whether the run may take the role along by itself.
    """

    role: str
    because: Problem
    brings: bool = False


@dataclass(frozen=True)
class Plan:
    """What follows from a run's tags.

    Attributes:
        brought: The roles to take along, in the order of ROLES.
        problems: One line for each thing that the run would leave behind; with one, nothing may be touched.
    """

    brought: list[str]
    problems: list[str]


def roles_of_run(run_tags: Collection[str], skip_tags: Collection[str] = ()) -> list[str]:
    """The roles of site.yml that ``--tags`` and ``--skip-tags`` let run; each has its name as its one tag."""
    if {"all", "tagged"} & set(skip_tags):
        return []
    every = bool({"all", "tagged"} & set(run_tags))
    return [role for role in ROLES if (every or role in run_tags) and role not in skip_tags]


def plan(run: Run) -> Plan:
    """Compare what a run is about to change with what the roles that it is without have of it."""
    needs: dict[str, list[Need]] = {}
    roles = run.roles
    while found := [
        need for rule in RULES for need in rule(replace(run, roles=roles)) if need not in needs.get(need.role, [])
    ]:
        for need in found:
            needs.setdefault(need.role, []).append(need)
        roles |= {need.role for need in found if need.role}
    refused = [need for some in needs.values() for need in some if not need.brings or need.role in run.skipped]
    wanted = ",".join(role for role in ROLES if role in roles)
    problems = [_refusal(need, wanted, run.skipped) for need in refused]
    brought = [] if problems else [role for role in ROLES if role in roles - run.roles]
    return Plan(brought, sorted(set(problems)))


def _refusal(need: Need, tags: str, skipped: Collection[str]) -> str:
    if not need.role:
        return str(need.because)
    remedy = f"run it without --skip-tags {need.role}" if need.role in skipped else f"run it with --tags {tags}"
    return f"{need.because}; {remedy}"


def _logins(run: Run) -> Iterator[Need]:
    """A login's Secret is made by postgres, and read by whoever starts a pod with it."""
    for login in LOGINS:
        if "postgres" not in run.roles or login.taker in run.roles or login.workload not in run.objects:
            continue
        # Without monitoring_enabled the role would take Prometheus away.
        brings = login.taker != "monitoring" or bool(run.settings["monitoring_enabled"])
        for name, value in _login_changes(run, login):
            because = Problem(name, f"{login.workload} still runs with the former {login.secret}", value)
            yield Need(login.taker, because, brings)


def _login_changes(run: Run, login: Login) -> Iterator[tuple[str, Any]]:
    """Settings by which the Secret becomes another one, with values that may be shown."""
    found = run.secrets.get(login.secret, {})
    settings = run.settings
    if settings[login.password] not in ("", found.get("DB_PASSWORD", "")):
        yield login.password, None
    if found.get("DB_NAME") != settings["postgres_database"]:
        yield "postgres_database", settings["postgres_database"]
    if login.has_certificate and bool(found.get("DB_CLIENT_SECRET")) != settings["postgres_client_certificates"]:
        yield "postgres_client_certificates", settings["postgres_client_certificates"]
    noted = _annotations(run.objects[login.workload]).get(NOTE_ANNOTATION, "")
    # A run broke off between the two.
    if noted not in ("", login_note(run.secrets, login.secret)):
        yield login.secret, None


def _database_certificates(run: Run) -> Iterator[Need]:
    """PostgreSQL and its clients show certificates that tls issues."""
    if "postgres" in run.roles and "tls" not in run.roles and "stack-ca" in run.secrets:
        wanted = {"postgres-tls": "postgres_client_certificates", "postgres-backup-tls": "postgres_client_certificates"}
        if run.settings["postgres_pooler_enabled"]:
            wanted["postgres-pooler-tls"] = "postgres_pooler_enabled"
        if run.settings["postgres_client_certificates"]:
            clients = ("flask-app-db-tls", "flask-app-db-tls-2", "pgadmin-db-tls")
            wanted |= dict.fromkeys(clients, "postgres_client_certificates")
        for secret, setting in wanted.items():
            if secret not in run.secrets:
                yield Need("tls", Problem(setting, f"there is no certificate in {secret}", run.settings[setting]), True)


def _foundations(run: Run) -> Iterator[Need]:
    """What has never been made cannot be used."""
    needed = {
        "postgres": (("tls", "Secret", "stack-ca"),),
        "pgadmin": (("tls", "Secret", "stack-ca"), ("postgres", "Secret", "pgadmin-db")),
        "flask_app": (("tls", "Secret", "stack-ca"), ("postgres", "Secret", "flask-app-db")),
        "monitoring": (("tls", "Secret", "stack-ca"), ("postgres", "Secret", "prometheus-db")),
    }
    for role, things in needed.items():
        if role not in run.roles or (role == "monitoring" and not run.settings["monitoring_enabled"]):
            continue
        for giver, kind, name in things:
            if giver not in run.roles and name not in run.secrets:
                namespace = run.settings["namespace_name"]
                wanted = f"there is no {kind} {name} in it, which the role {giver} makes and {role} needs"
                yield Need(giver, Problem("stack_namespace", wanted, namespace))


def _host_names(run: Run) -> Iterator[Need]:
    """The ingress shows one certificate for the names of all that is published."""
    settings = run.settings
    wanted = settings["tls_hosts"]
    certificate = run.secrets.get("tls-secret", {}).get("tls.crt", "")
    if not certificate or not (settings["tls_issuer"] or _is_ours(run, certificate)):
        return
    names = _certificate_names(certificate)
    for role in PUBLISHED:
        if settings[f"{role}_tls_secret"] != "tls-secret":
            continue
        setting, host = f"stack_{role.removeprefix('flask_')}_host", settings[f"{role}_host"]
        live = _live_host(run, role)
        if role in run.roles and "tls" not in run.roles and not _covers(names, host) and _covers(wanted, host):
            yield Need("tls", Problem(setting, "the certificate in tls-secret is without that name", host), True)
        if "tls" in run.roles and role not in run.roles and live and _covers(names, live) and not _covers(wanted, live):
            said = f"{live}, where {role} is published now, would be without a certificate"
            yield Need(role, Problem(setting, said, host))


def _same_address(run: Run) -> Iterator[Need]:
    """Of two that move, one must not hide the other, which still is where it was."""
    settings = run.settings
    for moved, stays in (("flask_app", "pgadmin"), ("pgadmin", "flask_app")):
        live = _live_host(run, stays)
        if moved in run.roles and stays not in run.roles and live not in ("", settings[f"{stays}_host"]):
            path = settings["pgadmin_path"].rstrip("/") or "/"
            paths = [each.rstrip("/") or "/" for each in settings["flask_app_paths"]]
            if live == settings[f"{moved}_host"] and path in paths:
                setting = f"stack_{moved.removeprefix('flask_')}_host"
                yield Need(stays, Problem(setting, f"{stays} is published there as well until it is moved", live))


def _client_names(run: Run) -> Iterator[Need]:
    """A client's certificate has the name of its login."""
    settings = run.settings
    if "tls" not in run.roles or "postgres" in run.roles:
        return
    if not settings["tls_clients"] and "flask-app-db-tls" not in run.secrets:
        return
    names = {
        "flask-app-db": ("postgres_app_user", settings["tls_clients_app_user"], ("", "_2")),
        "pgadmin-db": ("postgres_console_user", settings["tls_clients_console_user"], ("",)),
    }
    for secret, (setting, wanted, endings) in names.items():
        user = run.secrets.get(secret, {}).get("DB_USER", "")
        if user and user not in [wanted + ending for ending in endings]:
            yield Need("", Problem(setting, f"the login is {user}, and its certificate has that name", wanted))


def _metrics(run: Run) -> Iterator[Need]:
    """Prometheus reads of the instances what they tell only where it is there."""
    settings = run.settings
    database, watched = run.objects.get("StatefulSet/postgres"), "StatefulSet/prometheus" in run.objects
    if not database or watched == settings["monitoring_enabled"]:
        return
    containers = database["spec"]["template"]["spec"]["containers"]
    told = any(port.get("name") == "metrics" for container in containers for port in container.get("ports") or [])
    if told == settings["postgres_metrics_enabled"]:
        return
    if watched and "postgres" in run.roles and "monitoring" not in run.roles:
        said = "Prometheus is there, and would miss what the database's pods tell it now"
        yield Need("monitoring", Problem("monitoring_enabled", said, settings["monitoring_enabled"]))
    if not watched and "monitoring" in run.roles and "postgres" not in run.roles:
        said = "the database's pods tell nothing of volumes, certificates and backups before they are restarted"
        yield Need("postgres", Problem("monitoring_enabled", said, settings["monitoring_enabled"]))


def _flows(run: Run) -> Iterator[Need]:
    """Every tag brings the network policies, which name the bucket of backups and what Prometheus reads."""
    settings = run.settings
    if not settings["namespace_policies"] or not run.roles - {"minikube"}:
        return
    if "postgres" not in run.roles and run.secrets.get("postgres-backup", {}).get("PGBACKREST_REPO1_S3_KEY"):
        text = _data(run, "ConfigMap/postgres-backup", "repository.conf")
        endpoint = (re.findall(r"^repo1-s3-endpoint=(\S+)$", text, re.MULTILINE) or [""])[0]
        port = int((re.findall(r":([0-9]+)$", endpoint) or ["443"])[0])
        if not settings["namespace_bucket"] or port not in settings["namespace_bucket_ports"]:
            said = f"backups go to {endpoint}, and the network policies would be without the way there"
            yield Need("postgres", Problem("postgres_backup_repository", said, settings["postgres_backup_repository"]))
    if "monitoring" not in run.roles:
        jobs = yaml.safe_load(_data(run, "ConfigMap/prometheus", "prometheus.yml") or "{}").get("scrape_configs", [])
        by_name = {job["job_name"]: job for job in jobs}
        read = [target for each in by_name.get("ingress", {}).get("static_configs", []) for target in each["targets"]]
        if set(read) - set(settings["monitoring_ingress_targets"]):
            said = f"Prometheus reads {', '.join(read)}, and the network policies would be without the way there"
            value = settings["monitoring_ingress_targets"]
            yield Need("monitoring", Problem("monitoring_ingress_targets", said, value))
        if "nodes" in by_name and not settings["monitoring_nodes"]:
            said = "Prometheus reads the kubelets, and the network policies would be without the way there"
            yield Need("monitoring", Problem("monitoring_nodes", said, settings["monitoring_nodes"]))


def _controllers(run: Run) -> Iterator[Need]:
    """What is published has to be let in by the policies, and its class answered by the controller."""
    settings = run.settings
    for role, (ingress, _, app) in PUBLISHED.items():
        if not _live_host(run, role):
            continue
        gateway = settings[f"{role}_gateway"]
        live = run.objects.get(ingress, {}).get("spec", {}).get("ingressClassName", "")
        moves = gateway.get("name") != _live_gateway(run, role) or (
            not gateway and live != settings[f"{role}_ingress_class"]
        )
        if not moves:
            continue
        if settings["minikube_managed"] and live and not gateway:
            value, said = settings[f"{role}_ingress_class"], f"{ingress} has {live}"
            if role in run.roles and "minikube" not in run.roles:
                yield Need("minikube", Problem("stack_ingress_class", f"{said}, which the controller answers", value))
            if "minikube" in run.roles and role not in run.roles:
                yield Need(role, Problem("stack_ingress_class", f"{said}, which nobody would answer", value))
        rules = run.policies.get(app, {}).get("spec", {}).get("ingress") or []
        let_in = [peer for rule in rules for peer in rule.get("from") or []]
        lost = settings["namespace_policies"] and any(peer not in let_in for peer in settings["namespace_ingress"])
        if lost and rules and role not in run.roles and run.roles - {"minikube"}:
            said = f"{role} is published another way, which the network policies would close"
            yield Need(role, Problem("namespace_ingress", said, settings["namespace_ingress"]))


Rule = Callable[[Run], Iterable[Need]]
RULES: tuple[Rule, ...] = (
    _foundations, _logins, _database_certificates, _host_names, _same_address, _client_names, _metrics, _flows,
    _controllers,
)  # fmt: skip


def _annotations(found: Mapping[str, Any]) -> Mapping[str, str]:
    return found.get("metadata", {}).get("annotations") or {}


def _data(run: Run, name: str, key: str) -> str:
    return str((run.objects.get(name, {}).get("data") or {}).get(key, ""))


def _live_host(run: Run, role: str) -> str:
    ingress, route, _ = PUBLISHED[role]
    rules = run.objects.get(ingress, {}).get("spec", {}).get("rules") or [{}]
    hosts = run.objects.get(route, {}).get("spec", {}).get("hostnames") or [""]
    return str(rules[0].get("host") or hosts[0])


def _live_gateway(run: Run, role: str) -> str | None:
    parents = run.objects.get(PUBLISHED[role][1], {}).get("spec", {}).get("parentRefs") or [{}]
    name = parents[0].get("name")
    return str(name) if name else None


def _covers(names: Iterable[str], host: str) -> bool:
    """Whether a certificate with these names is one for a host, by RFC 6125: the asterisk stands for one label."""
    return any(name == host or (name.startswith("*.") and name[1:] == host[host.find(".") :]) for name in names)


def _certificate_names(pem: str) -> list[str]:
    # Not above: every task would load it with the filters.
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        return []
    return names.get_values_for_type(x509.DNSName)


def _is_ours(run: Run, pem: str) -> bool:
    """Whether the stack's authority has issued a certificate; another's stays as it is."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    try:
        issuer = x509.load_pem_x509_certificate(pem.encode()).issuer
    except ValueError:
        return False
    names = issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    return bool(names) and names[0].value == run.settings["tls_ca_common_name"]
