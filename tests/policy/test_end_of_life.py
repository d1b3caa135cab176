"""The check of `make lint` over ends of life, proved by what it has to find."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
import yaml
from end_of_life import DATES, ROOT, Use, findings, in_use, version_of

READ = date(2026, 11, 1)
END = date(2026, 11, 20)
KNOWN: dict[str, Any] = {
    "soon_days": 30,
    "reread_days": 100,
    "parts": {
        "kubernetes": {"source": "the page", "read": READ, "ends": {"1.34": END, "1.35": None}},
        "postgres": {"source": "the page", "read": READ, "ends": {"17": END}},
    },
    "of_debian": ["prometheus"],
    "exceptions": [],
}
EXCEPTION = {"part": "kubernetes", "version": "1.34", "until": date(2026, 12, 31), "reason": "a reason"}


@pytest.mark.parametrize(
    ("version", "key"),
    [
        ("v1.34.4", "1.34"),
        ("1.34", "1.34"),
        ("17-trixie", "17"),
        ("3.13-slim-trixie", "3.13"),
        ("trixie", "trixie"),
        # Not the one whose letters it begins with.
        ("v1.3.4", None),
        ("v1.340.0", None),
        ("170-trixie", None),
    ],
)
def test_a_version_is_found_by_its_numbers(version: str, key: str | None) -> None:
    assert version_of(version, {"1.34": None, "17": None, "3.13": None, "trixie": None}) == key


@pytest.mark.parametrize(
    ("version", "today", "wrong", "soon"),
    [
        ("v1.34.4", date(2026, 10, 20), [], []),
        ("v1.34.4", date(2026, 10, 22), [], ["maintained for 29 more days"]),
        ("v1.34.4", END, [], ["maintained for 0 more days"]),
        ("v1.34.4", date(2026, 11, 21), ["no longer maintained since 2026-11-20, see the page"], []),
        ("v1.35.0", date(2027, 2, 9), [], []),
        ("v1.35.0", date(2027, 2, 10), ["no end was announced on 2026-11-01, read the page again"], []),
        ("v1.36.0", READ, ["has no date for it, see the page"], []),
    ],
)
def test_what_is_past_its_end_is_wrong(version: str, today: date, wrong: list[str], soon: list[str]) -> None:
    result = findings([Use("kubernetes", version, "file.yml")], KNOWN, today)
    for lines, expected in ((result.wrong, wrong), (result.soon, soon)):
        assert len(lines) == len(expected)
        assert all(f"kubernetes {version} (file.yml): " in line for line in lines)
        assert all(text in line for line, text in zip(lines, expected, strict=True))


def test_an_exception_ends_too() -> None:
    dates = {**KNOWN, "exceptions": [EXCEPTION]}
    use = [Use("kubernetes", "v1.34.4", "file.yml")]
    accepted = findings(use, dates, date(2026, 12, 31))
    assert (accepted.wrong, len(accepted.soon)) == ([], 1)
    assert "a reason" in accepted.soon[0]
    assert len(findings(use, dates, date(2027, 1, 1)).wrong) == 1


def test_an_exception_that_nothing_needs_is_wrong() -> None:
    result = findings([Use("kubernetes", "v1.35.0", "file.yml")], {**KNOWN, "exceptions": [EXCEPTION]}, READ)
    assert result.wrong == ["kubernetes 1.34: an exception that nothing needs"]


def test_what_is_not_known_is_wrong_unless_debian_maintains_it() -> None:
    result = findings([Use("prometheus", "v2.53.3", "file"), Use("nginx", "1.0", "file")], KNOWN, READ)
    assert [line.split(" (")[0] for line in result.wrong] == ["nginx 1.0"]


def test_the_tree_tells_what_it_uses() -> None:
    """Each part that has dates is found in the tree, so that a pattern that no longer fits is noticed."""
    dates = yaml.safe_load(DATES.read_text())
    uses = in_use(ROOT)
    assert {use.part for use in uses} == {*dates["parts"], *dates["of_debian"]}
    assert {use.version for use in uses if use.part == "debian"} >= {"bookworm", "trixie"}
    assert all(part["source"].startswith("https://") for part in dates["parts"].values())
