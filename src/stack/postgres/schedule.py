"""When a CronJob starts, as the API server reads it.

See https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/#schedule-syntax.
"""

from __future__ import annotations

import re

MACROS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Minute, hour, day of the month, month, day of the week: the least and the greatest value, and names.
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    (0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
_LENGTHS = dict(enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), start=1))
_PART = re.compile(r"(?:[*?]|([a-z0-9]+)(?:-([a-z0-9]+))?)(?:/([0-9]+))?")


def _values(field: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    found: set[int] = set()
    for part in field.lower().split(","):
        match = _PART.fullmatch(part)
        if not match:
            raise ValueError(part)
        first, last, step = match.groups()
        begin = low if first is None else names[first] if first in names else int(first)
        end = high if first is None or (last is None and step) else begin
        if last is not None:
            end = names[last] if last in names else int(last)
        if not low <= begin <= end <= high or step == "0" * len(step or "-"):
            raise ValueError(part)
        found |= set(range(begin, end + 1, int(step or 1)))
    return found


def is_schedule(text: str) -> bool:
    """Whether a CronJob takes a schedule, and some day is in it.

    Args:
        text: Five fields such as ``30 1 * * 0``, or one of `MACROS`.
    """
    if text.startswith("@"):
        return text in MACROS
    fields = text.split()
    if len(fields) != len(_FIELDS):
        return False
    try:
        _, _, days, months, _ = (_values(field, *form) for field, form in zip(fields, _FIELDS, strict=True))
    except ValueError:
        return False
    # With a day of the week, either of the two is enough.
    return fields[4][0] not in "*?" or any(min(days) <= _LENGTHS[month] for month in months)
