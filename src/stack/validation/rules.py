"""Rules that settings of several roles share.

A rule takes a value and returns what the setting takes, as the rest of a sentence, where the value cannot work; else
None.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from stack.validation import Problem, Settings

Rule = Callable[[Any], str | None]

# What Kubernetes counts with.
INT32_MAX = 2**31 - 1
CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


def check(settings: Settings, rules: Mapping[str, Rule], aliases: Mapping[str, str] | None = None) -> Iterator[Problem]:
    """Apply each rule to the setting of its name, where that is set.

    Args:
        settings: The settings by name.
        rules: The rules by the name of the setting.
        aliases: For settings that take their value from another one: the one that people set.
    """
    for name, rule in rules.items():
        wanted = rule(settings[name]) if name in settings else None
        if wanted:
            yield Problem(full_name(name, aliases or {}), wanted, settings[name])


def full_name(name: str, aliases: Mapping[str, str]) -> str:
    return f"{name} ({aliases[name]})" if name in aliases else name


def number(low: int, high: int = INT32_MAX, wanted: str = "") -> Rule:
    """A whole number of a range, both ends included."""
    text = wanted or f"it takes {low} to {high}"
    return lambda value: None if isinstance(value, int) and low <= value <= high else text


def matches(pattern: re.Pattern[str], wanted: str) -> Rule:
    """Text that a pattern matches from the first to the last character."""
    return lambda value: None if pattern.fullmatch(value) else wanted


def one_line(most: int, least: int = 0) -> Rule:
    """Text without control characters, by its number of characters."""

    def rule(value: Any) -> str | None:
        if isinstance(value, str) and least <= len(value) <= most and not CONTROL_CHARACTERS.search(value):
            return None
        return f"it takes {least} to {most} characters, none of them a control character"

    return rule


def optional(rule: Rule) -> Rule:
    """A rule for a setting that may be empty."""
    return lambda value: None if value in ("", None) else rule(value)


def each(rule: Rule) -> Rule:
    """A rule for every element of a list; the first complaint counts."""
    return lambda values: next((f"{value}: {wanted}" for value in values if (wanted := rule(value))), None)
