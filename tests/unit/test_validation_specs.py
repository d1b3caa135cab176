"""What the validations of several roles say together."""

from __future__ import annotations

import re
from typing import Any

import pytest
from role_settings import written

from stack.validation import Problem, specs

WRITTEN: dict[str, Any] = {
    "stack_namespace": "Shop",
    "postgres_namespace": "{{ stack_namespace }}",
    "postgres_backup_namespace": "{{ postgres_namespace | default(stack_namespace) }}",
    "postgres_resources": "{{ stack_resources | default({'limits': {}}) }}",
    "stack_resources": {},
    "tls_ca_common_name": "{{ tls_namespace[:61] }} CA",
    "one": "{{ other }}",
    "other": "{{ one }}",
}


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("stack_namespace", "stack_namespace"),
        ("postgres_backup_namespace", "stack_namespace"),
        ("postgres_resources", "stack_resources"),
        ("tls_ca_common_name", "tls_ca_common_name"),
        ("not_set", "not_set"),
    ],
)
def test_a_setting_that_is_another_one(name: str, found: str) -> None:
    assert specs.source(name, WRITTEN) == found


def test_settings_that_are_each_other_end() -> None:
    assert specs.source("one", WRITTEN) in ("one", "other")


def test_what_was_said_of_a_setting_is_not_said_of_those_that_have_its_value() -> None:
    said = [Problem("postgres_namespace", "it takes a name", "Shop")]
    again = Problem("postgres_backup_namespace (stack_namespace)", "it takes a name", "Shop")
    more = Problem("postgres_backup_namespace", "it takes another one", "Shop")
    other = Problem("postgres_resources", "it takes a name", "Shop")
    assert specs.unsaid([again, more, other], said, WRITTEN) == [more, other]


def test_two_secrets_of_one_fault_are_both_said() -> None:
    said = [Problem("postgres_password", "it takes text")]
    other = Problem("pgadmin_password", "it takes text")
    assert specs.unsaid([other], said, {"postgres_password": 1, "pgadmin_password": 2}) == [other]


def test_the_settings_of_the_roles_are_found_to_be_those_of_the_stack() -> None:
    values = {name: value for role in specs.validated_roles() for name, value in written(role).items()}
    named = [name for name, value in values.items() if re.match(r"\{\{ stack_namespace\b", str(value))]
    assert len(named) > 3
    assert {specs.source(name, values) for name in named} == {"stack_namespace"}
