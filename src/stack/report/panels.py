"""What is drawn of the stack, as pictures of a report and as panels of Grafana."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Panel:
    """What a picture shows.

    Attributes:
        expression: In Prometheus' language.
        unit: Of its values, as it is written.
        grafana_unit: The same in Grafana's words (https://grafana.com/docs/grafana/latest/panels-visualizations/).
        label: The label that tells its lines apart; empty where there is one.
    """

    title: str
    expression: str
    unit: str = ""
    grafana_unit: str = "short"
    label: str = ""

    @property
    def heading(self) -> str:
        return f"{self.title}, {self.unit}" if self.unit else self.title


# By the dashboard that they are on.
PANELS = {
    "service": [
        Panel("Requests a second", "service:requests:rate5m", grafana_unit="reqps"),
        Panel("Requests that end with an error", "100 * service:errors:ratio5m", "%", "percent"),
        Panel("One of a hundred requests takes longer", "1000 * service:latency:p99", "ms", "ms"),
    ],
    "database": [
        Panel("Connections of the database", "sum by (pod) (pg_stat_activity_count)", label="pod"),
        Panel("Replicas are behind", "database:replica_lag:bytes / 1e6", "MB", "decmbytes", "application_name"),
        Panel("WAL on the volume", "pg_wal_size_bytes / 1e6", "MB", "decmbytes", "pod"),
        Panel("Age of the last backup", "database:backup:age_seconds / 3600", "hours", "h"),
        Panel("Disks in use", "100 * volume:used:ratio", "%", "percent", "pod"),
    ],
    "cluster": [
        Panel("Requests with an error at the ingress", "100 * ingress:errors:ratio5m", "%", "percent", "ingress"),
        Panel("Processors of the nodes in use", "100 * node:cpu:ratio", "%", "percent", "node"),
        Panel("Memory of the nodes in use", "100 * node:memory:ratio", "%", "percent", "node"),
        Panel(
            "Memory of the pods",
            'sum by (pod) (container_memory_working_set_bytes{pod!=""}) / 1e6',
            "MB",
            "decmbytes",
            "pod",
        ),
    ],
}
