"""Tokens and passwords: what is there stays, what a user sets wins, what nobody has is generated."""

from __future__ import annotations

from typing import Any

import pytest

from stack.accounts import account_secret, token_secret
from stack.alerts import changed_rules
from stack.vault import without_value


@pytest.mark.parametrize(
    ("found", "given", "rotate", "expected"),
    [
        ({"PGADMIN_DEFAULT_PASSWORD": "kept"}, "", False, "kept"),
        ({"PGADMIN_DEFAULT_PASSWORD": "kept"}, "set", False, "set"),
        ({"PGADMIN_DEFAULT_PASSWORD": "kept"}, "set", True, "set"),
        ({}, "set", False, "set"),
    ],
)
def test_a_password_that_is_known(found: dict[str, str], given: str, rotate: bool, expected: str) -> None:
    secret = account_secret(found, "a@example.com", given, rotate=rotate)
    assert secret == {"PGADMIN_DEFAULT_EMAIL": "a@example.com", "PGADMIN_DEFAULT_PASSWORD": expected}


@pytest.mark.parametrize(
    ("found", "rotate"),
    [({}, False), ({"PGADMIN_DEFAULT_PASSWORD": "kept"}, True), ({"PGADMIN_DEFAULT_EMAIL": ""}, False)],
)
def test_a_new_password_is_another_each_time(found: dict[str, str], rotate: bool) -> None:
    new = {account_secret(found, "a@example.com", rotate=rotate)["PGADMIN_DEFAULT_PASSWORD"] for _ in range(3)}
    assert len(new) == 3
    assert all(len(password) == 24 and password.isalnum() for password in new)


def test_a_rotation_of_the_token_knows_both_before_it_knows_the_next_alone() -> None:
    first = token_secret({})
    assert token_secret(first) == first
    assert len(first["API_TOKEN"]) == 40
    both = token_secret(first, step="introduce")
    assert both["API_TOKEN"] == first["API_TOKEN"] != both["API_TOKEN_NEXT"]
    assert token_secret(both, step="switch") == {"API_TOKEN": both["API_TOKEN_NEXT"]}
    # A rotation that was broken off leaves both, and the next run goes back to the one that is in use.
    assert token_secret(both) == first
    assert token_secret(both, "mine") == {"API_TOKEN": "mine"}
    with pytest.raises(ValueError, match="rotate"):
        token_secret(both, step="rotate")


GROUPS: list[dict[str, Any]] = [
    {
        "name": "service",
        "rules": [
            {"record": "rate:5m", "expr": "1"},
            {"alert": "HighLatency", "expr": "1", "for": "5m", "labels": {"severity": "page", "team": "shop"}},
            {"alert": "Down", "expr": "0", "annotations": {"summary": "It is down"}},
        ],
    }
]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["5m", "page", "shop"]),
        ({"HighLatency": {"for": "30m"}}, ["30m", "page", "shop"]),
        ({"HighLatency": {"labels": {"severity": "info"}}}, ["5m", "info", "shop"]),
        ({"Other": {"for": "1m"}}, ["5m", "page", "shop"]),
    ],
)
def test_changed_fields_of_an_alert(changes: dict[str, object], expected: list[str]) -> None:
    (group,) = changed_rules(GROUPS, changes, "book.md#")
    record, alert, down = group["rules"]
    assert record == GROUPS[0]["rules"][0]
    assert [alert["for"], alert["labels"]["severity"], alert["labels"]["team"]] == expected
    assert alert["annotations"] == {"runbook_url": "book.md#highlatency"}
    assert down["annotations"] == {"summary": "It is down", "runbook_url": "book.md#down"}


def test_an_alert_that_nobody_wants_is_left_out() -> None:
    (group,) = changed_rules(GROUPS, {"Down": False}, "")
    assert [rule.get("alert") for rule in group["rules"]] == [None, "HighLatency"]
    assert "annotations" not in GROUPS[0]["rules"][1]


def test_names_without_a_value() -> None:
    values = {"set": "x", "empty": "", "none": None, "number": 0}
    assert without_value(["set", "empty", "none", "number", "missing"], values) == ["empty", "none", "missing"]
