"""The same roles on a cluster that is somebody else's, with an account that is held to one namespace."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from conftest import ROOT, Run, Stack, until
from gateway import controller, documented, forwarded
from kubernetes import config

from stack import gotools

pytestmark = pytest.mark.beside

Site = Callable[..., Run]
Kubectl = Callable[..., str]

NAMESPACE = "existing"
TAGS = ("--tags", "pgadmin,flask_app")
SMALL = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}


@pytest.fixture(scope="module")
def values(stack: Stack, kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The settings of that user, whose kubeconfig knows a token of the account and nothing else."""
    # Of a run that was broken off.
    kubectl(f"delete namespace {NAMESPACE} --ignore-not-found --timeout=120s")
    kubectl(
        "apply -f -",
        stdin=f"{{apiVersion: v1, kind: Namespace, metadata: {{name: {NAMESPACE}, "
        "labels: {pod-security.kubernetes.io/enforce: restricted}}}",
    )
    try:
        kubectl(f"-n {NAMESPACE} apply -f {ROOT / 'inventory' / 'namespace-account.yaml'}")
        token = kubectl(f"-n {NAMESPACE} create token stack-deployer").strip()
        folder = tmp_path_factory.mktemp("existing")
        kubeconfig = folder / "kubeconfig"
        kubeconfig.touch(mode=0o600)
        kubeconfig.write_text(yaml.safe_dump(account(stack, token)))
        yield {
            "stack_kubeconfig": str(kubeconfig),
            "stack_namespace": NAMESPACE,
            "namespace_managed": False,
            "stack_app_host": "existing.example.com",
            "stack_pgadmin_host": "existing-pgadmin.example.com",
            "stack_ca_file": str(folder / "ca.crt"),
            # This cluster has no registry: its images are brought as the stack's own are.
            "stack_image_registry": stack.settings["stack_image_registry"],
            "stack_image_delivery": stack.settings["stack_image_delivery"],
            "stack_image_repository": "",
            "postgres_client_certificates": True,
            "flask_app_resources": SMALL,
            "postgres_resources": SMALL,
            "pgadmin_resources": SMALL,
        }
    finally:
        kubectl(f"delete namespace {NAMESPACE} --wait=false")


def account(stack: Stack, token: str) -> dict[str, Any]:
    """A kubeconfig for the token, with nothing of the administrator's but the address and the cluster's CA."""
    client = config.new_client_from_config(stack.settings["stack_kubeconfig"], stack.settings["stack_context"])
    authority = base64.b64encode(Path(client.configuration.ssl_ca_cert).read_bytes()).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": "theirs",
                "cluster": {"server": client.configuration.host, "certificate-authority-data": authority},
            }
        ],
        "users": [{"name": "stack-deployer", "user": {"token": token}}],
        "contexts": [
            {"name": "theirs", "context": {"cluster": "theirs", "user": "stack-deployer", "namespace": NAMESPACE}}
        ],
        "current-context": "theirs",
    }


@pytest.fixture(scope="module")
def first_run(site: Site, values: dict[str, Any]) -> Run:
    return site(inventory="inventory/existing", **values)


@pytest.fixture(scope="module")
def existing(first_run: Run, stack: Stack, values: dict[str, Any]) -> Iterator[Stack]:
    """The stack of that user."""
    first_run.succeeded()
    with requests.Session() as session:
        session.trust_env = False
        session.verify = values["stack_ca_file"]
        yield Stack({**stack.settings, **values}, stack.kube, session)


@pytest.fixture(scope="module")
def definitions(kubectl: Kubectl) -> Path:
    """The kinds of Gateway API, which the cluster does not have yet."""
    folder = gotools.build("gateway-api").parent / "standard"
    # Of a run that was broken off.
    kubectl(f"delete --ignore-not-found -f {folder}")
    return folder


