"""Schedules and moments, as the API server and PostgreSQL read them."""

from __future__ import annotations

import pytest

from stack.postgres import times
from stack.postgres.schedule import is_schedule


@pytest.mark.parametrize(
    "text",
    ["30 1 * * 0", "*/5 * * * *", "0 0 1,15 * *", "5/10 0-6 * jan-MAR mon-fri", "00 07 * * ?", "@weekly", "0 0 29 2 *",
     "0 0 31 * *", "0 0 30 2 sun", "0  1  *  *  6"],
)  # fmt: skip
def test_schedules_of_a_cronjob(text: str) -> None:
    assert is_schedule(text)


@pytest.mark.parametrize(
    "text",
    ["", "nightly", "30 25 * * 0", "60 1 * * *", "30 1 * *", "30 1 * * 7", "30 1 0 * *", "30 1 * 13 *", "5-1 * * * *",
     "*/0 * * * *", "0 0 30 2 *", "0 0 31 4,6 *", "@Weekly", "@every 1h", "0 0 * * sunday", "1,,2 * * * *",
     "TZ=UTC 0 0 * * *"],
)  # fmt: skip
def test_what_is_no_schedule_or_never_comes(text: str) -> None:
    assert not is_schedule(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-03-01 18:00:00+01:00", "2026-03-01T18:00:00+01:00"),
        ("2026-03-01 18:00:00+01", "2026-03-01T18:00:00+01:00"),
        ("2026-03-01T18:00:00-0530", "2026-03-01T18:00:00-05:30"),
        ("2026-03-01T18:00:00Z", "2026-03-01T18:00:00+00:00"),
        ("2026-03-01 18:00:00", "2026-03-01T18:00:00+00:00"),
        ("2026-03-01 18:00:00.25 +01", "2026-03-01T18:00:00.250000+01:00"),
        ("2024-02-29 00:00:00", "2024-02-29T00:00:00+00:00"),
    ],
)
def test_moments(text: str, moment: str) -> None:
    assert times.moment(text).isoformat() == moment


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-03-01", "2026-02-29 00:00:00", "2026-03-01 25:00:00", "2026-03-01 18:00",
             "01.03.2026 18:00:00", "2026-03-01 18:00:00 CET", "2026-03-01 18:00:00; DROP"],
)  # fmt: skip
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        times.moment(text)


def test_a_shown_moment_is_read_back() -> None:
    assert times.moment(times.shown(1772388000)).timestamp() == 1772388000
