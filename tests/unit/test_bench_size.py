"""The arithmetic of what stacks cost a cluster."""

from __future__ import annotations

import pytest

from stack.bench.size import COUNTERS, GAUGES, slope, sums

TEXT = """
# HELP apiserver_request_total Counter of requests.
# TYPE apiserver_request_total counter
apiserver_request_total{code="200",resource="pods",verb="GET"} 10
apiserver_request_total{code="200",resource="leases",verb="PUT"} 2.5e1
apiserver_request_total{code="200",resource="pods",verb="WATCH"} 3
# HELP apiserver_longrunning_requests Gauge of what stays open.
# TYPE apiserver_longrunning_requests gauge
apiserver_longrunning_requests{resource="pods",subresource="",verb="WATCH"} 6
apiserver_longrunning_requests{resource="pods",subresource="exec",verb="CONNECT"} 2
apiserver_longrunning_requests{resource="secrets",subresource="",verb="WATCH"} 5
# HELP process_cpu_seconds_total Time of processors.
# TYPE process_cpu_seconds_total counter
process_cpu_seconds_total 12.5
"""


def test_metrics_are_summed_over_their_labels() -> None:
    assert sums(TEXT, COUNTERS) == {"requests/s": 38, "CPU": 12.5}


def test_only_watches_are_counted_as_such() -> None:
    assert sums(TEXT, GAUGES) == {"watches": 11, "memory, MB": 0, "etcd, MB": 0}


def test_one_stack_more_is_the_slope() -> None:
    assert slope([10.0, 13.0, 16.0, 19.0]) == pytest.approx((3, 10))
