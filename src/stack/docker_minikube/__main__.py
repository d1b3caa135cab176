"""``python -m stack.docker_minikube``: a Minikube with the Docker driver for the tests, up or down."""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import docker
import yaml

from stack import gotools
from stack.builder import Artifact, Builder, BuildError, steps

from .engine import Engine

ROOT = Path(__file__).parents[3]
HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flask-postgres-stack"
OWN = CACHE / "docker-minikube"
RUN = Path("/run/flask-postgres-stack-docker")
PROFILE = "stack-docker"
CONTEXT = ROOT / "images" / "kicbase"
POD_RANGE = "10.245.0.0/16"
SERVICE_RANGE = "10.112.0.0/16"
# What a node needs to start, beside what its image brings; by the names of the offline build's artifacts.
IMAGES = (
    "registry.k8s.io-kube-apiserver", "registry.k8s.io-kube-controller-manager", "registry.k8s.io-kube-scheduler",
    "registry.k8s.io-kube-proxy", "registry.k8s.io-etcd", "registry.k8s.io-coredns-coredns", "registry.k8s.io-pause",
    "gcr.io-k8s-minikube-storage-provisioner", "localhost-cloudnativelabs-kube-router",
)  # fmt: skip
# Debian 12, for the systemd of a later one takes cgroup v2 alone.
BASE = {
    "name": "localhost/library/debian:bookworm-slim",
    "kind": "rootfs",
    "suite": "bookworm",
}
LABEL = "flask-postgres-stack.node"


def versions() -> dict[str, str]:
    """What the inventory calls ``stack_versions``."""
    found: dict[str, dict[str, str]] = yaml.safe_load(
        (ROOT / "inventory" / "minikube" / "group_vars" / "stack.yml").read_text()
    )
    return found["stack_versions"]


def artifact(prefix: str) -> Path:
    """The one file of an artifact of the offline build.

    Raises:
        BuildError: The cache has none.
    """
    for folder in (CACHE / "artifacts").glob(f"{prefix}-*"):
        if files := [path for path in folder.iterdir() if path.is_file()]:
            return files[0]
    raise BuildError(f"{CACHE} has no {prefix}: the offline build makes it (make deploy, where PATH has no minikube)")


def node_image(engine: Engine) -> str:
    """Build the image of the nodes, unless the engine has it of this recipe, and return its name."""
    archives = {prefix: artifact(prefix) for prefix in IMAGES}
    crictl = artifact("crictl")
    digest = hashlib.sha256()
    for path in sorted(CONTEXT.iterdir()):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    for path in (*archives.values(), crictl):
        digest.update(path.parent.name.encode())
    key = digest.hexdigest()[:16]
    name = f"localhost/kicbase:{key}"
    client = engine.client()
    if client.images.list(name):
        return name
    kicbase = gotools.build("kicbase").parent / "kicbase"
    known: dict[str, Artifact] = {}
    known["base"] = Artifact(BASE, CONTEXT, OWN, known)
    os.environ["DOCKER_HOST"] = engine.host
    builder = Builder(OWN, sys.executable, lambda line: print(line, flush=True))
    for position, missing in steps(builder.plan([known["base"]])):
        builder.build(missing, position)
    builder.load(known["base"])
    print("Building the image of the nodes", flush=True)
    with tempfile.TemporaryDirectory(dir=OWN) as folder:
        context = Path(folder) / "context"
        shutil.copytree(CONTEXT, context)
        shutil.copytree(kicbase, context / "kicbase")
        shutil.copy(crictl, context / "crictl")
        (context / "images").mkdir()
        for prefix, path in archives.items():
            os.link(path, context / "images" / f"{prefix}.tar.gz")
        for line in client.api.build(
            path=str(context), tag=name, rm=True, forcerm=True, decode=True, network_mode="host",
            buildargs={"BASE_IMAGE": BASE["name"]}, labels={LABEL: key},
        ):  # fmt: skip
            if "error" in line:
                raise BuildError(f"{name}: {line['error'].strip()}")
    for other in client.images.list(filters={"label": LABEL}):
        if other.labels[LABEL] != key:
            client.images.remove(str(other.id), force=True)
    return name


