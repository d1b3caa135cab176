"""Which password each login of the database gets, and when the service's changes to its other login."""

from __future__ import annotations

from typing import Any

import pytest

from stack.postgres.passwords import database_secret, login_note, login_secret, service_login

USERS = ["shop", "shop_2"]
WHERE = {"DB_HOST": "postgres", "DB_PORT": "5432", "DB_NAME": "app"}
FOUND = {**WHERE, "DB_USER": "shop", "DB_PASSWORD": "as-it-is"}


def chosen(found: dict[str, str] = FOUND, former: dict[str, str] | None = None, **options: Any) -> dict[str, Any]:
    return service_login(found, WHERE, USERS, former or {}, **options)


def test_a_first_run_generates_one() -> None:
    login = chosen({})
    assert login["secret"]["DB_USER"] == "shop"
    assert len(login["secret"]["DB_PASSWORD"]) == 32
    assert login["passwords"] == {"shop": login["secret"]["DB_PASSWORD"]}


def test_a_first_run_takes_what_is_set() -> None:
    assert chosen({}, password="set")["passwords"] == {"shop": "set"}


@pytest.mark.parametrize("password", ["", "as-it-is"])
def test_nothing_changes_where_nothing_is_set_or_what_is_there(password: str) -> None:
    """A password that was set once and is not any more stays."""
    assert chosen(password=password) == {"secret": FOUND, "passwords": {"shop": "as-it-is"}}


def test_another_password_comes_with_the_other_login_and_the_former_stays() -> None:
    login = chosen(password="another")
    assert login["secret"] == {**FOUND, "DB_USER": "shop_2", "DB_PASSWORD": "another"}
    assert login["passwords"] == {"shop": "as-it-is", "shop_2": "another"}


def test_and_back_again() -> None:
    found = {**FOUND, "DB_USER": "shop_2", "DB_PASSWORD": "another"}
    assert chosen(found, password="as-it-is")["passwords"] == {"shop": "as-it-is", "shop_2": "another"}


def test_the_run_after_it_keeps_both_until_the_service_is_rolled_out() -> None:
    found = {**FOUND, "DB_USER": "shop_2", "DB_PASSWORD": "another"}
    both = {"shop": "as-it-is", "shop_2": "another"}
    assert chosen(found, {"shop": "as-it-is"}, password="another")["passwords"] == both
    assert chosen(found, password="another")["passwords"] == {"shop_2": "another"}


def test_there_is_no_third_login() -> None:
    """While pods may use both, the present one gets the password."""
    login = chosen(former={"shop_2": "before"}, password="another")
    assert login["passwords"] == {"shop": "another", "shop_2": "before"}


def test_a_rotation_generates_one_for_the_other_login() -> None:
    login = chosen(rotate=True)
    assert login["secret"]["DB_USER"] == "shop_2"
    assert login["secret"]["DB_PASSWORD"] not in ("", "as-it-is")
    assert login["passwords"]["shop"] == "as-it-is"


def test_a_rotation_that_broke_off_goes_on() -> None:
    login = chosen({**FOUND, "DB_USER": "shop_2"}, {"shop": "before"}, rotate=True)
    assert login["passwords"] == {"shop": "before", "shop_2": "as-it-is"}


def test_the_certificate_is_that_of_the_login() -> None:
    certificates = ["one", "two"]
    assert chosen(certificates=certificates)["secret"]["DB_CLIENT_SECRET"] == "one"
    assert chosen(password="another", certificates=certificates)["secret"]["DB_CLIENT_SECRET"] == "two"
    assert chosen({**FOUND, "DB_CLIENT_SECRET": "one"})["secret"]["DB_CLIENT_SECRET"] == ""
    assert "DB_CLIENT_SECRET" not in chosen()["secret"]


@pytest.mark.parametrize(
    ("password", "rotate", "expected"),
    [("", False, "as-it-is"), ("set", False, "set"), ("set", True, "set"), (4711, False, "4711"), ("", True, None)],
)
def test_a_login_with_one_name(password: Any, rotate: bool, expected: str | None) -> None:
    secret = login_secret(FOUND, {**WHERE, "DB_USER": "shop"}, password, rotate=rotate)
    if expected:
        assert secret == {**FOUND, "DB_PASSWORD": expected}
    else:
        assert secret["DB_PASSWORD"] not in ("", "as-it-is")


def test_the_database_keeps_what_a_rotation_does_not_name() -> None:
    names = {"POSTGRES_DB": "app", "POSTGRES_USER": "postgres"}
    first = database_secret({}, names)
    assert len({first[key] for key in first if key not in names}) == 5
    again = database_secret(first, names, "set", ["RESTAPI_PASSWORD"])
    assert {key for key in first if first[key] != again[key]} == {"POSTGRES_PASSWORD", "RESTAPI_PASSWORD"}
    assert again["POSTGRES_PASSWORD"] == "set"


def test_a_note_tells_secrets_apart_and_is_salted() -> None:
    salted = {"postgres-secret": {"SALT": "salt"}, "flask-app-db": FOUND}
    note = login_note(salted, "flask-app-db")
    assert note == login_note({**salted, "flask-app-db": dict(reversed(FOUND.items()))}, "flask-app-db")
    assert note != login_note({**salted, "flask-app-db": {**FOUND, "DB_PASSWORD": "another"}}, "flask-app-db")
    assert note != login_note({**salted, "postgres-secret": {"SALT": "another"}}, "flask-app-db")
    assert login_note(salted, "pgadmin-db") == ""
