"""Requests at a steady rate while the service is rolled out, rolled back, loses a pod and is scaled: none may fail.

The long form, `ROLLOUT_REQUESTS=30000 make test-e2e ARGS=tests/e2e/test_rollout.py`, takes five minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Stack, until
from load import steady_load

pytestmark = pytest.mark.disruptive

REQUESTS = int(os.environ.get("ROLLOUT_REQUESTS", "3000"))
PER_SECOND = 100


def test_no_request_fails_while_pods_come_and_go(stack: Stack, kubectl: Callable[..., str]) -> None:
    replicas = stack.get("Deployment", "flask-app").spec.replicas

    def everyone() -> list[Any]:
        pods = stack.resource("Pod").get(namespace=stack.namespace, label_selector="app=flask-app").items
        return list(pods)

    def settled() -> None:
        kubectl("rollout status deployment flask-app --timeout=240s")
        wanted = stack.get("Deployment", "flask-app").spec.replicas
        # Until the last request of the last old pod: what ends has to end well, too.
        until(lambda: len(everyone()) == wanted, 120, "the old pods are still there")

    # What tests before this one have restarted takes the CPU that a new pod needs.
    until(stack.is_settled, 120, "pods come and go")
    with steady_load(stack, PER_SECOND) as load:
        kubectl("rollout restart deployment flask-app")
        settled()
        kubectl("rollout undo deployment flask-app")
        settled()
        kubectl(f"delete pod {stack.pods('flask-app')[0].metadata.name} --wait=false")
        settled()
        kubectl(f"scale deployment flask-app --replicas={replicas + 2}")
        settled()
        kubectl(f"scale deployment flask-app --replicas={replicas}")
        settled()
        until(lambda: load.answered + len(load.failures) >= REQUESTS, REQUESTS / PER_SECOND * 2, "requests are due")
    print(f"{load.answered} requests answered, {len(load.failures)} failed")
    assert load.failures == []
    assert load.answered >= REQUESTS
