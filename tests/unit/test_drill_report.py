"""The drill without a cluster: what it counts, and what it says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.drill import node, report
from stack.drill.client import Attempt, longest_gap
from stack.drill.faults import FAULTS, Fault
from stack.drill.report import Outcome, Requests, Round
from stack.polling import wait_until

PLAYBOOK = Path(__file__).parents[2] / "playbooks/drill.yml"


def attempts(*times: float, failed: tuple[float, ...] = ()) -> list[Attempt]:
    found = [Attempt(time, 200, succeeded=True) for time in times]
    return sorted(found + [Attempt(time, 503, succeeded=False) for time in failed], key=lambda each: each.ended)


@pytest.mark.parametrize(
    ("found", "seconds"),
    [
        (attempts(), 0),
        (attempts(1), 0),
        # The last success before the fault counts, an earlier gap does not.
        (attempts(1, 9, 12, 13), 3),
        (attempts(9, 12, 18, failed=(13, 14)), 6),
        (attempts(11, 11.5), 0.5),
    ],
)
def test_the_longest_time_without_a_success(found: list[Attempt], seconds: float) -> None:
    assert longest_gap(found, since=10) == seconds


def test_requests_are_counted() -> None:
    found = [
        Attempt(1, 200, succeeded=True),
        Attempt(2, 200, True, age=3),
        Attempt(3, 200, True, age=1),
        Attempt(4, 0, False),
    ]
    counted = Requests.of(found)
    assert counted == Requests(sent=4, failed=1, by_replica=2, oldest_s=3)
    assert counted + Requests(1, 1, 1, 9) == Requests(5, 2, 3, 9)
    assert Requests.of([]) == Requests()


def played(
    seconds: float, reads_seconds: float = 0.1, found: int = 10, stale_s: float | None = 0, violation: str = ""
) -> Round:
    return Round(
        acknowledged=10,
        found=found,
        duplicated=0,
        seconds=seconds,
        reads_seconds=reads_seconds,
        writes=Requests(12, 2),
        reads=Requests(9, 0, 4, 2),
        statuses={"201": 10, "503": 2},
        judged=70,
        stale_s=stale_s,
        violation=violation,
    )


@pytest.mark.parametrize(
    ("rounds", "reached"),
    [
        ([played(0.9), played(1.0)], True),
        ([played(0.2), played(1.1)], False),
        ([played(0.2, reads_seconds=1.1)], False),
        ([played(0.2, found=9)], False),
        ([played(0.2), played(0.2, stale_s=0.1)], False),
        ([played(0.2), played(0.2, stale_s=None)], False),
        ([], True),
    ],
)
def test_a_promise_is_kept_by_each_round_for_writes_and_for_reads(rounds: list[Round], reached: bool) -> None:
    assert FAULTS["switchover"].worst_s == FAULTS["switchover"].reads_s == 1
    assert Outcome("switchover", rounds).is_reached is reached


def test_a_line_shows_what_was_seen_beside_what_is_promised() -> None:
    found = report.line(Outcome("switchover", [played(0.5), played(2.0, 0.25)]))
    words = " ".join(found.split())
    assert words.endswith("20 0 0 4 of 24 0 of 18 8 1.25 (1) 2.00 (1) 0.25 (1) 140 0.00 (0) MISSED")
    assert "none holds (0)  MISSED" in report.line(Outcome("switchover", [played(0.5, stale_s=None)]))
    assert len(report.HEADER) <= len(found)
    assert "not possible here: no root" in report.line(Outcome("cut-api", impossible="no root"))


def test_the_table_for_documents_has_the_worst_of_the_rounds() -> None:
    outcomes = [
        Outcome("switchover", [played(0.5), played(2.0, 0.25)]),
        Outcome("delete", [played(0.5)]),
        Outcome("cut-api", impossible="no root"),
    ]
    seen, _, header, dashes, *rows = report.document(outcomes, "2026-11-28, 2 processors, load 9").splitlines()
    assert seen == "2026-11-28, 2 processors, load 9, the worst of 2 rounds:"
    assert header.count("|") == dashes.count("|") == len(report.COLUMNS) + 1
    assert rows == [
        "| `switchover` (missed) | 2.0 | 0.2 | 4 of 24 | 0 of 18 | 0, 0 | 140 | 0.0 |",
        "| `delete` | 0.5 | 0.1 | 2 of 12 | 0 of 9 | 0, 0 | 70 | 0.0 |",
    ]


def test_the_guide_shows_the_columns_that_a_drill_prints() -> None:
    guide = (Path(__file__).parents[2] / "docs/how-to/drill.md").read_text()
    assert f"| {' | '.join(report.COLUMNS)} |\n" in guide


def test_outcomes_are_read_as_they_were_saved(tmp_path: Path) -> None:
    outcomes = [
        Outcome("switchover", [played(0.5), played(0.5, stale_s=None, violation="x")]),
        Outcome("cut-api", impossible="no root"),
    ]
    report.save(outcomes, tmp_path)
    assert report.load(tmp_path / "drill.json") == outcomes


class Account:
    """An account with some rights, which notes what it is asked to do."""

    def __init__(self, *rights: tuple[str, str, str]) -> None:
        self.rights = rights

    def may(self, *right: str) -> bool:
        return right in self.rights


def test_a_fault_that_the_account_has_no_right_to_is_left_out_with_the_reason() -> None:
    def unasked(_: Any) -> str:
        raise AssertionError("nothing else is asked without the right")

    fault = Fault(
        "x", lambda *_: None, rights=(("create", "pods/exec", ""), ("delete", "pods", "")), impossible=unasked
    )
    account: Any = Account(("create", "pods/exec", ""))
    assert fault.reason_against(account) == "the account may not delete pods"
    account = Account(*fault.rights)
    with pytest.raises(AssertionError):
        fault.reason_against(account)


def test_processes_are_found_by_program_and_by_module(tmp_path: Path) -> None:
    program = tmp_path / "drilled-program"
    shutil.copy("/bin/sleep", program)
    running = [subprocess.Popen([program, "60"]), subprocess.Popen([sys.executable, "-m", "http.server", "0"])]
    try:
        wait_until(lambda: "" if [*node.processes("drilled-program")] == [running[0].pid] else "no program", 10, "it")
        wait_until(lambda: "" if running[1].pid in node.processes("http.server") else "no module", 10, "it")
        assert node.is_nodes_own(running[0].pid)
    finally:
        for process in running:
            process.kill()
            process.wait()
    assert not node.is_nodes_own(running[0].pid)


def test_the_playbook_knows_all_faults() -> None:
    (play,) = yaml.safe_load(PLAYBOOK.read_text())
    assert play["vars"]["__drill_faults"] == list(FAULTS)
