"""``python -m stack.bench``: the speed of deployments, side by side with what they are compared with.

In each round both sides of a ratio are measured one after the other; the figures are medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from kubernetes import config
from openshift.dynamic import DynamicClient
from openshift.dynamic.exceptions import NotFoundError

from stack import gotools
from stack.builder import BuildError
from stack.inventory import read_settings

from . import latency, pooler
from .objects import read

ROOT = Path(__file__).parents[3]
INVENTORY = os.environ.get("INVENTORY", "inventory/minikube")
NAMESPACE = "bench"
SETTINGS = [
    "offline_cache_dir", "stack_app_host", "stack_ca_file", "stack_context", "stack_kubeconfig", "stack_namespace",
]  # fmt: skip
SMALL = {"cpu": "25m", "memory": "128Mi"}
OTHER_STACK = {
    "stack_namespace": NAMESPACE,
    "stack_app_host": "bench.example.com",
    "stack_pgadmin_host": "bench-pgadmin.example.com",
    # Two stacks have to fit on two CPUs: less is asked for, and the limits are the defaults.
    "postgres_resources": {"requests": SMALL, "limits": {"cpu": "500m", "memory": "512Mi"}},
    "pgadmin_resources": {"requests": SMALL, "limits": {"cpu": "500m", "memory": "512Mi"}},
    "flask_app_resources": {"requests": SMALL, "limits": {"cpu": "300m", "memory": "256Mi"}},
}
RATIO_OF_A_SECOND_DEPLOY = 4.0
SECONDS_OF_A_SECOND_DEPLOY = 15.0
RATIO_OF_A_FIRST_DEPLOY = 1.25
MINUTES_OF_THE_OFFLINE_BUILD = 20.0
GB_OF_THE_OFFLINE_BUILD = 1.5
P99_AT_HALF_OF_THE_PEAK_MS = 25.0


def run(*command: str, text: str | None = None) -> str:
    """Run a command to its end; a failure ends the benchmark with what the command said."""
    result = subprocess.run(
        command, cwd=ROOT, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout[-4000:]}")
    return result.stdout


def timed(*command: str, text: str | None = None) -> float:
    began = time.monotonic()
    run(*command, text=text)
    return time.monotonic() - began


def playbook(name: str, *arguments: str, **values: object) -> list[str]:
    return ["ansible-playbook", "-i", INVENTORY, name, *arguments, "-e", json.dumps(values)]


class Bench:
    """The measurements on one cluster."""

    def __init__(self, rounds: int) -> None:
        self.rounds = rounds
        self.settings = read_settings(INVENTORY, SETTINGS)
        self.client = DynamicClient(
            config.new_client_from_config(self.settings["stack_kubeconfig"], self.settings["stack_context"])
        )
        self.kubectl = [
            "kubectl", "--kubeconfig", self.settings["stack_kubeconfig"], "--context", self.settings["stack_context"],
        ]  # fmt: skip

    def second_deploy(self) -> tuple[float, float]:
        """Seconds of a deployment that changes nothing, and of one task that applies the same objects."""
        ours, theirs = [], []
        # The Secrets among them must not reach a disk.
        with tempfile.NamedTemporaryFile("w", dir="/dev/shm", suffix=".yaml") as file:
            yaml.safe_dump_all(read(self.client, self.settings["stack_namespace"]), file)
            file.flush()
            run(*playbook("site.yml"))
            for _ in range(self.rounds):
                ours.append(timed("make", "deploy"))
                theirs.append(timed(*playbook("src/stack/bench/apply.yml", bench_objects=file.name)))
        return statistics.median(ours), statistics.median(theirs)

    def first_deploy(self) -> tuple[float, float]:
        """Seconds until a second stack is ready: brought up by Ansible, and by kubectl from the same objects."""
        ours, theirs = [], []
        for _ in range(self.rounds):
            with self.namespace():
                ours.append(timed(*playbook("site.yml", "--tags", "tls,postgres,pgadmin,flask_app", **OTHER_STACK)))
                objects = yaml.safe_dump_all(read(self.client, NAMESPACE))
            with self.namespace():
                began = time.monotonic()
                run(*self.kubectl, "apply", "-f", "-", text=objects)
                for workload in ("statefulset/postgres", "deployment/flask-app", "deployment/pgadmin"):
                    run(*self.kubectl, "-n", NAMESPACE, "rollout", "status", workload, "--timeout=300s")
                theirs.append(time.monotonic() - began)
        return statistics.median(ours), statistics.median(theirs)

    @contextmanager
    def namespace(self) -> Iterator[None]:
        """Make sure that the namespace of the second stack is gone before and after."""
        self.remove_namespace()
        try:
            yield
        finally:
            self.remove_namespace()

    def remove_namespace(self) -> None:
        namespaces = self.client.resources.get(api_version="v1", kind="Namespace")
        try:
            namespaces.get(name=NAMESPACE)
        except NotFoundError:
            return
        # Released ones are left over: minikube's provisioner never removes what it made before it was restarted.
        volumes = [
            f"pv/{volume.metadata.name}"
            for volume in self.client.resources.get(api_version="v1", kind="PersistentVolume").get().items
            if volume.status.phase == "Bound" and volume.spec.claimRef.namespace == NAMESPACE
        ]
        run(*self.kubectl, "delete", "namespace", NAMESPACE, "--wait=true", "--timeout=180s")
        # A provisioner that names folders by claims would clear the next volume away with the last one.
        if volumes:
            run(*self.kubectl, "wait", "--for=delete", *volumes, "--timeout=60s")

    def pooler(self) -> Iterator[pooler.Comparison]:
        """Reads a second of a second stack's database, directly and over its pooler."""
        with self.namespace():
            run(*playbook("site.yml", "--tags", "tls,postgres", **OTHER_STACK, **pooler.STACK))
            statefulsets = self.client.resources.get(api_version="apps/v1", kind="StatefulSet")
            image = statefulsets.get(name="postgres", namespace=NAMESPACE).spec.template.spec.containers[0].image
            run(*self.kubectl, "apply", "-f", "-", text=pooler.pod(NAMESPACE, image))
            run(*self.kubectl, "-n", NAMESPACE, "wait", "pod/bench", "--for=condition=Ready", "--timeout=60s")
            pgbench = pooler.Pgbench(self.kubectl, NAMESPACE)
            pgbench.prepare()
            yield from pgbench.compare()

    def offline_build(self) -> tuple[float, float] | None:
        """Minutes in which the last builds of all artifacts ran, and GB that are kept; None where nothing was built."""
        cache = Path(self.settings["offline_cache_dir"])
        newest: dict[str, tuple[float, float]] = {}
        for log in (cache / "logs").glob("*.log"):
            name = re.sub(r"-[0-9a-f]{16}$", "", log.stem)
            if durations := re.findall(r"^done in (\d+) s$", log.read_text(errors="replace"), re.MULTILINE):
                ended = log.stat().st_mtime
                newest[name] = max(newest.get(name, (0.0, 0.0)), (ended, ended - float(durations[-1])))
        if not newest:
            return None
        # Some are built side by side.
        seconds = until = 0.0
        for began, ended in sorted((began, ended) for ended, began in newest.values()):
            seconds += max(0.0, ended - max(began, until))
            until = max(until, ended)
        kept = sum(path.stat().st_size for path in (cache / "artifacts").rglob("*") if path.is_file())
        return seconds / 60, kept / 1e9

    def https(self) -> tuple[float, float, int]:
        """Through HTTPS, at half of the peak: requests a second, their p99 in milliseconds, and how many failed."""
        vegeta = gotools.build("vegeta")
        ca_file = Path(self.settings["stack_ca_file"])
        load = latency.Load(vegeta, self.settings["stack_app_host"], "/api/data", ca_file)
        # It is the service that is measured, not the limit for a single address.
        run(*playbook("site.yml", "--tags", "flask_app", flask_app_rate_limit="0"))
        try:
            rate = int(load.peak() / 2)
            p99, failed = load.at(rate)
        finally:
            run(*playbook("site.yml", "--tags", "flask_app"))
        return rate, p99, failed


