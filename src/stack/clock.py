"""This machine's clock beside the cluster's."""

from __future__ import annotations

import datetime
from email.utils import parsedate_to_datetime

# Two clocks that agree to within a minute serve all that compares times here.
LIMIT_S = 60.0


def seconds_ahead(date: str, asked: datetime.datetime, answered: datetime.datetime) -> float:
    """By how much the clock that `asked` and `answered` were read from is ahead of the one that wrote `date`.

    Args:
        date: The field ``Date`` of an answer, which leaves out the fraction of a second (RFC 9110, section 6.6.1).
        asked: When the request was sent, with a time zone.
        answered: When its answer was there, with a time zone.

    Returns:
        Seconds, below zero for a clock that is behind; the least difference that the three allow, so that a slow answer
        is none.

    Raises:
        ValueError: `date` is no date.
    """
    written = parsedate_to_datetime(date)
    if written.tzinfo is None:
        written = written.replace(tzinfo=datetime.UTC)
    least = (asked - written).total_seconds() - 1
    most = (answered - written).total_seconds()
    if least > 0:
        return least
    return min(most, 0.0)


def difference(ahead: float) -> str:
    """What there is to say of a clock that is so many seconds ahead; empty for one that agrees."""
    if abs(ahead) <= LIMIT_S:
        return ""
    minutes = abs(ahead) / 60
    size = (
        f"{minutes:.0f} min"
        if minutes < 120
        else f"{minutes / 60:.0f} h"
        if minutes < 2880
        else f"{minutes / 1440:.0f} d"
    )
    return f"the clock of this machine is {size} {'ahead of' if ahead > 0 else 'behind'} the cluster's"
