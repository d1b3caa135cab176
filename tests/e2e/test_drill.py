"""The drill in its short form: what `make drill` plays ten times, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run, Stack

pytestmark = pytest.mark.alone

FAULTS = ["switchover", "force-delete", "kill"]
Drill = Callable[..., Run]


@pytest.fixture
def drill(site: Drill, tmp_path: Path) -> Drill:
    """Run the playbook as `make drill` does; its output goes to ``tmp_path``."""
    short = {"drill_rounds": 1, "drill_output": str(tmp_path)}
    return lambda **values: site(playbook="playbooks/drill.yml", seconds=300, **{**short, **values})


def test_no_acknowledged_row_is_lost(drill: Drill, stack: Stack, tmp_path: Path) -> None:
    # One round on a machine that does other things at the same time says little of times.
    drill(drill_faults=FAULTS, drill_strict=False).succeeded()
    outcomes = json.loads((tmp_path / "drill.json").read_text())
    assert [outcome["name"] for outcome in outcomes] == FAULTS
    for outcome in outcomes:
        (played,) = outcome["rounds"]
        assert played["acknowledged"] > 100
        assert played["found"] == played["acknowledged"]
        assert played["judged"] > 50
    assert (tmp_path / "drill.svg").read_text().startswith("<svg")
    assert stack.api("/api/data", params={"contains": "drill "}).json() == {"data": []}


@pytest.mark.parametrize(("name", "value"), [("drill_rounds", 0), ("drill_faults", ["earthquake"])])
def test_wrong_settings_are_refused_by_name(drill: Drill, stack: Stack, name: str, value: object) -> None:
    before = [pod.metadata.uid for pod in stack.pods("postgres")]
    run = drill(**{name: value})
    assert run.code == 2
    assert f"{name} is " in run.output
    assert [pod.metadata.uid for pod in stack.pods("postgres")] == before
