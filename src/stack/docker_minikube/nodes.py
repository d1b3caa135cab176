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

from stack import gotools
from stack.builder import KEY_LABEL, Artifact, Builder, BuildError, steps

from .engine import Engine

ROOT = Path(__file__).parents[3]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flask-postgres-stack"
OWN = CACHE / "docker-minikube"
SERVICE_RANGE = "10.112.0.0/16"
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
    "args": {"BASE_IMAGE": BASE["name"], "SERVICE_RANGE": SERVICE_RANGE},
}
LABEL = "flask-postgres-stack.node"


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


def build(engine: Engine) -> str:
    """Build what is missing in the engine, and return the name of the nodes' image."""
    for_nodes, bases = archives()
    client = engine.client()
    for path in bases:
        key = path.parent.name.rpartition("-")[2]
        if not client.images.list(filters={"label": f"{KEY_LABEL}={key}"}):
            with path.open("rb") as file:
                client.images.load(file)
    packages = _packages(engine)
    key = key_of([packages.key, *(path.parent.name for path in for_nodes)])
    name = f"localhost/kicbase:{key}"
    if client.images.list(name):
        return name
    print("Building the image of the nodes", flush=True)
    with tempfile.TemporaryDirectory(dir=OWN) as folder:
        context = Path(folder)
        (context / "images").mkdir()
        (context / "Dockerfile").write_text(f"FROM {packages.name}\nCOPY images/ /kind/images/\n")
        for path in for_nodes:
            os.link(path, context / "images" / f"{path.parent.name}.tar.gz")
        for line in client.api.build(
            path=str(context), tag=name, rm=True, forcerm=True, decode=True, labels={LABEL: key}
        ):
            if "error" in line:
                raise BuildError(f"{name}: {line['error'].strip()}")
    for other in client.images.list(filters={"label": LABEL}):
        # Nodes that are there keep theirs.
        if other.labels[LABEL] != key:
            with suppress(docker.errors.APIError):
                client.images.remove(str(other.id), force=True)
    return name


def _packages(engine: Engine) -> Artifact:
    """The image without Kubernetes' own, in the engine; from the cache, if that has it of this recipe."""
    context = OWN / NODE["source"]
    shutil.rmtree(context, ignore_errors=True)
    shutil.copytree(ROOT / "images" / "kicbase", context)
    shutil.copytree(gotools.build("minikube-node").parent / "kicbase", context / "kicbase")
    shutil.copy(artifact("crictl"), context / "crictl")
    known: dict[str, Artifact] = {}
    for recipe in (BASE, NODE):
        known[recipe["name"]] = Artifact(recipe, OWN, OWN, known)
    node = known[NODE["name"]]
    os.environ["DOCKER_HOST"] = engine.host
    builder = Builder(OWN, sys.executable, lambda line: print(line, flush=True))
    wanted = list(known.values())
    if plan := [] if node.exists else builder.plan(wanted):
        for position, missing in steps(plan):
            builder.build(missing, position)
        builder.prune(wanted)
    builder.load(node)
    shutil.rmtree(context)
    return node
