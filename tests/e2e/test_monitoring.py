"""Prometheus on the running stack: what it sees is so, its rules do what they say, and alerts fire and end for real."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from browser import OUTPUT
from certificates import self_signed
from conftest import ROOT, Run, Stack, until
from cryptography import x509
from playwright.sync_api import sync_playwright
from screen import status

from stack.report import dashboards
from stack.report.panels import PANELS

Kubectl = Callable[..., str]
Site = Callable[..., Run]
Ask = Callable[[str], Any]

RULES = ROOT / "roles" / "monitoring" / "files" / "rules.yml"
CASES = ROOT / "tests" / "e2e" / "rules.yml"
ALERTS = [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"] if "alert" in rule]
# With these an alert comes and goes within seconds; what it looks at stays the same.
IMPATIENT = {
    "monitoring_interval": 2,
    "monitoring_alerts": {name: {"for": "0s"} for name in ("NoPrimary", "BackupMissing", "CertificateEnding")},
}


@pytest.fixture(scope="module")
def ask(stack: Stack, kubectl: Kubectl) -> Ask:
    """The data of an answer of Prometheus' API."""

    def answer(path: str) -> Any:
        proxy = f"/api/v1/namespaces/{stack.namespace}/pods/prometheus-0:9090/proxy/api/v1/{path}"
        return json.loads(kubectl(f"get --raw {shlex.quote(proxy)}"))["data"]

    return answer


@pytest.fixture(scope="module")
def query(ask: Ask) -> Callable[[str], dict[str, float]]:
    """The values of an expression, by pod."""

    def values(expression: str) -> dict[str, float]:
        found = ask(f"query?query={quote(expression)}")["result"]
        return {item["metric"].get("pod", ""): float(item["value"][1]) for item in found}

    return values


def nodes(stack: Stack) -> list[Any]:
    """The nodes whose kubelets are read."""
    return list(stack.resource("Node").get().items) if stack.settings["monitoring_nodes"] else []


def firing(ask: Ask, name: str) -> list[dict[str, str]]:
    """The labels of an alert that is firing."""
    alerts = ask("alerts")["alerts"]
    return [alert["labels"] for alert in alerts if alert["labels"]["alertname"] == name and alert["state"] == "firing"]


def test_every_target_answers(ask: Ask, stack: Stack) -> None:
    instances = {pod.metadata.name for pod in stack.pods("postgres")}
    expected = {
        "prometheus": {"localhost:9090"},
        "flask-app": {pod.metadata.name for pod in stack.pods("flask-app")},
        "patroni": instances,
        "postgres": instances,
        "stack": instances | {"postgres-backup-0"},
        "ingress": set(stack.settings["monitoring_ingress_targets"]),
        "nodes": {node.metadata.name for node in nodes(stack)},
    }
    expected = {job: names for job, names in expected.items() if names}

    def answer() -> bool:
        targets = ask("targets?state=active")["activeTargets"]
        failed = [target["lastError"] for target in targets if target["health"] != "up"]
        assert failed == []
        found: dict[str, set[str]] = {}
        for target in targets:
            found.setdefault(target["labels"]["job"], set()).add(target["labels"]["instance"])
        assert found.pop("containers", None), "no container is known"
        assert found == expected
        return True

    until(answer, 120)


def test_it_sees_what_is_there(query: Callable[[str], dict[str, float]], stack: Stack, kubectl: Kubectl) -> None:
    primary = kubectl("get pods -l cluster-name=postgres,role=primary -o jsonpath={.items[*].metadata.name}")
    until(lambda: list(query("patroni_primary == 1")) == [primary], 60)
    until(lambda: set(query("pg_up == 1")) == set(query("patroni_primary")), 60)
    info = json.loads(kubectl("exec postgres-backup-0 -- pgbackrest --log-level-console=off info --output=json"))
    last = max(backup["timestamp"]["stop"] for backup in info[0]["backup"])
    until(lambda: query("stack_backup_last_timestamp_seconds") == {"postgres-backup-0": last}, 60)
    certificate = x509.load_pem_x509_certificate(stack.secret("postgres-tls")["tls.crt"].encode())
    ends = 'stack_certificate_end_timestamp_seconds{secret="postgres-tls"}'
    until(lambda: set(query(ends).values()) == {certificate.not_valid_after_utc.timestamp()}, 90)

    def fill() -> Any:
        *_, used, free = kubectl("exec postgres-backup-0 -- df -B1 --output=used,avail /var/lib/pgbackrest").split()
        return pytest.approx(int(used) / (int(used) + int(free)), abs=0.02)

    until(lambda: query("volume:used:ratio")["postgres-backup-0"] == fill(), 90)


def test_it_knows_every_container(ask: Ask, stack: Stack) -> None:
    # Of the last samples only: what Prometheus has from before its own restart would count for five minutes.
    series = quote('last_over_time(up{job="containers"}[40s])')

    def known() -> bool:
        pods = stack.resource("Pod").get(namespace=stack.namespace).items
        running = {
            (pod.metadata.name, status.containerID)
            for pod in pods
            if pod.status.phase == "Running"
            for status in [*pod.status.containerStatuses, *(pod.status.initContainerStatuses or [])]
        }
        found = ask(f"query?query={series}")["result"]
        assert {(item["metric"]["pod"], item["metric"].get("container_id")) for item in found} == running
        return True

    until(known, 90)


