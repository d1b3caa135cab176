"""How long the callers of the deployed service wait, at a rate that is kept however slow the answers are.

The load comes from vegeta on this machine and goes to the ingress on loopback.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from pathlib import Path
from typing import Any

CLIENTS = 8
SECONDS = 5
ROUNDS = 5


class Load:
    """GET requests for one address of the service."""

    def __init__(self, vegeta: Path, host: str, path: str, ca_file: Path) -> None:
        """Prepare the load.

        Args:
            vegeta: The binary.
            host: The host; it is called on 127.0.0.1, whatever its name leads to.
            path: The path.
            ca_file: The authority of the host's certificate.
        """
        self._vegeta = str(vegeta)
        self._target = f"GET https://{host}{path}\n".encode()
        self._options = ["-root-certs", str(ca_file), "-connect-to", f"{host}:443:127.0.0.1:443", "-timeout", "5s"]

    def _attack(self, rate: int, *options: str) -> dict[str, Any]:
        attack = [self._vegeta, "attack", "-rate", str(rate), "-duration", f"{SECONDS}s", *self._options, *options]
        results = subprocess.run(attack, input=self._target, check=True, stdout=subprocess.PIPE).stdout
        report = [self._vegeta, "report", "-type", "json"]
        document = subprocess.run(report, input=results, check=True, stdout=subprocess.PIPE).stdout
        found: dict[str, Any] = json.loads(document)
        return found

    def peak(self) -> float:
        """Return how many requests a second `CLIENTS` clients get answered that wait for each answer."""
        reports = [self._attack(0, "-max-workers", str(CLIENTS)) for _ in range(ROUNDS)]
        return statistics.median(float(report["throughput"]) for report in reports)

    def at(self, rate: int) -> tuple[float, int]:
        """Return the 99th percentile of the latencies at a rate, in milliseconds, and how many requests failed."""
        reports = [self._attack(rate) for _ in range(ROUNDS)]
        failed = sum(report["requests"] - report["status_codes"].get("200", 0) for report in reports)
        return statistics.median(float(report["latencies"]["99th"]) / 1e6 for report in reports), failed
