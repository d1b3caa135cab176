"""Moments to restore, as PostgreSQL and people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_FORM = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,6})? ?(Z|[+-]\d\d(?::?\d\d)?)?", re.ASCII)


def moment(text: str) -> datetime:
    """A time of day with a date, in UTC where it has no offset.

    Args:
        text: Such as ``2026-03-01 18:00:00+01:00`` or ``2026-03-01T17:00:00Z``.

    Raises:
        ValueError: It is none, or there is no such day.
    """
    found = _FORM.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no time with a date")
    date, time, fraction, zone = found.groups()
    if zone and len(zone) == len("+01"):
        zone += "00"
    return datetime.strptime(f"{date} {time}{fraction or '.0'}{zone or 'Z'}", "%Y-%m-%d %H:%M:%S.%f%z")


def shown(epoch: float) -> str:
    """A moment in UTC as a person and `moment` read it."""
    return f"{datetime.fromtimestamp(epoch, UTC):%Y-%m-%d %H:%M:%S}+00"