@pytest.fixture(scope="module")
def ports(definitions: Path, existing: Stack, stack: Stack, kubectl: Kubectl) -> Iterator[dict[int, int]]:
    """The Gateway of the documentation; ports of this machine lead to those of its listeners."""
    _, gateway, grant = documented(existing.namespace)
    name, namespace = gateway["metadata"]["name"], gateway["metadata"]["namespace"]
    versions, registry = stack.settings["stack_versions"], stack.settings["stack_image_registry"]
    items = [*controller(gateway, f"{registry}/library/traefik:{versions['traefik']}"), gateway, grant]
    objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    kubectl(f"delete namespace {namespace} --ignore-not-found --timeout=120s")
    kubectl(f"apply --server-side -f {definitions}")
    try:
        kubectl("wait --for=condition=Established customresourcedefinitions --all --timeout=60s")
        kubectl("apply -f -", stdin=objects)
        try:
            kubectl(f"-n {namespace} rollout status deployment/traefik --timeout=60s")
            kubectl(f"-n {namespace} wait --for=condition=Programmed gateway/{name} --timeout=60s")
            with forwarded(stack.settings["stack_kubeconfig"], namespace) as ports:
                yield ports
        finally:
            kubectl("delete --ignore-not-found --wait=false -f -", stdin=objects)
    finally:
        kubectl(f"delete --ignore-not-found -f {definitions}")


def test_the_account_is_held_to_its_namespace(values: dict[str, Any], stack: Stack, kubectl: Kubectl) -> None:
    for question in ("create namespaces", f"get secrets -n {stack.namespace}", "list nodes"):
        with pytest.raises(AssertionError):
            kubectl(f"auth can-i {question} --kubeconfig {values['stack_kubeconfig']}")


@pytest.mark.timeout(1800)
def test_the_stack_comes_up_and_stays(
    first_run: Run, existing: Stack, site: Site, kubectl: Kubectl, values: dict[str, Any]
) -> None:
    assert "minikube :" not in first_run.output
    until(lambda: existing.api("/api/setup").status_code == 200, 30)
    assert [row["name"] for row in existing.api("/api/data").json()["data"]] == ["Initial Record"]
    assert existing.session.get(f"{existing.pgadmin_url}/login", timeout=30).status_code == 200
    with pytest.raises(AssertionError, match="NotFound"):
        kubectl(f"get clusterrole {NAMESPACE}-prometheus")
    again = site(inventory="inventory/existing", **values).succeeded()
    assert again.changes == []


@pytest.mark.usefixtures("definitions")
def test_a_gateway_is_refused_where_there_can_be_none(existing: Stack, site: Site, values: dict[str, Any]) -> None:
    published, _, _ = documented(NAMESPACE)
    before = existing.versions()
    run = site(*TAGS, inventory="inventory/existing", **values, **published)
    assert run.code == 2
    assert "(stack_gateway) is True: it takes a cluster with HTTPRoute" in " ".join(run.output.split())
    assert existing.versions() == before


def test_a_gateway_publishes_it(
    ports: dict[int, int], existing: Stack, site: Site, kubectl: Kubectl, values: dict[str, Any]
) -> None:
    published, _, _ = documented(NAMESPACE)
    site(*TAGS, inventory="inventory/existing", **values, **published).succeeded()
    assert kubectl(f"-n {NAMESPACE} get ingresses -o name") == ""

    hosts = {name: existing.settings[name] for name in ("stack_app_host", "stack_pgadmin_host")}
    secure = {name: f"{host}:{ports[443]}" for name, host in hosts.items()}
    routed = Stack({**existing.settings, **secure}, existing.kube, existing.session)
    until(routed.answers, 30)
    health = routed.api("/healthz")
    assert health.json() == {"status": "healthy"}
    # Where the service knows that its client came by HTTPS.
    assert "Strict-Transport-Security" in health.headers
    page = routed.session.get(f"{routed.pgadmin_url}/login", timeout=30)
    assert page.status_code == 200

    def is_redirected(host: str) -> bool:
        plain = routed.session.get(f"http://{host}:{ports[80]}/x?y=1", allow_redirects=False, timeout=10)
        return (plain.status_code, plain.headers["Location"]) == (301, f"https://{host}/x?y=1")

    # The Gateway takes up one route after the other.
    for host in hosts.values():
        until(partial(is_redirected, host), 30)

    again = site(*TAGS, inventory="inventory/existing", **values, **published).succeeded()
    assert again.changes == []


@pytest.mark.usefixtures("ports")
def test_ingresses_are_back_without_it(existing: Stack, site: Site, kubectl: Kubectl, values: dict[str, Any]) -> None:
    site(*TAGS, inventory="inventory/existing", **values).succeeded()
    assert kubectl(f"-n {NAMESPACE} get httproutes -o name") == ""
    until(existing.answers, 30)
    # Without the mark no later run looks for routes.
    service = existing.get("Service", "flask-app").to_dict()
    assert "flask-postgres-stack/routes" not in service["metadata"]["annotations"]
