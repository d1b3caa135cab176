"""What is read from a secrets manager."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def without_value(names: Iterable[str], values: Mapping[str, Any]) -> list[str]:
    """The names that have no value, or an empty one."""
    return [name for name in names if values.get(name) is None or str(values[name]) == ""]
