"""The bills of materials name what is known to be in the images."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from conftest import ROOT, Stack

from sbom.__main__ import full_name, write


def bill(image: str, folder: Path) -> set[str]:
    document = json.loads(write(full_name(image), folder).read_text())
    assert document["bomFormat"] == "CycloneDX"
    return {component["purl"] for component in document["components"]}


def test_packages_of_debian_and_python(stack: Stack, tmp_path: Path) -> None:
    found = bill(stack.get("Deployment", "flask-app").spec.template.spec.containers[0].image, tmp_path)
    # All that is locked, but for what is for Windows alone.
    locked = re.findall(r"^([a-z0-9-]+)==(\S+) \\$", (ROOT / "app" / "requirements.txt").read_text(), re.MULTILINE)
    assert len(locked) > 10
    assert {f"pkg:pypi/{name}@{version}" for name, version in locked} <= found
    assert [url for url in found if url.startswith("pkg:deb/debian/libc6@")]


def test_modules_of_go(stack: Stack, tmp_path: Path) -> None:
    if stack.settings["minikube_provider"] != "offline":
        pytest.skip("only the offline build runs kube-router")
    daemonset = stack.kube.resources.get(kind="DaemonSet", api_version="apps/v1")
    image = daemonset.get(name="kube-router", namespace="kube-system").spec.template.spec.containers[0].image
    required = re.findall(
        r"^\t(k8s\.io/client-go) (v\S+)", (ROOT / "roles/offline/files/go/kube-router/go.mod").read_text(), re.MULTILINE
    )
    assert {f"pkg:golang/{name}@{version}" for name, version in required} <= bill(image, tmp_path)
