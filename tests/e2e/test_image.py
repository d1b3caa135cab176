"""Images that a node has lost: a run brings them, and says why where pods still cannot start."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Run, Stack, until

from stack.images import CTR, full_name

Site = Callable[..., Run]
Kubectl = Callable[..., str]
WAIT = "rollout status deployment flask-app --timeout=120s"


@pytest.fixture(autouse=True)
def runtime(stack: Stack) -> None:
    if stack.settings["stack_image_delivery"] != "containerd":
        pytest.skip("the images of this machine's own containerd can be removed")


def remove(image: str) -> None:
    """As a kubelet does where the disk is full."""
    subprocess.run([*CTR, "remove", full_name(image)], check=True, capture_output=True)


def is_there(image: str) -> bool:
    return (
        full_name(image) in subprocess.run([*CTR, "list", "--quiet"], capture_output=True, text=True, check=True).stdout
    )


def image(stack: Stack, kind: str, name: str) -> str:
    return str(stack.get(kind, name).spec.template.spec.containers[0].image)


def test_images_of_every_pod_are_brought(site: Site, stack: Stack, kubectl: Kubectl) -> None:
    """Also where one tag runs, and where the only pods have gone."""
    lost = [image(stack, "Deployment", "flask-app"), image(stack, "StatefulSet", "prometheus")]
    for name in lost:
        remove(name)
    kubectl(f"-n {stack.namespace} delete pods -l app=flask-app --wait=false")
    run = site("--tags", "flask_app").succeeded()
    assert any("Ensure the images on every node" in change for change in run.changes)
    assert all(is_there(name) for name in lost)
    until(stack.answers, 30)
    # Nor is there anything left to do for the offline build, which knows its images by a label.
    assert site("--tags", "minikube,flask_app").succeeded().changed == 0


def test_going_back_to_an_image_that_was_removed(site: Site, stack: Stack, kubectl: Kubectl, tmp_path: Path) -> None:
    before = image(stack, "Deployment", "flask-app")
    copy = tmp_path / "app"
    shutil.copytree(ROOT / "app", copy, ignore=shutil.ignore_patterns(".*cache", "__pycache__", ".hypothesis"))
    (copy / "README.md").write_text("another version\n")
    (copy / "src" / "flask_postgres_app" / "py.typed").write_text("# another version\n")
    try:
        site("--tags", "flask_app", flask_app_source=str(copy)).succeeded()
        assert image(stack, "Deployment", "flask-app") != before
        remove(before)
        site("--tags", "pgadmin").succeeded()
        kubectl(f"-n {stack.namespace} rollout undo deployment flask-app")
        kubectl(f"-n {stack.namespace} {WAIT}")
        assert image(stack, "Deployment", "flask-app") == before
    finally:
        site("--tags", "flask_app").succeeded()


def broken(site: Site, **values: Any) -> str:
    """The message of a run that fails at the rollout."""
    run = site(
        "--tags",
        "flask_app",
        env={"ANSIBLE_STDOUT_CALLBACK": "screen"},
        **values,
    )
    assert run.code == 2, run.output[-3000:]
    return run.output


def test_an_image_that_does_not_exist(site: Site, stack: Stack) -> None:
    """The version before it goes on, which the message says because it is so."""
    try:
        text = broken(
            site, flask_app_image="localhost/none:1", flask_app_migrate_command=[], flask_app_rollout_timeout=20
        )
        assert "Deployment flask-app is not rolled out after 20 s" in text
        assert re.search(r'container flask-app: (ErrImagePull|ImagePullBackOff): .*"localhost/none:1"', text)
        assert "The version before it goes on serving, with 2 ready pods" in text
        assert stack.answers()
    finally:
        site("--tags", "flask_app").succeeded()
