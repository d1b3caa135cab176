"""Which images the stack's pods need, which of them a node lacks, and what is said where one cannot be brought."""

from __future__ import annotations

import gc
import gzip
import os
from pathlib import Path
from typing import Any

import pytest

from stack import engine, images

Object = dict[str, Any]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("flask-postgres-app:1", "docker.io/library/flask-postgres-app:1"),
        ("team/app", "docker.io/team/app:latest"),
        ("localhost/prom/prometheus:v2", "localhost/prom/prometheus:v2"),
        ("registry.example.com/team/app:1", "registry.example.com/team/app:1"),
        ("registry:5000/app", "registry:5000/app:latest"),
        ("app@sha256:00", "docker.io/library/app@sha256:00"),
    ],
)
def test_names_are_compared_in_full(image: str, name: str) -> None:
    assert images.full_name(image) == name
    assert images.full_name(name) == name
    assert images.missing([image], {"one": [name]}) == {}


@pytest.mark.parametrize(
    ("image", "brought"),
    [
        ("flask-postgres-app:1", True),
        ("registry.example.com/team/postgres-patroni:1", True),
        ("localhost/dpage/pgadmin4:9", True),
        ("docker.io/dpage/pgadmin4:9", False),
        ("my-flask-postgres-app:1", False),
        ("postgres-patroni.example.com/app:1", False),
    ],
)
def test_images_of_others_are_left_to_the_nodes(image: str, brought: bool) -> None:
    assert images.is_brought(image) is brought


def template(*names: str, first: str = "") -> Object:
    spec = {"containers": [{"name": "c", "image": name} for name in names]}
    return {"spec": {**spec, **({"initContainers": [{"name": "i", "image": first}]} if first else {})}}


def found(kind: str, name: str, spec: Object, **more: Any) -> Object:
    return {"kind": kind, "metadata": {"name": name}, "spec": spec, **more}


def test_every_kind_that_names_images_is_read() -> None:
    done = {"conditions": [{"type": "Complete", "status": "True"}]}
    objects = [
        found("Deployment", "shop", {"template": template("app:3", "side:1", first="first:1")}),
        found("ReplicaSet", "shop-b", {"template": template("app:3")}),
        found("ReplicaSet", "shop-a", {"template": template("app:2")}),
        found("StatefulSet", "store", {"template": template("store:2")}),
        {
            "kind": "ControllerRevision",
            "metadata": {"name": "store-1"},
            "data": {"spec": {"template": template("store:1")}},
        },
        found("CronJob", "nightly", {"jobTemplate": {"spec": {"template": template("backup:1")}}}),
        found("Job", "migrate-2", {"template": template("app:4")}, status={"active": 1}),
        found("Job", "migrate-1", {"template": template("app:1")}, status=done),
        found("ConfigMap", "settings", {}),
    ]
    assert images.named(objects) == {
        "first:1": ["Deployment shop"],
        "app:3": ["Deployment shop", "ReplicaSet shop-b"],
        "side:1": ["Deployment shop"],
        "app:2": ["ReplicaSet shop-a"],
        "store:2": ["StatefulSet store"],
        "store:1": ["ControllerRevision store-1"],
        "backup:1": ["CronJob nightly"],
        "app:4": ["Job migrate-2"],
    }


def test_a_node_that_lacks_an_image_is_named() -> None:
    nodes = {"one": ["docker.io/library/a:1", "docker.io/library/b:1"], "two": ["docker.io/library/a:1"], "three": []}
    assert images.missing(["a:1", "b:1"], nodes) == {"a:1": ["three"], "b:1": ["two", "three"]}


# A stand-in for minikube, whose drivers with a node cannot be had here. It ends with 0 whatever it could not do.
MINIKUBE = """#!/bin/sh
shift 2
case "$1 $2" in
  "node list") cat {folder}/nodes;;
  "image ls") cat {folder}/node-minikube;;
  "image load")
    if [ -e {folder}/works ]; then echo "docker.io/library/$3" >> {folder}/node-minikube
    else echo "! Unable to load $3: the daemon does not have it" >&2; fi;;
  "image build")
    echo "$@" > {folder}/built; for last; do :; done; cat "$last"/* > {folder}/context 2> /dev/null
    if [ -e {folder}/works ]; then for node in {folder}/node-*; do echo docker.io/library/new:1 >> $node; done
    else echo "sudo: buildctl: command not found"; echo "X Exiting"; fi;;
  "ssh --node") echo "IMAGE TAG IMAGE-ID SIZE"; sed 's/:/ /;s/$/ 0123 5MB/' {folder}/node-$3;;
esac
"""


