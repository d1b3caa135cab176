"""``python -m stack.bench.docker_driver``: deployments on a running, empty Minikube with the Docker driver.

`make docker-minikube` starts it. Side by side: Ansible, and kubectl with the objects that Ansible has applied.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from kubernetes import config
from openshift.dynamic import DynamicClient

from stack.docker_minikube import shell
from stack.inventory import read_settings
from stack.polling import wait_until

from .objects import read

ROOT = Path(__file__).parents[3]
INVENTORY = "inventory/minikube"
READY_S = 300
LIVE_S = 60.0
EDITED = ("Flask service over PostgreSQL", "Edited by the benchmark")


class Bench:
    """The measurements.

    Args:
        environment: What commands need to mean the cluster; see `stack.docker_minikube.shell.read`.
    """

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        settings = yaml.safe_load((shell.CLUSTER / "settings.yml").read_text())
        self._ca_file = settings["stack_ca_file"]
        found = read_settings(INVENTORY, ["stack_app_host", "stack_namespace"])
        self._host, self._namespace = found["stack_app_host"], found["stack_namespace"]
        self._client = DynamicClient(config.new_client_from_config(environment["KUBECONFIG"], shell.PROFILE))
        self._kubectl = ["kubectl", "--context", shell.PROFILE]
        self._address = self._run("minikube", "--profile", shell.PROFILE, "ip").strip()

    def _run(self, *command: str, text: str | None = None) -> str:
        done = subprocess.run(
            command, cwd=ROOT, env=self._environment, input=text, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}{done.stderr[-2000:]}")
        return done.stdout

    def is_empty(self) -> bool:
        """Whether nobody has deployed the stack yet."""
        listed = self._run(*self._kubectl, "get", "namespaces", "--output=name").split()
        return f"namespace/{self._namespace}" not in listed

    def deploy(self) -> float:
        """Seconds of `make deploy`."""
        began = time.monotonic()
        self._run("make", "deploy", f"ARGS=-e @{shell.CLUSTER / 'settings.yml'}")
        return time.monotonic() - began

    def apply(self) -> float:
        """Seconds until all workloads are there again that were in the namespace, by kubectl alone."""
        objects = read(self._client, self._namespace)
        self.remove()
        began = time.monotonic()
        self._run(*self._kubectl, "apply", "--filename=-", text=yaml.safe_dump_all(objects))
        for each in objects:
            if each["kind"] in ("StatefulSet", "Deployment"):
                workload = f"{each['kind']}/{each['metadata']['name']}"
                command = ["rollout", "status", workload, f"--timeout={READY_S}s"]
                self._run(*self._kubectl, "--namespace", self._namespace, *command)
        return time.monotonic() - began

    def remove(self) -> None:
        """Remove the namespace, and wait until its volumes are gone."""
        self._run(*self._kubectl, "delete", "namespace", self._namespace, "--wait=true", f"--timeout={READY_S}s")
        volumes = self._run(*self._kubectl, "get", "persistentvolumes", "--output=name").split()
        if volumes:
            self._run(*self._kubectl, "wait", "--for=delete", *volumes, "--timeout=60s")

    def edit(self) -> float:
        """Seconds from the start of `make deploy` after an edit of the service until its users see it."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "app")
            shutil.copytree(ROOT / "app", source, ignore=shutil.ignore_patterns(".venv", "*.egg-info", ".hypothesis"))
            file = source / "src/flask_postgres_app/api/front.py"
            file.write_text(file.read_text().replace(*EDITED))
            began = time.monotonic()
            command = ["make", "deploy", f"ARGS=-e @{shell.CLUSTER / 'settings.yml'} -e flask_app_source={source}"]
            with subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as deploying:
                wait_until(self._unseen, READY_S, "the edited service")
                seconds = time.monotonic() - began
                deploying.wait()
        return seconds

    def _unseen(self) -> str:
        """Why users do not see the edit yet."""
        command = ["curl", "--silent", "--max-time", "2", "--cacert", self._ca_file]
        resolved = f"{self._host}:443:{self._address}"
        done = subprocess.run(
            [*command, "--resolve", resolved, f"https://{self._host}/api/openapi.json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return "" if EDITED[1] in done.stdout else "it answers as before"


def line(figure: str, seconds: float, detail: str = "") -> None:
    print(f"{figure:<62} {seconds:>7.1f} s  {detail}", flush=True)


def main() -> int:
    try:
        environment = shell.read(os.environ["PATH"])
    except FileNotFoundError:
        sys.exit("bench-docker-driver: there is no cluster: make docker-minikube")
    bench = Bench({**os.environ, **environment})
    if not bench.is_empty():
        sys.exit("bench-docker-driver: it takes an empty cluster: make docker-minikube-down docker-minikube")
    line("first make deploy on an empty cluster, with its images", bench.deploy())
    line("second make deploy, which changes nothing", bench.deploy())
    edited = bench.edit()
    line("an edit of app/ until users see it", edited, "reached" if edited <= LIVE_S else f"MISSED: {LIVE_S:.0f} s")
    bench.deploy()
    theirs = bench.apply()
    line("kubectl apply and rollout status of the same objects", theirs)
    bench.remove()
    ours = bench.deploy()
    line("make deploy where the images are there", ours, f"({ours / theirs:.2f} of kubectl's)")
    return 0 if edited <= LIVE_S else 1


if __name__ == "__main__":
    sys.exit(main())
