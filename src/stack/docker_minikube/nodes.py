"""The image of the nodes: a recipe of Debian's packages, and the images of the offline build baked in."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker
import yaml

from stack import gotools
from stack.builder import Artifact, Builder, BuildError, steps
from stack.images import KEY_LABEL

from .engine import Engine

ROOT = Path(__file__).parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flask-postgres-stack"
OWN = CACHE / "docker-minikube"
SERVICE_RANGE = "10.112.0.0/16"
POD_RANGE = "10.245.0.0/16"
# Images that the stack's own are built on, by the names of their folders; all others run in the cluster.
BASES = ("localhost-library-debian-", "localhost-library-python-", "localhost-library-postgres-")
# Debian 12, for the systemd of a later one takes cgroup v2 alone.
BASE: dict[str, Any] = {
    "name": "localhost/kicbase:bookworm",
    "kind": "rootfs",
    "suite": "bookworm",
}
NODE: dict[str, Any] = {
    "name": "localhost/kicbase:packages",
    "kind": "image",
    "source": "context",
    "needs": [BASE["name"]],
    "args": {"BASE_IMAGE": BASE["name"], "SERVICE_RANGE": SERVICE_RANGE, "POD_RANGE": POD_RANGE},
}
# Volumes of several nodes, each on the disk of one: minikube's own are root's on all nodes but the first, and are taken
# for the same wherever a pod starts.
PROVISIONER: dict[str, Any] = {
    "name": "localhost/rancher/local-path-provisioner:v0.0.30",
    "kind": "image",
    "source": "provisioner",
}
LABEL = "flask-postgres-stack.node"


def versions() -> dict[str, str]:
    """What the inventory calls ``stack_versions``."""
    settings = (ROOT / "inventory" / "minikube" / "group_vars" / "stack.yml").read_text()
    found: dict[str, dict[str, str]] = yaml.safe_load(settings)
    return found["stack_versions"]


def artifact(name: str) -> Path:
    """The one file of an artifact of the offline build.

    Raises:
        BuildError: The cache has none.
    """
    for folder in (CACHE / "artifacts").glob(f"{name}-*"):
        if files := [path for path in folder.iterdir() if path.is_file()]:
            return files[0]
    raise BuildError(f"{CACHE} has no {name}: the offline build makes it (make deploy, where PATH has no minikube)")


def archives() -> tuple[list[Path], list[Path]]:
    """The images of the offline build: those for a cluster's runtime, and those that others are built on.

    Raises:
        BuildError: The cache has none for a cluster.
    """
    artifact("registry.k8s.io-kube-apiserver")
    found = sorted((CACHE / "artifacts").glob("*/image.tar.gz"))
    bases = [path for path in found if path.parent.name.startswith(BASES)]
    return [path for path in found if path not in bases], bases


def key_of(names: list[str]) -> str:
    return hashlib.sha256("\0".join(names).encode()).hexdigest()[:16]


def build(engine: Engine, number: int) -> str:
    """Build what is missing in the engine, and return the name of the image of as many nodes."""
    for_nodes, bases = archives()
    client = engine.client()
    for path in bases:
        key = path.parent.name.rpartition("-")[2]
        if not client.images.list(filters={"label": f"{KEY_LABEL}={key}"}):
            with path.open("rb") as file:
                client.images.load(file)
    os.environ["DOCKER_HOST"] = engine.host
    packages = _packages()
    key = key_of([packages.key, *(path.parent.name for path in for_nodes)])
    name = _with_images(client, packages.name, key, key, for_nodes)
    if number > 1:
        provisioner = _provisioner()
        name = _with_images(client, name, f"{key}-{provisioner.key}", key, [provisioner.path])
    for other in client.images.list(filters={"label": LABEL}):
        # Nodes that are there keep theirs.
        if other.labels[LABEL] != key:
            with suppress(docker.errors.APIError):
                client.images.remove(str(other.id), force=True)
    return name


def _with_images(client: docker.DockerClient, base: str, tag: str, key: str, archives: list[Path]) -> str:
    """The name of a node's image that has these images beside what its base has; built where the engine has none."""
    name = f"localhost/kicbase:{tag}"
    if client.images.list(name):
        return name
    print(f"Building the image of the nodes, with {len(archives)} images", flush=True)
    with tempfile.TemporaryDirectory(dir=OWN) as folder:
        context = Path(folder)
        (context / "images").mkdir()
        (context / "Dockerfile").write_text(f"FROM {base}\nCOPY images/ /kind/images/\n")
        for path in archives:
            os.link(path, context / "images" / f"{path.parent.name}.tar.gz")
        for line in client.api.build(
            path=str(context), tag=name, rm=True, forcerm=True, decode=True, labels={LABEL: key}
        ):
            if "error" in line:
                raise BuildError(f"{name}: {line['error'].strip()}")
    return name


def _packages() -> Artifact:
    """The image without Kubernetes' own, in the engine; from the cache, if that has it of this recipe."""
    context = OWN / NODE["source"]
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(ROOT / "images" / "kicbase", context)
    shutil.copytree(gotools.build("minikube-node").parent / "kicbase", context / "kicbase")
    shutil.copy(artifact("crictl"), context / "crictl")
    node = _built(OWN, BASE, NODE)
    shutil.rmtree(context)
    return node


def _provisioner() -> Artifact:
    """The provisioner's image, which is compiled where the cache has none."""
    cache = OWN / "several"
    context = cache / PROVISIONER["source"]
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(ROOT / "images" / "local-path-provisioner", context)
    shutil.copy(gotools.build("local-path-provisioner"), context)
    tag = f"{versions()['debian']}-slim"
    # Built anew with its base.
    base = artifact(f"localhost-library-debian-{tag}").parent.name
    recipe = {**PROVISIONER, "args": {"BASE_IMAGE": f"localhost/library/debian:{tag}"}, "base": base}
    found = _built(cache, recipe)
    shutil.rmtree(context)
    return found


def _built(cache: Path, *recipes: dict[str, Any]) -> Artifact:
    """The last of some recipes, in the cache and in the engine; one that is cached needs none of the others."""
    known: dict[str, Artifact] = {}
    for recipe in recipes:
        known[recipe["name"]] = Artifact(recipe, cache, cache, known)
    wanted = list(known.values())
    builder = Builder(cache, sys.executable, lambda line: print(line, flush=True))
    if plan := [] if wanted[-1].exists else builder.plan(wanted):
        for position, missing in steps(plan):
            builder.build(missing, position)
        builder.prune(wanted)
    builder.load(wanted[-1])
    return wanted[-1]
