"""Validation of each role's settings, by the rules of whatever takes the values.

``stack.validation.ROLE.problems(settings)`` is one pure function for each role: it takes the settings of
``roles/ROLE/meta/argument_specs.yml`` by name, converted to their types, and returns every problem at once;
``running_problems`` of some compares them with what runs, and ``unreachable`` of one asks what settings without a
problem name. In a role's module, ``ALSO`` has the names that its functions read beside the role's own, and ``ALIASES``
the settings that people set in place of the role's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Problem:
    """One setting that cannot work.

    Attributes:
        name: The setting as its user writes it, such as ``postgres_instances``.
        wanted: What the setting takes, as the rest of a sentence: ``it takes 1 to 5``.
        value: What was set; None for a secret, which no message repeats.
    """

    name: str
    wanted: str
    value: Any = None

    def __str__(self) -> str:
        said = self.name if self.value is None else f"{self.name} is {self.value}"
        return f"{said}: {self.wanted}"


def lines(problems: Iterable[Problem]) -> Iterator[str]:
    """Each problem as one line, each line once."""
    return iter(dict.fromkeys(" ".join(str(problem).split()) for problem in problems))
