"""The HorizontalPodAutoscaler, switched on by its setting and then off again.

The long form, `AUTOSCALING_BACK=1 make test-e2e ARGS=tests/e2e/test_autoscaling.py`, also waits until the autoscaler
has taken its pods away again. metrics-server measures once a minute, so that takes two minutes more.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from conftest import Run, Stack, until
from load import steady_load

pytestmark = pytest.mark.alone

MAX_PODS = 3
# Under the rate limit for a single address.
PER_SECOND = 120


def test_pods_come_under_load_and_go_after_it(site: Callable[..., Run], stack: Stack) -> None:
    def replicas() -> int:
        return int(stack.get("Deployment", "flask-app").spec.replicas)

    def ready() -> int:
        return int(stack.get("Deployment", "flask-app").status.readyReplicas or 0)

    before = replicas()
    assert before < MAX_PODS
    try:
        with steady_load(stack, PER_SECOND):
            site(
                "--tags",
                "flask_app",
                flask_app_autoscaling_enabled=True,
                flask_app_autoscaling_max=MAX_PODS,
                # Far above what pods without requests use, and far below what these make them use.
                flask_app_autoscaling_cpu_percent=25,
                flask_app_autoscaling_window=0,
            ).succeeded()
            until(lambda: ready() == MAX_PODS, 150, "no pod was added")
        if os.environ.get("AUTOSCALING_BACK"):
            until(lambda: replicas() == before, 240, "the added pod was not taken away")
    finally:
        site("--tags", "flask_app").succeeded()
    assert replicas() == before
    assert not stack.resource("HorizontalPodAutoscaler").get(namespace=stack.namespace).items
