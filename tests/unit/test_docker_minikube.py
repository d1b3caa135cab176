"""The tests' Minikube with the Docker driver: its engine, and what its nodes are made of."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from stack.builder import BuildError
from stack.docker_minikube import __main__ as main
from stack.docker_minikube import engine, nodes, shell
from stack.polling import wait_until

SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(nodes, "CACHE", tmp_path)
    return tmp_path


def keep(cache: Path, *names: str) -> None:
    for name in names:
        folder = cache / "artifacts" / name
        folder.mkdir(parents=True)
        (folder / ("image.tar.gz" if "-image-" in f"{name}-" or "." in name else "binary")).touch()


def test_what_images_are_built_on_is_not_for_the_nodes(cache: Path) -> None:
    bases = {"localhost-library-debian-trixie.1-a", "localhost-library-postgres-17.1-b"}
    others = {"registry.k8s.io-kube-apiserver-v1.34.4-c", "localhost-library-traefik-v3.7.9-d"}
    keep(cache, *bases, *others, "kubelet-e")
    for_nodes, for_builds = nodes.archives()
    assert {path.parent.name for path in for_nodes} == others
    assert {path.parent.name for path in for_builds} == bases


def test_a_cache_without_kubernetes_is_refused(cache: Path) -> None:
    keep(cache, "localhost-library-traefik-v3.7.9-d")
    with pytest.raises(BuildError, match=r"has no registry\.k8s\.io-kube-apiserver: the offline build makes it"):
        nodes.archives()


def test_each_recipe_has_an_image_of_its_own() -> None:
    found = {nodes.key_of(names) for names in (["a", "b"], ["a", "c"], ["ab"], ["a"], ["b", "a"])}
    assert len(found) == 5


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", ""])
def test_how_many_nodes_it_can_have(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        main.count(text)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_run_knows_its_settings(number: int) -> None:
    known = {"stack_context", "stack_image_registry", "stack_ca_file"}
    known |= yaml.safe_load((nodes.ROOT / "roles/minikube/defaults/main.yml").read_text()).keys()
    assert main.settings(number).keys() <= known


@pytest.mark.parametrize(("number", "is_stock"), [(1, True), (2, False), (3, False)])
def test_the_volumes_of_several_nodes_are_not_those_that_every_node_has_alike(
    own: engine.Engine, number: int, is_stock: bool
) -> None:
    addons = main.settings(number).get("minikube_addons", ["storage-provisioner", "default-storageclass"])
    assert ("storage-provisioner" in addons) is ("default-storageclass" in addons) is is_stock
    variables = main.environment(own, "image", "root", number)
    assert (variables.get("MINIKUBE_INSTALL_ADDONS") != "false") is is_stock


def test_volumes_of_several_nodes_are_of_the_class_that_the_stack_asks_for() -> None:
    found = list(yaml.safe_load_all((main.HERE / "local-path.yaml").read_text()))
    (wanted,) = [each for each in found if each["kind"] == "StorageClass"]
    inventory = yaml.safe_load((nodes.ROOT / "inventory/minikube/group_vars/stack.yml").read_text())
    assert wanted["metadata"]["name"] == inventory["stack_storage_class"]
    assert wanted["volumeBindingMode"] == "WaitForFirstConsumer"


@pytest.fixture
def own(tmp_path: Path) -> engine.Engine:
    found = engine.Engine(tmp_path / "root", tmp_path / "run")
    found.folder.mkdir()
    return found


@pytest.fixture
def process(request: pytest.FixtureRequest, own: engine.Engine) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [str(own.folder)] if request.param == "own" else []
    with subprocess.Popen([sys.executable, "-c", SLEEP, *arguments]) as started:
        (own.folder / "dockerd.pid").write_text(str(started.pid))
        command = Path(f"/proc/{started.pid}/cmdline")
        # A moment after it has begun to run the program, its arguments are not there yet.
        wait_until(lambda: "" if SLEEP in command.read_text() else "it starts", 10, "the process")
        yield started
        started.kill()


@pytest.mark.parametrize("process", ["own"], indirect=True)
def test_the_engine_ends(own: engine.Engine, process: subprocess.Popen[bytes]) -> None:
    own.stop()
    assert process.wait(5) < 0
    assert not (own.folder / "dockerd.pid").exists()


@pytest.mark.parametrize("process", ["another"], indirect=True)
def test_a_process_that_has_the_number_by_now_does_not_end(
    own: engine.Engine, process: subprocess.Popen[bytes]
) -> None:
    own.stop()
    assert process.poll() is None


def test_an_engine_that_says_nothing_is_waited_for(own: engine.Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = own.folder.parent / "bin"
    programs.mkdir()
    socket = own.folder / "containerd.sock"
    for name, line in (
        ("containerd", f"touch {socket}; exec sleep 30 {own.folder}"),
        ("dockerd", f"exec sleep 30 {own.folder}"),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setattr(engine, "START_S", 0.5)
    with pytest.raises(TimeoutError, match="Docker's engine of the tests: still not after 0 s: no answer"):
        own.start()
    own.stop()


def test_what_a_shell_sources_is_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: engine.Engine
) -> None:
    monkeypatch.setattr(shell, "FILE", tmp_path / "environment")
    variables = main.environment(own, "localhost/kicbase:x", "root", 2)
    shell.write(variables)
    assert shell.read("/usr/bin:/bin") == {**variables, "PATH": f"{shell.CLUSTER}/bin:/usr/bin:/bin"}
    sourced = subprocess.run(
        ["bash", "-c", ". $0; env", str(shell.FILE)],
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/bin:/bin"},
    )
    seen = dict(line.split("=", 1) for line in sourced.stdout.splitlines())
    assert shell.read("/usr/bin:/bin").items() <= seen.items()
