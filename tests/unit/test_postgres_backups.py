"""What there is of backups, what can be restored of them, and what their Secret keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from stack.postgres import backups

NOW = datetime(2026, 3, 10, tzinfo=UTC)
STANZA = {
    "name": "postgres",
    "archive": [{"max": "0000000B0000000000000007"}, {"max": None}],
    "backup": [
        {
            "label": "20260301-013000F",
            "type": "full",
            "timestamp": {"stop": 1772328600},
            "info": {"size": 31457280, "repository": {"delta": 4194304}},
        },
        {
            "label": "20260301-013000F_20260302-013000I",
            "type": "incr",
            "timestamp": {"stop": 1772415000},
            "info": {"size": 31981568, "repository": {"delta": 524288}},
        },
    ],
}


def wanted(time: str = "", backup: str = "", timeline: str = "latest") -> dict[str, str]:
    return {"time": time, "backup": backup, "timeline": timeline}


def test_each_backup_is_a_line() -> None:
    full, incremental = backups.lines([STANZA, {"name": "empty"}])
    assert full == "20260301-013000F  full  ended 2026-03-01 01:30:00 UTC    30.0 MiB,    4.0 MiB in the repository"
    assert incremental.startswith("20260301-013000F_20260302-013000I  incr  ended 2026-03-02 01:30:00 UTC    30.5 MiB,")


@pytest.mark.parametrize(
    "asked",
    [
        wanted(),
        wanted(time="2026-03-01 01:30:01"),
        wanted(time="2026-03-05T12:00:00+01:00"),
        wanted(backup="20260301-013000F"),
        wanted(timeline="11"),
        wanted(time="2026-03-03 00:00:00", backup="20260301-013000F_20260302-013000I", timeline="1"),
    ],
)
def test_what_the_repository_has_can_be_restored(asked: dict[str, str]) -> None:
    assert backups.restore_problems([STANZA], "postgres", asked, NOW) == []


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (wanted(time="yesterday"), "restore_time is yesterday: it takes a time such as"),
        (wanted(time="2026-02-30 00:00:00"), "it takes a time such as"),
        (wanted(time="2026-03-01 01:30:00"), "the first backup to begin with ended at 2026-03-01 01:30:00+00"),
        (
            wanted(time="2026-03-01 12:00:00", backup="20260301-013000F_20260302-013000I"),
            "the backup to begin with ended at 2026-03-02 01:30:00+00",
        ),
        (wanted(time="2026-03-10 00:00:01"), "it is still to come"),
        (wanted(backup="other"), "restore_backup is other: the repository has 20260301-013000F, 2026"),
        (wanted(timeline="12"), "a timeline from 1 to 11"),
        (wanted(timeline="0"), "a timeline from 1 to 11"),
        (wanted(timeline="-1"), "a timeline from 1 to 11"),
        (wanted(timeline="0000000B"), "a timeline from 1 to 11"),
    ],
)
def test_what_the_repository_cannot_give_is_said(asked: dict[str, str], says: str) -> None:
    (line,) = backups.restore_problems([STANZA], "postgres", asked, NOW)
    assert says in line


def test_an_empty_repository_is_said() -> None:
    (line,) = backups.restore_problems([{"name": "other"}], "postgres", wanted(), NOW)
    assert line == "restore_backup is not set: there is no backup in the repository; playbooks/backup.yml makes one"


def test_arguments_of_a_restore() -> None:
    assert backups.restore_arguments(wanted(), clone=False) == []
    asked = wanted(time="2026-03-01T18:00:00+01", backup="20260301-013000F", timeline="3")
    assert backups.restore_arguments(asked, clone=True) == [
        "--type=time",
        "--target=2026-03-01 18:00:00+01:00",
        "--target-action=promote",
        "--set=20260301-013000F",
        "--target-timeline=3",
        "--archive-mode=off",
    ]


PASS = "PGBACKREST_REPO1_CIPHER_PASS"


@pytest.mark.parametrize(
    ("found", "given", "encrypted", "expected"),
    [
        ({}, "", False, {}),
        ({}, "", True, {PASS: "new"}),
        ({}, "given", True, {PASS: "given"}),
        ({PASS: "old"}, "", True, {PASS: "old"}),
        ({PASS: "old"}, "", False, {PASS: "old"}),
        ({PASS: "old"}, "given", True, {PASS: "given", "FORMER_PASSPHRASE": "old"}),
        ({PASS: "old", "FORMER_PASSPHRASE": "older"}, "", True, {PASS: "old", "FORMER_PASSPHRASE": "older"}),
        ({PASS: "old", "FORMER_PASSPHRASE": "older"}, "", False, {PASS: "old", "FORMER_PASSPHRASE": "older"}),
    ],
)
def test_no_passphrase_is_lost(found: dict[str, str], given: str, encrypted: bool, expected: dict[str, str]) -> None:
    assert backups.secret(found, given, "new", encrypted, {}) == expected
    assert backups.secret(found, given, "new", encrypted, {"KEY": "k"}) == {**expected, "KEY": "k"}


def job(note: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"annotations": {"repository": note}}, "status": status}


@pytest.mark.parametrize(
    ("objects", "name"),
    [
        ({"Job/postgres-backup-full-1": job("here none")}, "Job/postgres-backup-full-1"),
        ({"Job/postgres-backup-full-1": job("here none", failed=1)}, ""),
        ({"Job/postgres-backup-full-1": job("there none")}, ""),
        ({"Job/postgres-backup-incr-1": job("here none")}, ""),
        ({"Job/postgres-backup-full-1": {"metadata": {}}}, ""),
    ],
)
def test_a_first_backup_under_way_is_found(objects: dict[str, Any], name: str) -> None:
    assert backups.first(objects, "repository", "here none") == objects.get(name, {})
