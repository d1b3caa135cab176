"""To whom the primary hands over before its pod ends: the script in the image, without its cluster."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "images/postgres/bin/postgres-handover"


@pytest.fixture
def handover(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    # Patroni is in the image alone; what is tested here does not call it.
    for name in ("patroni", "patroni.dcs", "patroni.dcs.kubernetes"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name in ("K8sException", "k8s_client", "k8s_config"):
        monkeypatch.setattr(sys.modules["patroni.dcs.kubernetes"], name, Exception, raising=False)
    spec = spec_from_loader("postgres_handover", SourceFileLoader("postgres_handover", str(SCRIPT)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec.loader.exec_module(module)
    return module


def member(number: int, role: str, state: str = "streaming", **tags: bool) -> dict[str, Any]:
    return {"name": f"postgres-{number}", "role": role, "state": state, "tags": tags}


PRIMARY = member(0, "leader", "running")


@pytest.mark.parametrize(
    ("members", "names"),
    [
        ([PRIMARY, member(1, "sync_standby")], ["postgres-1"]),
        # One that has every commit is there, so the other one is not taken.
        ([PRIMARY, member(1, "replica"), member(2, "sync_standby")], ["postgres-2"]),
        ([PRIMARY, member(1, "quorum_standby"), member(2, "quorum_standby")], ["postgres-1", "postgres-2"]),
        # Without synchronous replication, whoever streams.
        ([PRIMARY, member(1, "replica"), member(2, "replica", "starting")], ["postgres-1"]),
        ([PRIMARY, member(1, "sync_standby", nofailover=True)], []),
        ([PRIMARY, member(1, "sync_standby", "stopped"), member(2, "replica")], []),
        ([PRIMARY], []),
        # This instance is not the primary.
        ([member(0, "sync_standby"), member(1, "leader", "running")], []),
        ([member(0, "replica"), member(1, "sync_standby")], []),
        ([], []),
    ],
)
def test_who_may_take_over(handover: ModuleType, members: list[dict[str, Any]], names: list[str]) -> None:
    assert handover.candidates({"members": members}, "postgres-0") == names


def test_a_database_that_is_paused_is_left_alone(handover: ModuleType) -> None:
    assert handover.candidates({"members": [PRIMARY, member(1, "sync_standby")], "pause": True}, "postgres-0") == []


def pod(number: int, revision: str, *, ends: bool = False) -> Any:
    labels = {"controller-revision-hash": revision}
    metadata = SimpleNamespace(name=f"postgres-{number}", labels=labels, deletion_timestamp="now" if ends else None)
    return SimpleNamespace(metadata=metadata)


@pytest.mark.parametrize(
    ("own", "pods", "name"),
    [
        # A rollout goes from the highest number to the lowest: what it has replaced is not ended again.
        (pod(0, "old"), [pod(1, "new"), pod(2, "new")], "postgres-1"),
        (pod(1, "old"), [pod(0, "old"), pod(2, "new")], "postgres-2"),
        # The one that is replaced last.
        (pod(2, "old"), [pod(1, "old"), pod(0, "old")], "postgres-0"),
        (pod(2, "old"), [pod(10, "old"), pod(9, "old")], "postgres-9"),
        (pod(1, "old"), [pod(0, "old", ends=True), pod(2, "old")], "postgres-2"),
        (pod(1, "old"), [pod(0, "old", ends=True)], ""),
        (pod(1, "old"), [], ""),
    ],
)
def test_who_takes_over(handover: ModuleType, own: Any, pods: list[Any], name: str) -> None:
    assert handover.successor(own, pods) == name
