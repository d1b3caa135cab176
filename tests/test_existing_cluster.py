"""The same roles on a cluster that is somebody else's, with an account that is held to one namespace."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml
from conftest import ROOT, Run, Stack, until
from kubernetes import config

Site = Callable[..., Run]
Kubectl = Callable[..., str]

NAMESPACE = "existing"
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


def test_the_account_is_held_to_its_namespace(values: dict[str, Any], stack: Stack, kubectl: Kubectl) -> None:
    for question in ("create namespaces", f"get secrets -n {stack.namespace}", "list nodes"):
        with pytest.raises(AssertionError):
            kubectl(f"auth can-i {question} --kubeconfig {values['stack_kubeconfig']}")


def test_the_stack_comes_up_and_stays(site: Site, stack: Stack, kubectl: Kubectl, values: dict[str, Any]) -> None:
    run = site(inventory="inventory/existing", **values).succeeded()
    assert "minikube :" not in run.output
    with requests.Session() as session:
        session.trust_env = False
        session.verify = values["stack_ca_file"]

        url = f"https://{values['stack_app_host']}/api"
        until(lambda: session.get(f"{url}/setup", timeout=10).status_code == 200, 30)
        assert [row["name"] for row in session.get(f"{url}/data", timeout=10).json()["data"]] == ["Initial Record"]
        login = session.get(f"https://{values['stack_pgadmin_host']}/login", timeout=30)
        assert login.status_code == 200
    with pytest.raises(AssertionError, match="NotFound"):
        kubectl(f"get clusterrole {NAMESPACE}-prometheus")
    again = site(inventory="inventory/existing", **values).succeeded()
    assert again.changes == []
    assert stack.answers(), "the stack beside it was disturbed"