def test_it_sees_the_requests_at_the_ingress(ask: Ask, stack: Stack) -> None:
    if not stack.settings["monitoring_ingress_targets"]:
        pytest.skip("the ingress controller is not read")
    counted = quote('sum by (ingress) ({__name__=~"traefik_router_requests_total|nginx_ingress_controller_requests"})')

    def count() -> dict[str, float]:
        found = ask(f"query?query={counted}")["result"]
        return {item["metric"]["ingress"]: float(item["value"][1]) for item in found}

    before = count().get("app-ingress", 0)
    for _ in range(20):
        assert stack.answers()
    until(lambda: count().get("app-ingress", 0) >= before + 20, 90)
    # Of other stacks on the cluster there is nothing.
    assert count().keys() <= {"app-ingress", "pgadmin-ingress"}


def test_the_metrics_of_the_ingress_are_for_pods_alone(stack: Stack) -> None:
    if stack.settings["minikube_provider"] != "offline":
        pytest.skip("only Traefik has that port")
    (target,) = stack.settings["monitoring_ingress_targets"]
    assert stack.session.get(f"http://{target}/metrics", timeout=10).status_code == 403
    # Nor does it lead to what is behind the ingress.
    answer = stack.session.get(f"http://{target}/", headers={"Host": stack.settings["stack_app_host"]}, timeout=10)
    assert answer.status_code == 404


def test_it_sees_what_the_nodes_use(ask: Ask, stack: Stack) -> None:
    if not nodes(stack):
        pytest.skip("the nodes are not read")

    def ratio(name: str) -> dict[str, float]:
        found = ask(f"query?query={quote(name)}")["result"]
        return {item["metric"]["node"]: float(item["value"][1]) for item in found}

    def seen() -> bool:
        for name in ("node:cpu:ratio", "node:memory:ratio"):
            found = ratio(name)
            assert found.keys() == {node.metadata.name for node in nodes(stack)}
            assert all(0 < value < 1 for value in found.values()), found
        return True

    until(seen, 180)
    # Of containers those of this namespace.
    namespaces = quote('count by (namespace) (container_memory_working_set_bytes{id!="/"})')
    found = ask(f"query?query={namespaces}")["result"]
    assert [item["metric"] for item in found] == [{"namespace": stack.namespace}]


def test_its_account_reads_of_the_cluster_the_nodes_metrics_alone(stack: Stack, kubectl: Kubectl) -> None:
    account = f"--as=system:serviceaccount:{stack.namespace}:prometheus"

    def may(question: str) -> bool:
        try:
            return kubectl(f"auth can-i {question} {account}").strip() == "yes"
        except AssertionError:
            return False

    read = bool(nodes(stack))
    if read:
        # They go when the namespace does.
        namespace = stack.resource("Namespace").get(name=stack.namespace)
        for kind in ("clusterrole", "clusterrolebinding"):
            found = json.loads(kubectl(f"get {kind} {stack.namespace}-prometheus -o json"))
            assert [owner["uid"] for owner in found["metadata"]["ownerReferences"]] == [namespace.metadata.uid]
    assert [may("list nodes"), may("get nodes --subresource=metrics")] == [read, read]
    for question in ("get nodes --subresource=proxy", "get nodes", "list pods --all-namespaces", "get secrets"):
        assert not may(question), question


def test_its_login_reads_no_rows(stack: Stack, kubectl: Kubectl) -> None:
    secret = stack.secret("prometheus-db")
    psql = f"env PGPASSWORD={secret['DB_PASSWORD']} psql -h postgres -U {secret['DB_USER']} -d app -Atc"
    assert kubectl(f"exec statefulset/postgres -- {psql} 'SELECT count(*) > 0 FROM pg_ls_waldir()'").strip() == "t"
    with pytest.raises(AssertionError, match="permission denied for table data"):
        kubectl(f"exec statefulset/postgres -- {psql} 'SELECT count(*) FROM data'")


def test_the_cases_of_the_rules(kubectl: Kubectl) -> None:
    """Both files as they are, read by the promtool of the version that runs."""
    write = shlex.quote("mkdir -p ${0%/*} && cat > $0")
    for path in (RULES, CASES):
        # In the container.
        place = f"/tmp/case/{path.relative_to(ROOT)}"  # nosec B108
        kubectl(f"exec -i prometheus-0 -- sh -c {write} {place}", stdin=path.read_text())
    assert "SUCCESS" in kubectl("exec prometheus-0 -- promtool test rules /tmp/case/tests/e2e/rules.yml")