def report(figure: str, value: float, target: float, detail: str = "") -> bool:
    reached = value <= target
    print(f"{figure:<62} {value:>7.2f} {target:>7.2f}  {'reached' if reached else 'MISSED':<8} {detail}", flush=True)
    return reached


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m stack.bench", description="Measure what is promised about deployments."
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often each side is measured (default: 3)")
    bench = Bench(parser.parse_args().rounds)
    print(f"{'figure':<62} {'value':>7} {'at most':>7}")
    ours, theirs = bench.second_deploy()
    detail = f"({ours:.1f} s against {theirs:.1f} s)"
    reached = [
        report("second make deploy over one task with all objects", ours / theirs, RATIO_OF_A_SECOND_DEPLOY, detail),
        report("second make deploy, seconds", ours, SECONDS_OF_A_SECOND_DEPLOY),
    ]
    ours, theirs = bench.first_deploy()
    detail = f"({ours:.1f} s against {theirs:.1f} s)"
    reached.append(
        report("first deploy over kubectl apply and rollout status", ours / theirs, RATIO_OF_A_FIRST_DEPLOY, detail)
    )
    figure = "p99 at half of the peak through HTTPS, ms"
    try:
        rate, p99, failed = bench.https()
    except BuildError as error:
        print(f"{figure}: NOT MEASURED, for its load generator cannot be built: {error}")
        reached.append(False)
    else:
        reached.append(report(figure, p99, P99_AT_HALF_OF_THE_PEAK_MS, f"({rate:.0f} requests a second)"))
        reached.append(report("requests that failed at that rate", failed, 0))
    for comparison in bench.pooler():
        print(comparison, flush=True)
    built = bench.offline_build()
    if built:
        reached.append(report("offline build of everything, minutes", built[0], MINUTES_OF_THE_OFFLINE_BUILD))
        reached.append(report("kept on disk by the offline build, GB", built[1], GB_OF_THE_OFFLINE_BUILD))
    return 0 if all(reached) else 1


if __name__ == "__main__":
    sys.exit(main())
