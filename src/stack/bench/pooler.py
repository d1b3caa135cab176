"""What PgBouncer gives and takes: the same reads by pgbench, direct and over it, from a pod of its own and with TLS."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field

CLIENTS = (10, 100, 1000)
# A run's time counts from its first connection, of which so many are made in a second.
SECONDS = 5
CONNECTIONS_PER_SECOND = 40
ROUNDS = 3
SCALE = 5
HOSTS = {"direct": "postgres", "pooled": "postgres-pooler"}
STACK = {
    "postgres_instances": 1,
    "postgres_backup_enabled": False,
    # 100 direct clients do not fit into the default beside the pooler's and the database's own connections.
    "postgres_parameters": {"max_connections": 200},
    "postgres_pooler_enabled": True,
    "namespace_flows": [
        {"from": "bench", "to": "postgres", "ports": [5432]},
        {"from": "bench", "to": "postgres-pooler", "ports": [6432]},
    ],
}


@dataclass
class Comparison:
    """What both sides did.

    Attributes:
        name: What was measured.
        rates: Transactions a second of a side, in each round.
        refusals: Why a side could not be measured.
    """

    name: str
    rates: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in HOSTS})
    refusals: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """One line: the ratio, and the medians that it is made of or what kept a side from being measured."""
        medians = {side: statistics.median(rates) for side, rates in self.rates.items() if side not in self.refusals}
        ratio = "none" if self.refusals else f"{medians['pooled'] / medians['direct']:.2f}"
        details = [f"{rate:,.0f} {side}" for side, rate in medians.items()]
        details += [f"{side}: {why}" for side, why in self.refusals.items()]
        return f"{self.name:<62} {ratio:>7} {'':>17} ({', '.join(details)})"


def pod(namespace: str, image: str) -> str:
    """The manifest of the pod that pgbench runs in; `image` is that of the database, which has it."""
    login = {"PGUSER": "DB_USER", "PGPASSWORD": "DB_PASSWORD", "PGDATABASE": "DB_NAME"}
    environment: list[dict[str, object]] = [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": "flask-app-db", "key": key}}}
        for name, key in login.items()
    ]
    environment += [
        {"name": "PGSSLMODE", "value": "verify-full"},
        {"name": "PGSSLROOTCERT", "value": "/etc/ssl/stack/ca.crt"},
    ]
    document = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bench", "namespace": namespace, "labels": {"app": "bench"}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {
                    "name": "bench",
                    "image": image,
                    "command": ["sleep", "infinity"],
                    "env": environment,
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}},
                    "volumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/stack"}],
                }
            ],
            "volumes": [{"name": "ca", "configMap": {"name": "ca-certificates"}}],
        },
    }
    return json.dumps(document)


class Pgbench:
    """pgbench in the pod above."""

    def __init__(self, kubectl: list[str], namespace: str) -> None:
        self._exec = [*kubectl, "-n", namespace, "exec", "bench", "--"]

    def prepare(self) -> None:
        """Make the tables, as soon as the network policies know the new pod."""
        ready = " && ".join(f"pg_isready --quiet --host={host}" for host in HOSTS.values())
        subprocess.run([*self._exec, "sh", "-c", f"until {ready}; do :; done"], check=True, timeout=60)
        initialise = ["pgbench", "--initialize", "--quiet", f"--scale={SCALE}", f"--host={HOSTS['direct']}"]
        subprocess.run([*self._exec, *initialise], check=True, capture_output=True)

    def compare(self) -> Iterator[Comparison]:
        """Measure both sides in turn: for each number of clients, and with a new connection for each transaction."""
        cases = [(f"reads of {clients:,} clients", clients, "--protocol=prepared") for clients in CLIENTS]
        cases.append((f"reads of {CLIENTS[0]} clients that connect for each", CLIENTS[0], "--connect"))
        for name, clients, option in cases:
            yield self._compare(f"{name}, pooled over direct", clients, option)

    def _compare(self, name: str, clients: int, option: str) -> Comparison:
        comparison = Comparison(name)
        for _ in range(ROUNDS):
            for side, host in HOSTS.items():
                if side not in comparison.refusals:
                    result = self._read(host, clients, option)
                    found = re.findall(r"^tps = ([\d.]+)", result.stdout, re.MULTILINE)
                    if result.returncode or not found:
                        comparison.refusals[side] = self._reason(result.stderr)
                    else:
                        comparison.rates[side].append(float(found[0]))
        return comparison

    def _read(self, host: str, clients: int, option: str) -> subprocess.CompletedProcess[str]:
        seconds = SECONDS + clients // CONNECTIONS_PER_SECOND
        load = [f"--client={clients}", "--jobs=2", f"--time={seconds}", option]
        command = [*self._exec, "pgbench", "--no-vacuum", "--select-only", *load, f"--host={host}"]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    @staticmethod
    def _reason(errors: str) -> str:
        """What the first error says; those that follow come from it."""
        found = re.findall(r"(?:FATAL|error): +(?!connection to server)(.*)", errors)
        return found[0] if found else errors.strip() or "no transaction"