def environment(engine: Engine) -> dict[str, str]:
    """What a command needs in its environment to mean this cluster and no other."""
    return {
        "PATH": f"{OWN / 'bin'}:{os.environ['PATH']}",
        "DOCKER_HOST": engine.host,
        "MINIKUBE_HOME": str(OWN / "home"),
        "MINIKUBE_IN_STYLE": "false",
        "KUBECONFIG": str(OWN / "kubeconfig"),
    }


def tools(kubernetes: str) -> None:
    """Put minikube and the client on a path of their own, and Kubernetes' binaries where minikube looks for them."""
    for folder in (OWN / "bin", OWN / "volumes", OWN / "home" / ".minikube" / "cache" / "linux" / "amd64" / kubernetes):
        folder.mkdir(parents=True, exist_ok=True)
    links = {"docker": HERE / "docker_client.py", "minikube": artifact("minikube"), "kubectl": artifact("kubectl")}
    for name, target in links.items():
        link = OWN / "bin" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)
    for name in ("kubeadm", "kubectl", "kubelet"):
        shutil.copy(artifact(name), OWN / "home" / ".minikube" / "cache" / "linux" / "amd64" / kubernetes / name)
    (OWN / "volumes").chmod(0o777)


def up(nodes: int, cpus: str, memory: str) -> None:
    engine = Engine(OWN / "engine", RUN)
    OWN.mkdir(parents=True, exist_ok=True)
    engine.start()
    image = node_image(engine)
    kubernetes = versions()["kubernetes"]
    tools(kubernetes)
    manifest = OWN / "kube-router.yaml"
    router = f"localhost/cloudnativelabs/kube-router:{versions()['kube_router']}"
    manifest.write_text(
        (HERE / "kube-router.yaml").read_text().replace("KUBE_ROUTER_IMAGE", router).replace("SERVICES", SERVICE_RANGE)
    )
    command = [
        "minikube", "start", "--profile", PROFILE, "--driver=docker", "--container-runtime=containerd",
        f"--kubernetes-version={kubernetes}", f"--base-image={image}", "--preload=false", "--cache-images=false",
        f"--nodes={nodes}", f"--cpus={cpus}", f"--memory={memory}", f"--cni={manifest}", "--force",
        f"--mount-string={OWN / 'volumes'}:/var/hostpath-provisioner", "--mount",
        f"--extra-config=kubeadm.pod-network-cidr={POD_RANGE}", f"--service-cluster-ip-range={SERVICE_RANGE}",
        "--wait=apiserver,system_pods,default_sa", "--keep-context=false",
    ]  # fmt: skip
    subprocess.run(command, env={**os.environ, **environment(engine)}, check=True)
    print("\n".join(f"export {name}={value}" for name, value in environment(engine).items()), flush=True)


def down() -> None:
    engine = Engine(OWN / "engine", RUN)
    if engine.is_up() and (OWN / "bin" / "minikube").exists():
        subprocess.run(
            ["minikube", "delete", "--profile", PROFILE], env={**os.environ, **environment(engine)}, check=False
        )
        client = engine.client()
        for network in client.networks.list(names=[PROFILE]):
            network.remove()
    engine.stop()
    for folder in (RUN, OWN / "home", OWN / "volumes", OWN / "bin"):
        shutil.rmtree(folder, ignore_errors=True)
    for file in (OWN / "kubeconfig", OWN / "kube-router.yaml"):
        file.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stack.docker_minikube", description=__doc__)
    parser.add_argument("what", choices=["up", "down"])
    parser.add_argument("--nodes", type=int, default=1, help="how many (default: 1)")
    parser.add_argument("--cpus", default="2", help="of each node (default: 2)")
    parser.add_argument("--memory", default="4g", help="of each node (default: 4g)")
    arguments = parser.parse_args()
    try:
        if arguments.what == "up":
            up(arguments.nodes, arguments.cpus, arguments.memory)
        else:
            down()
    except (BuildError, TimeoutError, docker.errors.DockerException) as error:
        sys.exit(f"docker-minikube: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(f"docker-minikube: minikube ended with exit code {error.returncode}, for what it says above")


if __name__ == "__main__":
    main()
