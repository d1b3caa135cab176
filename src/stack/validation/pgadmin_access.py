"""What is wrong with who may log in to pgAdmin. No message shows the value of an entry: it may have a secret."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from stack.accounts import USER_ROLES
from stack.validation import Problem, Settings, alert_receivers

USERS, PROVIDERS = "pgadmin_users", "pgadmin_oauth2"
# Also the name of a key of the Secret, and of pgAdmin's button.
NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
PASSWORD = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
CERTIFICATE = re.compile(r"\s*-----BEGIN CERTIFICATE-----\s.+\s-----END CERTIFICATE-----\s*", re.DOTALL)


def said(setting: str, place: str, wanted: str) -> Problem:
    return Problem(f"{setting} ({place})", wanted)


def password(value: Any) -> str | None:
    fits = isinstance(value, str) and PASSWORD.fullmatch(value)
    return None if fits else "it takes text of at most 128 characters on one line; left out, one is generated"


def role(value: Any) -> str | None:
    return None if value in USER_ROLES else f"it takes {' or '.join(USER_ROLES)}"


def issuer(value: Any) -> str | None:
    fits = alert_receivers.url(value) is None and str(value).startswith("https://") and not re.search("[?#]", value)
    return None if fits else "it takes the issuer's address, such as https://login.example.com/realms/team"


def scope(value: Any) -> str | None:
    fits = isinstance(value, str) and "openid" in value.split() and alert_receivers.text(value) is None
    return None if fits else "it takes words with openid among them, such as 'openid email profile'"


def claims(value: Any) -> str | None:
    fits = (
        isinstance(value, Mapping)
        and value
        and all(
            isinstance(name, str)
            and isinstance(values, list)
            and values
            and all(isinstance(one, str) for one in values)
            for name, values in value.items()
        )
    )
    return None if fits else "it takes a list of values by the name of a claim, such as {groups: [database]}"


def certificate(value: Any) -> str | None:
    fits = isinstance(value, str) and CERTIFICATE.fullmatch(value)
    return None if fits else "it takes the certificate in PEM, which begins with -----BEGIN CERTIFICATE-----"


USER_FIELDS: dict[str, Any] = {"email": None, "role": role, "password": password}
PROVIDER_FIELDS: dict[str, Any] = {
    "name": None,
    "title": alert_receivers.text,
    "issuer": issuer,
    "client_id": alert_receivers.text,
    "client_secret": alert_receivers.text,
    "scope": scope,
    "allowed_claims": claims,
    "ca_certificate": certificate,
}
REQUIRED = ("issuer", "client_id", "client_secret")


def problems(settings: Settings, email: Any) -> Iterator[Problem]:
    """Everything that is wrong with the users and the identity providers.

    Args:
        settings: The settings of the role ``pgadmin``.
        email: The rule for the address of an account.
    """
    yield from users(settings, email)
    yield from providers(settings)


def users(settings: Settings, email: Any) -> Iterator[Problem]:
    given = settings.get(USERS, [])
    addresses = Counter(
        [settings.get("pgadmin_email"), *(user.get("email") for user in given if has_text(user, "email"))]
    )
    for number, user in enumerate(given, 1):
        address = user.get("email")
        if not isinstance(address, str) or email(address):
            yield said(USERS, f"entry {number}", f"email: {email('')}")
            continue
        if addresses[address] > 1:
            yield said(USERS, address, "it is there twice, or is pgadmin_email")
        yield from fields(USERS, address, user, USER_FIELDS)


def providers(settings: Settings) -> Iterator[Problem]:
    given = settings.get(PROVIDERS, [])
    names = Counter(provider.get("name") for provider in given if has_text(provider, "name"))
    for number, provider in enumerate(given, 1):
        name = provider.get("name")
        if not isinstance(name, str) or not NAME.fullmatch(name) or name == "key":
            yield said(
                PROVIDERS, f"entry {number}", "name: it takes up to 40 small letters, digits and -, and is not key"
            )
            continue
        if names[name] > 1:
            yield said(PROVIDERS, name, "it is there twice")
        for field in REQUIRED:
            if field not in provider:
                yield said(PROVIDERS, name, f"it needs {field}: {PROVIDER_FIELDS[field](None)}")
        yield from fields(PROVIDERS, name, provider, PROVIDER_FIELDS)


def fields(setting: str, place: str, given: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[Problem]:
    for field, value in given.items():
        if field not in known:
            yield said(setting, place, f"there is no {field}: it takes {', '.join(known)}")
        elif known[field] and (wanted := known[field](value)):
            yield said(setting, place, f"{field}: {wanted}")


def has_text(entry: Mapping[str, Any], field: str) -> bool:
    return isinstance(entry.get(field), str)