@pytest.mark.parametrize("alert", [rule["alert"] for rule in ALERTS])
def test_an_alert_is_tried_and_explained(ask: Ask, alert: str) -> None:
    cases = [case for test in yaml.safe_load(CASES.read_text())["tests"] for case in test["alert_rule_test"]]
    assert {bool(case.get("exp_alerts")) for case in cases if case["alertname"] == alert} == {True, False}
    (rule,) = (rule for group in ask("rules?type=alert")["groups"] for rule in group["rules"] if rule["name"] == alert)
    assert rule["health"] == "ok"
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    headings = re.findall(r"^## (.*)$", (ROOT / page).read_text(), re.MULTILINE)
    assert anchor in [heading.lower() for heading in headings]


def test_a_report_is_a_page_that_needs_nothing_else(
    site: Site, stack: Stack, query: Callable[[str], dict[str, float]], tmp_path: Path
) -> None:
    # A line takes two points.
    until(lambda: stack.answers() and query("count_over_time((service:latency:p99 >= 0)[5m:30s]) > 1"), 180)
    site(playbook="playbooks/report.yml", report_hours=1, report_output=str(tmp_path)).succeeded()
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1400})
        page.on("request", lambda request: asked.append(request.url))
        page.goto((tmp_path / "report.html").as_uri())
        OUTPUT.mkdir(exist_ok=True)
        page.screenshot(path=OUTPUT / "report.png")
        drawn = {
            figure.locator("text.title").first.text_content(): figure.locator("path.line").count()
            for figure in page.locator("figure").all()
        }
        browser.close()
    assert asked == [(tmp_path / "report.html").as_uri()]
    assert {title: lines for title, lines in drawn.items() if not lines} == {}
    assert len(drawn) == sum(map(len, PANELS.values()))


@pytest.mark.parametrize("name", PANELS)
def test_a_dashboard_asks_what_prometheus_knows(ask: Ask, name: str) -> None:
    text = (ROOT / "roles" / "monitoring" / "files" / "dashboards" / f"{name}.json").read_text()
    assert text == dashboards.document(name, PANELS[name]), "`make dashboards` writes it"
    for panel in json.loads(text)["panels"]:
        (target,) = panel["targets"]
        assert ask(f"query?query={quote(target['expr'])}")["result"], target["expr"]


@pytest.fixture(scope="module")
def _impatient(site: Site) -> Iterator[None]:
    try:
        site("--tags", "monitoring", **IMPATIENT).succeeded()
        yield
    finally:
        site("--tags", "monitoring").succeeded()


@contextmanager
def no_instance(stack: Stack, kubectl: Kubectl) -> Iterator[None]:
    replicas = stack.get("StatefulSet", "postgres").spec.replicas
    try:
        kubectl("scale statefulset postgres --replicas=0")
        yield
    finally:
        kubectl(f"scale statefulset postgres --replicas={replicas}")


@contextmanager
def blocked_repository(_: Stack, kubectl: Kubectl) -> Iterator[None]:
    """One that pgBackRest does not know any more, so that no backup can be made."""
    shell = "exec postgres-backup-0 -- sh -c 'cd /var/lib/pgbackrest && {}'"
    try:
        kubectl(shell.format("mkdir hidden && mv backup/postgres/backup.info* hidden"))
        yield
    finally:
        kubectl(shell.format("mv hidden/* backup/postgres && rmdir hidden"))


@contextmanager
def ending_certificate(stack: Stack, kubectl: Kubectl) -> Iterator[None]:
    """The certificate of the ingress, by somebody else, that ends in five days."""

    def put(data: dict[str, str]) -> None:
        kubectl("patch secret tls-secret --patch-file /dev/stdin", stdin=json.dumps({"stringData": data}))
        # A change of a pod makes the kubelet renew what is mounted now, and not within a minute or two.
        kubectl(f"annotate pods -l app=postgres --overwrite test/put={time.monotonic_ns()}")

    before = stack.secret("tls-secret")
    after = self_signed("ends soon", ends_in_days=5)
    try:
        put(after)
        yield
    finally:
        put({key: before[key] for key in after})


@pytest.mark.disruptive
@pytest.mark.usefixtures("_impatient")
@pytest.mark.parametrize(
    ("alert", "cause", "labels"),
    [
        ("BackupMissing", blocked_repository, {"pod": "postgres-backup-0"}),
        ("CertificateEnding", ending_certificate, {"secret": "tls-secret"}),
        ("NoPrimary", no_instance, {}),
    ],
)
def test_an_alert_fires_and_ends(
    ask: Ask,
    stack: Stack,
    kubectl: Kubectl,
    alert: str,
    cause: Callable[[Stack, Kubectl], AbstractContextManager[None]],
    labels: dict[str, str],
) -> None:
    until(lambda: firing(ask, alert) == [], 60, f"{alert} fires before")
    with cause(stack, kubectl):
        (found,) = until(lambda: firing(ask, alert), 90, f"{alert} does not fire")
        assert labels.items() <= found.items()
        screen = status()
        assert screen.code == 2
        assert f"! alert {alert} since " in screen.text
    until(lambda: firing(ask, alert) == [], 120, f"{alert} does not end")
    until(stack.answers, 60)
