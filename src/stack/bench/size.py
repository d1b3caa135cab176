"""``python -m stack.bench.size``: what stacks cost the cluster that they share.

Small stacks come up one after the other, each in a namespace of its own beside what is there. After each one the API
server is read at the beginning and at the end of a window in which nobody deploys. The figures of one stack more are
the slope of a line through all readings (least squares). More stacks than fit are extrapolated along it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kubernetes import config
from openshift.dynamic import DynamicClient
from prometheus_client.parser import text_string_to_metric_families

from stack.cluster import Cluster
from stack.inventory import read_settings
from stack.polling import wait_until

ROOT = Path(__file__).parents[3]
INVENTORY = os.environ.get("INVENTORY", "inventory/minikube")
SETTINGS = ["stack_context", "stack_kubeconfig", "stack_namespace"]
METRICS_S = 30
SETTLED_S = 300
# What the tables of the documents ask for.
EXTRAPOLATED = (20, 200)
LITTLE = {"cpu": "20m", "memory": "96Mi", "ephemeral-storage": "32Mi"}
MB = 1e6


def limits(cpu: str, memory: str) -> dict[str, dict[str, str]]:
    return {"requests": LITTLE, "limits": {"cpu": cpu, "memory": memory, "ephemeral-storage": "1Gi"}}


SMALL = {
    "minikube_managed": False,
    "postgres_resources": limits("1", "512Mi"),
    "pgadmin_resources": limits("500m", "512Mi"),
    "flask_app_resources": limits("300m", "256Mi"),
}
# Counters and gauges of the API server, by the column that they are summed up for.
COUNTERS = {"requests/s": "apiserver_request_total", "CPU": "process_cpu_seconds_total"}
GAUGES = {
    "watches": "apiserver_longrunning_requests",
    "memory, MB": "process_resident_memory_bytes",
    "etcd, MB": "apiserver_storage_size_bytes",
}
PROMETHEUS = {"series": "prometheus_tsdb_head_series", "Prometheus, MB": "process_resident_memory_bytes"}
COLUMNS = [*COUNTERS, *GAUGES, *PROMETHEUS, "run, s"]


def sums(text: str, names: Mapping[str, str]) -> dict[str, float]:
    """The sums over all label sets of metrics, but for connections that are no watches.

    Args:
        text: What a server tells of itself, in Prometheus's text format
            (https://prometheus.io/docs/instrumenting/exposition_formats/).
        names: The names of metrics, by column.
    """
    found = dict.fromkeys(names, 0.0)
    columns = {name: column for column, name in names.items()}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            # A watch counts as a request when it ends.
            if sample.name in columns and (
                sample.labels.get("verb", "WATCH") == "WATCH" or sample.name == COUNTERS["requests/s"]
            ):
                found[columns[sample.name]] += sample.value
    return found


def slope(readings: Sequence[float]) -> tuple[float, float]:
    """What one stack more adds, and what there is without any, by readings with 0, 1, 2 and more of them."""
    found = statistics.linear_regression(range(len(readings)), readings)
    return found.slope, found.intercept


class Bench:
    """The measurements on one cluster.

    Args:
        stacks: How many small stacks come up.
        window_s: How long the API server is looked at, in seconds.
    """

    def __init__(self, stacks: int, window_s: float) -> None:
        self._stacks = stacks
        self._window_s = window_s
        self._settings = read_settings(INVENTORY, SETTINGS)
        self._client = DynamicClient(
            config.new_client_from_config(self._settings["stack_kubeconfig"], self._settings["stack_context"])
        )

    def _cluster(self, namespace: str) -> Cluster:
        return Cluster(self._settings["stack_kubeconfig"], self._settings["stack_context"], namespace)

    def _kubectl(self, *command: str) -> None:
        settings = self._settings
        options = ["--kubeconfig", settings["stack_kubeconfig"], "--context", settings["stack_context"]]
        subprocess.run(["kubectl", *options, *command], check=True, stdout=subprocess.DEVNULL)

    def nodes(self) -> int:
        return len(self._client.resources.get(api_version="v1", kind="Node").get().items)

    def _deploy(self, number: int) -> float:
        """Bring up a small stack, or run over it once more, and return the seconds of that."""
        values: dict[str, Any] = {
            **SMALL,
            "stack_namespace": f"size-{number}",
            "stack_app_host": f"size-{number}.example.com",
            "stack_pgadmin_host": f"size-{number}-pgadmin.example.com",
        }
        began = time.monotonic()
        done = subprocess.run(
            ["ansible-playbook", "-i", INVENTORY, "site.yml", "-e", json.dumps(values)],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            sys.exit(f"the stack of size-{number} did not come up:\n{done.stdout[-4000:]}")
        return time.monotonic() - began

    def _unsettled(self) -> str:
        """Which pod still starts or ends, so that the window would count that as well; empty for none."""
        for pod in self._client.resources.get(api_version="v1", kind="Pod").get().items:
            if pod.status.phase == "Pending" or pod.metadata.deletionTimestamp:
                return f"{pod.metadata.namespace}/{pod.metadata.name} {pod.status.phase}"
        return ""

    def _read(self, namespace: str) -> dict[str, float]:
        """The columns of the table but the run's, over a window."""
        wait_until(self._unsettled, SETTLED_S, "all pods have started")
        cluster = self._cluster(namespace)
        before, began = sums(cluster.get("/metrics", METRICS_S), COUNTERS), time.monotonic()
        time.sleep(self._window_s)
        text, passed = cluster.get("/metrics", METRICS_S), time.monotonic() - began
        found = {column: (value - before[column]) / passed for column, value in sums(text, COUNTERS).items()}
        found |= sums(text, GAUGES)
        found |= sums(cluster.ask("prometheus-0", 9090, "/metrics", METRICS_S), PROMETHEUS)
        return {column: value / (MB if column.endswith("MB") else 1) for column, value in found.items()}

    def measure(self) -> list[dict[str, float]]:
        """A row for none of the small stacks, one for one, and so on; they are removed in the end."""
        base = self._settings["stack_namespace"]
        rows = [{**self._read(base), "run, s": float("nan")}]
        show("stacks", 0, rows[0])
        try:
            for number in range(1, self._stacks + 1):
                self._deploy(number)
                row = self._read(f"size-{number}")
                row["run, s"] = self._deploy(number)
                rows.append(row)
                show("stacks", number, row)
        finally:
            names = [f"size-{number}" for number in range(1, self._stacks + 1)]
            self._kubectl("delete", "namespace", *names, "--ignore-not-found", "--wait=false")
        return rows


def show(what: str, number: float, row: Mapping[str, float]) -> None:
    print(f"{what:<12} {number:>5.0f} " + " ".join(f"{row[column]:>14.2f}" for column in COLUMNS), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m stack.bench.size", description="Measure what stacks cost a cluster."
    )
    parser.add_argument("--stacks", type=int, default=3, help="how many small stacks come up (default: 3)")
    parser.add_argument("--window", type=float, default=120, help="seconds of each look (default: 120)")
    arguments = parser.parse_args()
    bench = Bench(arguments.stacks, arguments.window)
    print(f"{bench.nodes()} nodes, one look of {arguments.window:.0f} s each")
    print(f"{'':<12} {'':>5} " + " ".join(f"{column:>14}" for column in COLUMNS))
    rows = bench.measure()
    lines = {column: slope([row[column] for row in rows]) for column in [*COUNTERS, *GAUGES]}
    rest = {column: statistics.mean(row[column] for row in rows[1:]) for column in [*PROMETHEUS, "run, s"]}
    show("one more", 1, {column: line[0] for column, line in lines.items()} | rest)
    for number in EXTRAPOLATED:
        show("extrapolated", number, {column: line[1] + number * line[0] for column, line in lines.items()} | rest)
    return 0


if __name__ == "__main__":
    sys.exit(main())
