"""``python -m stack.report.dashboards FOLDER``: write the panels as dashboards of Grafana, a file for each."""

from __future__ import annotations

import argparse
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from .panels import PANELS, Panel

TYPE = "prometheus"
# Whoever looks chooses among the Prometheus that Grafana knows, each of one stack.
SOURCE = DataSourceRef(TYPE, "${datasource}")
GRID_WIDTH = 24
PANEL_WIDTH = GRID_WIDTH // 2
PANEL_HEIGHT = 8


def drawn(panel: Panel) -> timeseries.Panel:
    legend = f"{{{{{panel.label}}}}}" if panel.label else panel.title
    query = prometheus.Dataquery().ref_id("A").expr(panel.expression).legend_format(legend)
    return (
        timeseries.Panel()
        .title(panel.title)
        .unit(panel.grafana_unit)
        .min(0)
        .datasource(SOURCE)
        .with_target(query)
        .span(PANEL_WIDTH)
        .height(PANEL_HEIGHT)
    )


def document(name: str, panels: list[Panel]) -> str:
    """A dashboard as Grafana imports it."""
    built = (
        dashboard.Dashboard(f"flask-postgres: {name}")
        .uid(f"flask-postgres-{name}")
        .tags(["flask-postgres"])
        .readonly()
        .refresh("30s")
        .time("now-24h", "now")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Stack").type(TYPE))
    )
    for panel in panels:
        built = built.with_panel(drawn(panel))
    return str(JSONEncoder(sort_keys=True, indent=2).encode(built.build())) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stack.report.dashboards", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for name, panels in PANELS.items():
        (folder / f"{name}.json").write_text(document(name, panels))


if __name__ == "__main__":
    main()
