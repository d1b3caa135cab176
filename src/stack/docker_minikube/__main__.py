"""``python -m stack.docker_minikube``: a Minikube with the Docker driver for the tests, up or down."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import docker
import yaml

from stack.builder import BuildError

from . import nodes, shell
from .engine import Engine
from .nodes import POD_RANGE, PROVISIONER, SERVICE_RANGE, artifact, versions
from .shell import CLUSTER, PROFILE, STATE

HERE = Path(__file__).parent
RUN = Path("/run/flask-postgres-stack-docker")
READY_S = 180
KUBERNETES_BINARIES = ("kubeadm", "kubectl", "kubelet")


def environment(engine: Engine, image: str, owner: str, number: int) -> dict[str, str]:
    """What a command needs in its environment to mean this cluster and no other.

    minikube takes most flags from variables too. So whoever starts the cluster, a role or a user, starts the same.
    """
    # minikube refuses this driver to root.
    found = {"MINIKUBE_FORCE": "true"} if owner == "root" else {}
    if number == 1:
        found["MINIKUBE_MOUNT_STRING"] = f"{CLUSTER / 'volumes'}:/var/hostpath-provisioner"
    else:
        # Each start of several nodes would put minikube's own volumes in the place of those of the nodes' disks.
        found["MINIKUBE_INSTALL_ADDONS"] = "false"
    return {
        **found,
        "DOCKER_HOST": engine.host,
        "KUBECONFIG": str(CLUSTER / "kubeconfig"),
        "MINIKUBE_HOME": str(CLUSTER / "home"),
        "MINIKUBE_IN_STYLE": "false",
        "MINIKUBE_WANTUPDATENOTIFICATION": "false",
        "MINIKUBE_DRIVER": "docker",
        "MINIKUBE_CONTAINER_RUNTIME": "containerd",
        "MINIKUBE_KUBERNETES_VERSION": versions()["kubernetes"],
        "MINIKUBE_BASE_IMAGE": image,
        "MINIKUBE_PRELOAD": "false",
        "MINIKUBE_SERVICE_CLUSTER_IP_RANGE": SERVICE_RANGE,
        # Another than minikube's own, which nothing of the stack may take for granted.
        "MINIKUBE_APISERVER_PORT": "8444",
    }


def settings(number: int) -> dict[str, Any]:
    """What a run needs on this cluster: images built from packages, and nothing that another cluster's run writes."""
    # The volumes of several nodes are not minikube's.
    addons = {"minikube_addons": ["metrics-server"]} if number > 1 else {}
    return {
        **addons,
        "stack_context": PROFILE,
        "stack_image_registry": "localhost",
        "stack_ca_file": str(CLUSTER / "ca.crt"),
        # Never the cluster of the offline build, whatever PATH says.
        "minikube_provider": "installed",
        "minikube_cni": str(CLUSTER / "kube-router.yaml"),
    }


def prepare(owner: str, number: int) -> None:
    """The engine with its images, the programs, and the manifests: all that a first start needs.

    Args:
        owner: The user who starts the cluster: root, or one of the group docker.
        number: How many nodes it is to have.
    """
    engine = Engine(STATE / "engine", RUN)
    for folder in (nodes.OWN, CLUSTER / "bin", CLUSTER / "volumes"):
        folder.mkdir(parents=True, exist_ok=True)
    (CLUSTER / "volumes").chmod(0o777)
    engine.start()
    variables = environment(engine, nodes.build(engine, number), owner, number)
    known = versions()
    for name, source in (
        ("docker", HERE / "docker_client.py"), ("minikube", artifact("minikube")), ("kubectl", artifact("kubectl"))
    ):  # fmt: skip
        shutil.copy(source, CLUSTER / "bin" / name)
    # minikube downloads none that it finds here.
    cache = CLUSTER / "home" / ".minikube" / "cache" / "linux" / "amd64" / known["kubernetes"]
    cache.mkdir(parents=True, exist_ok=True)
    for name in KUBERNETES_BINARIES:
        shutil.copy(artifact(name), cache / name)
    values = {
        "KUBE_ROUTER_IMAGE": f"localhost/cloudnativelabs/kube-router:{known['kube_router']}",
        "LOCAL_PATH_IMAGE": PROVISIONER["name"],
        "SERVICES": SERVICE_RANGE,
    }
    for source in HERE.glob("*.yaml"):
        manifest = source.read_text()
        for name, value in values.items():
            manifest = manifest.replace(name, value)
        (CLUSTER / source.name).write_text(manifest)
    (CLUSTER / "settings.yml").write_text(yaml.safe_dump(settings(number)))
    shell.write(variables)
    for path in (CLUSTER, *CLUSTER.rglob("*")):
        if not path.is_relative_to(CLUSTER / "volumes"):
            shutil.chown(path, owner)


def count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


def up(number: int, cpus: str, memory: str) -> None:
    prepare("root", number)
    command = [
        "minikube", "start", f"--profile={PROFILE}", f"--nodes={number}", f"--cpus={cpus}", f"--memory={memory}",
        f"--cni={CLUSTER / 'kube-router.yaml'}", "--wait=apiserver,system_pods,default_sa",
        # Neither is taken from a variable.
        "--cache-images=false", f"--extra-config=kubeadm.pod-network-cidr={POD_RANGE}",
    ]  # fmt: skip
    called = {**os.environ, **shell.read(os.environ["PATH"])}
    subprocess.run(command, env=called, check=True)
    kubectl = ["kubectl", f"--context={PROFILE}"]
    if number > 1:
        subprocess.run([*kubectl, "apply", f"--filename={CLUSTER / 'local-path.yaml'}"], env=called, check=True)
    # minikube waits for the pods to run, and not until they are ready.
    ready = ["wait", "pods", "--all-namespaces", "--all", "--for=condition=Ready", f"--timeout={READY_S}s"]
    subprocess.run([*kubectl, *ready], env=called, check=True)


def down() -> None:
    """Remove the cluster; what was built stays in the cache and in the engine's folder."""
    engine = Engine(STATE / "engine", RUN)
    if engine.root.exists():
        # Containers of an engine that was killed go on without it; it takes them up again when it starts.
        engine.start()
        client = engine.client()
        for container in client.containers.list(all=True):
            container.remove(force=True, v=True)
        for volume in client.volumes.list():
            volume.remove(force=True)
        client.networks.prune()
    engine.stop()
    for path in (RUN, CLUSTER):
        shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stack.docker_minikube", description=__doc__)
    parser.add_argument("what", choices=["up", "prepare", "down"], help="prepare: all but the start")
    parser.add_argument("--nodes", type=count, default=1, help="how many (default: 1)")
    parser.add_argument("--cpus", default="2", help="of each node (default: 2)")
    parser.add_argument("--memory", default="4g", help="of each node (default: 4g)")
    parser.add_argument("--owner", default="root", help="who starts what was prepared (default: root)")
    arguments = parser.parse_args()
    try:
        if arguments.what == "down":
            down()
            return
        if arguments.what == "prepare":
            prepare(arguments.owner, 1)
        else:
            up(arguments.nodes, arguments.cpus, arguments.memory)
        print(
            f"Commands for this cluster: . {shell.FILE}\n"
            f"The stack on it:           make deploy ARGS='-e @{CLUSTER / 'settings.yml'}'",
            flush=True,
        )
    except (BuildError, TimeoutError, LookupError, docker.errors.DockerException) as error:
        sys.exit(f"docker-minikube: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"docker-minikube: {error.cmd[0]} ended with exit code {error.returncode}, for what it says above")


if __name__ == "__main__":
    main()
