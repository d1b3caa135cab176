"""The bills of materials name what is known to be in the images."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable

import pytest
from conftest import ROOT, Stack
from packageurl import PackageURL

from stack.sbom.__main__ import full_name, write

Bill = Callable[..., set[str]]
WORKLOADS = [("Deployment", "flask-app"), ("StatefulSet", "postgres"), ("Deployment", "pgadmin")]


@pytest.fixture(scope="module")
def bill(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Bill:
    """Return what is in the image of a workload."""

    @functools.cache
    def read(kind: str, name: str, namespace: str = stack.namespace) -> set[str]:
        found = stack.resource(kind).get(name=name, namespace=namespace)
        path = write(full_name(found.spec.template.spec.containers[0].image), tmp_path_factory.mktemp("bill"))
        document = json.loads(path.read_text())
        assert document["bomFormat"] == "CycloneDX"
        return {component["purl"] for component in document["components"]}

    return read


@pytest.mark.parametrize(("kind", "name"), WORKLOADS)
def test_packages_of_debian(bill: Bill, kubectl: Callable[..., str], kind: str, name: str) -> None:
    fields = "${db:Status-Abbrev}|${Package}|${Version}|${Architecture}\\n"
    lines = kubectl(f"exec {kind}/{name} -- dpkg-query --show --showformat '{fields}'").splitlines()
    installed = [line.split("|")[1:] for line in lines if line.startswith("ii")]
    assert len(installed) > 50
    found = bill(kind, name)
    urls = {str(PackageURL("deb", "debian", name, version, {"arch": arch})) for name, version, arch in installed}
    assert urls <= found
    # Where its package is not installed, psql is there all the same.
    assert [url for url in found if url.startswith("pkg:deb/debian/postgresql-client-17@")]


def test_packages_of_python(bill: Bill) -> None:
    # All that is locked, but for what is for Windows alone.
    locked = re.findall(r"^([a-z0-9-]+)==(\S+) \\$", (ROOT / "app" / "requirements.txt").read_text(), re.MULTILINE)
    assert len(locked) > 10
    assert {f"pkg:pypi/{name}@{version}" for name, version in locked} <= bill("Deployment", "flask-app")


def test_modules_of_go(stack: Stack, bill: Bill) -> None:
    if stack.settings["minikube_provider"] != "offline":
        pytest.skip("only the offline build runs kube-router")
    required = re.findall(
        r"^\t(k8s\.io/client-go) (v\S+)", (ROOT / "roles/offline/files/go/kube-router/go.mod").read_text(), re.MULTILINE
    )
    found = bill("DaemonSet", "kube-router", "kube-system")
    assert {f"pkg:golang/{name}@{version}" for name, version in required} <= found
