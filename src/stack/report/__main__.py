"""``python -m stack.report``: draw what Prometheus has seen into one HTML page that needs nothing but itself."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from urllib.parse import urlencode

import pygal
from pygal.style import Style

from stack.cluster import READ_ERRORS, Cluster, reason

from .panels import PANELS, Panel

POINTS = 240
QUERY_S = 30
HOURS_OF_A_DAY = 24
STYLE = Style(
    background="transparent",
    plot_background="transparent",
    font_family="sans-serif",
    guide_stroke_color="#ddd",
    major_guide_stroke_color="#ccc",
    guide_stroke_dasharray="none",
    major_guide_stroke_dasharray="none",
    no_data_font_size=16,
)
PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
  body {{ font-family: sans-serif; margin: 1rem; }}
  main {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(30rem, 1fr)); gap: 1rem; }}
  figure {{ margin: 0; }}
</style>
<h1>{title}</h1>
<p>{subtitle}</p>
<main>
{figures}
</main>
</html>
"""

Series = dict[str, list[tuple[datetime, float]]]


def asker(cluster: Cluster, start: float, end: float) -> Callable[[Panel], Series]:
    """A function that asks Prometheus for the lines of a panel."""
    times = {"start": start, "end": end, "step": max(1, int((end - start) / POINTS))}

    def ask(panel: Panel) -> Series:
        path = f"/api/v1/query_range?{urlencode({'query': panel.expression, **times})}"
        found = json.loads(cluster.ask("prometheus-0", 9090, path, QUERY_S))["data"]["result"]
        return {
            item["metric"].get(panel.label, panel.heading): [
                (datetime.fromtimestamp(at, UTC), float(value)) for at, value in item["values"] if value != "NaN"
            ]
            for item in found
        }

    return ask


def picture(panel: Panel, series: Series, moments: str) -> str:
    """A panel as SVG, to stand in a page; times are written in the form ``moments``."""
    chart = pygal.DateTimeLine(
        title=panel.heading,
        width=640,
        height=280,
        style=STYLE,
        # It would be loaded from elsewhere.
        js=(),
        disable_xml_declaration=True,
        show_dots=False,
        show_legend=bool(panel.label),
        legend_at_bottom=True,
        include_x_axis=True,
        x_labels_major_count=6,
        show_minor_x_labels=False,
        truncate_label=-1,
        x_value_formatter=lambda moment: moment.strftime(moments),
    )
    for name, points in sorted(series.items()):
        chart.add(name, points)
    return str(chart.render(is_unicode=True))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m stack.report", description=__doc__)
    parser.add_argument("--kubeconfig", required=True)
    parser.add_argument("--context", required=True)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--hours", type=float, required=True, help="how far back to look")
    parser.add_argument("--output", type=Path, required=True, help="the folder of report.html")
    arguments = parser.parse_args()
    end = time.time()
    cluster = Cluster(arguments.kubeconfig, arguments.context, arguments.namespace)
    ask = asker(cluster, end - arguments.hours * 3600, end)
    moments = "%H:%M" if arguments.hours <= HOURS_OF_A_DAY else "%Y-%m-%d"
    try:
        # What is not read, such as another's nodes, has no picture.
        figures = [
            f"<figure>{picture(panel, series, moments)}</figure>"
            for panels in PANELS.values()
            for panel in panels
            if (series := ask(panel))
        ]
    except READ_ERRORS as error:
        sys.exit(f"Prometheus of {arguments.namespace} does not answer: {reason(error)}")
    arguments.output.mkdir(parents=True, exist_ok=True)
    page = arguments.output / "report.html"
    moment = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d %H:%M UTC")
    page.write_text(
        PAGE.format(
            title=escape(f"Stack {arguments.namespace} on {arguments.context}"),
            subtitle=f"The {'hour' if arguments.hours == 1 else f'{arguments.hours:g} hours'} until {moment}",
            figures="\n".join(figures),
        )
    )
    print(page)


if __name__ == "__main__":
    main()
