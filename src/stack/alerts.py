"""The rules that Prometheus evaluates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Rule = dict[str, Any]


def changed_rules(
    groups: Iterable[Mapping[str, Any]], changes: Mapping[str, Any], runbook_url: str
) -> list[dict[str, Any]]:
    """Groups of rules with what a user changes of their alerts.

    Args:
        groups: Groups of rules, as Prometheus reads them.
        changes: Fields of alerts by the alert's name; false leaves the alert out.
        runbook_url: What stands before the name of an alert, in small letters, in the link to its remedy.
    """
    return [
        {
            "name": group["name"],
            "rules": [
                _changed(rule, changes.get(rule.get("alert", ""), {}), runbook_url)
                for rule in group["rules"]
                if "record" in rule or isinstance(changes.get(rule["alert"], {}), Mapping)
            ],
        }
        for group in groups
    ]


def _changed(rule: Rule, change: Mapping[str, Any], runbook_url: str) -> Rule:
    if "record" in rule:
        return rule
    return _merged(_merged(rule, {"annotations": {"runbook_url": runbook_url + rule["alert"].lower()}}), change)


def _merged(rule: Mapping[str, Any], change: Mapping[str, Any]) -> Rule:
    """A rule with changed fields; of a mapping only those that are named change."""
    merged = dict(rule)
    for key, value in change.items():
        nested = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merged(merged[key], value) if nested else value
    return merged