@pytest.fixture
def minikube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a profile with one node, which has one image."""
    program = tmp_path / "bin" / "minikube"
    program.parent.mkdir()
    program.write_text(MINIKUBE.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "nodes").write_text("minikube\t192.0.2.9\n")
    (tmp_path / "node-minikube").write_text("docker.io/library/a:1\n")
    return tmp_path


def test_each_of_several_nodes_is_asked(minikube: Path) -> None:
    (minikube / "nodes").write_text("minikube\t192.0.2.9\nminikube-m02\t192.0.2.10\n")
    (minikube / "node-minikube-m02").write_text("docker.io/library/b:1\n")
    nodes = images.Minikube("minikube")
    assert nodes.missing(["a:1", "b:1", "c:1"]) == {
        "a:1": ["minikube-m02"],
        "b:1": ["minikube"],
        "c:1": ["minikube", "minikube-m02"],
    }


def test_an_image_that_arrives(minikube: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (minikube / "works").touch()
    monkeypatch.setattr(engine, "has", lambda _: True)
    assert images.deliver(images.Minikube("minikube"), ["a:1", "b:1"]) == (["b:1"], {})


def test_an_image_that_minikube_says_it_has_loaded(minikube: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert minikube
    monkeypatch.setattr(engine, "has", lambda _: True)
    brought, failed = images.deliver(images.Minikube("minikube"), ["a:1", "b:1"])
    assert brought == []
    assert failed == {"b:1": "it has not arrived on minikube: ! Unable to load b:1: the daemon does not have it"}


@pytest.mark.parametrize(
    ("runtime", "option"),
    [
        ("containerd", "--build-opt=opt=build-arg:BASE=python:3"),
        ("docker", "--build-opt=build-arg=BASE=python:3"),
        ("crio", "--build-opt=build-arg=BASE=python:3"),
    ],
)
def test_an_image_that_the_nodes_build(minikube: Path, runtime: str, option: str) -> None:
    (minikube / "works").touch()
    (minikube / "nodes").write_text("minikube\t192.0.2.9\nminikube-m02\t192.0.2.10\n")
    (minikube / "node-minikube-m02").touch()
    images.Minikube("minikube").build("new:1", minikube, minikube / "Dockerfile", {"BASE": "python:3"}, runtime)
    assert (minikube / "built").read_text().split() == ["image", "build", "--all", "--tag=new:1", option, str(minikube)]


def test_a_node_that_builds_no_images(minikube: Path) -> None:
    """As one of another maker than minikube: minikube itself ends with 0."""
    said = r"^minikube cannot build it in its node \(containerd\): sudo: buildctl: command not found$"
    with pytest.raises(images.ImageError, match=said):
        images.Minikube("minikube").build("new:1", minikube, minikube / "Dockerfile", {}, "containerd")


def test_a_dockerfile_that_lies_elsewhere(minikube: Path, tmp_path: Path) -> None:
    """The nodes get it with the folder, which stays as it is."""
    (minikube / "works").touch()
    context, dockerfile = tmp_path / "shop", tmp_path / "others" / "Dockerfile"
    for file, content in ((context / "app.py", "app\n"), (dockerfile, "FROM scratch\n")):
        file.parent.mkdir()
        file.write_text(content)
    images.Minikube("minikube").build("new:1", context, dockerfile, {}, "docker")
    assert (minikube / "context").read_text() == "FROM scratch\napp\n"
    assert [file.name for file in context.iterdir()] == ["app.py"]


# The client leaves the connection open that it could not make.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_engine_that_does_not_answer(minikube: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real client."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{minikube}/nobody.sock")
    _, failed = images.deliver(images.Minikube("minikube"), ["b:1"])
    assert failed == {"b:1": engine.SILENT}
    # A registry is asked by the engine, and without one nothing is known of it.
    assert images.Registry().missing(["registry.example.com/flask-postgres-app:1"]) == {}
    gc.collect()


def test_a_cluster_that_does_not_answer(minikube: Path) -> None:
    (minikube / "bin" / "minikube").write_text("#!/bin/sh\necho 'X no such profile' >&2; exit 85\n")
    with pytest.raises(images.ImageError, match="node list ended with exit code 85: X no such profile"):
        images.Minikube("other").missing(["a:1"])


def test_without_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(images.ImageError, match="ctr is not on PATH"):
        images.Containerd().missing(["a:1"])


CTR = """#!/bin/sh
case "$*" in
*import*) cat > /dev/null; echo localhost/prom/prometheus:v2 >> {file} ;;
*tag*) for name; do :; done; echo "$name" >> {file} ;;
*list*) cat {file} ;;
esac
"""


def test_an_image_of_the_offline_build_is_brought_by_the_name_that_an_update_gave_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "ctr"
    program.parent.mkdir()
    program.write_text(CTR.format(file=tmp_path / "names"))
    program.chmod(0o755)
    (tmp_path / "names").touch()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    archive = tmp_path / "artifacts" / "localhost-prom-prometheus-v2-00000000" / "image.tar.gz"
    archive.parent.mkdir(parents=True)
    archive.write_bytes(gzip.compress(b"an image"))
    wanted = "localhost/prom/prometheus:v2-0123456789ab"
    assert images.deliver(images.Containerd(tmp_path), [wanted]) == ([wanted], {})
    assert (tmp_path / "names").read_text().split() == ["localhost/prom/prometheus:v2", wanted]


@pytest.mark.parametrize(
    ("image", "plain"),
    [
        ("localhost/prom/prometheus:v2-0123456789ab", "localhost/prom/prometheus:v2"),
        ("localhost/prom/prometheus:v2", "localhost/prom/prometheus:v2"),
        # What others name is none of an update's.
        ("docker.io/prom/prometheus:v2-0123456789ab", "docker.io/prom/prometheus:v2-0123456789ab"),
    ],
)
def test_what_an_update_adds_to_a_tag(image: str, plain: str) -> None:
    assert images.without_contents(image) == plain
