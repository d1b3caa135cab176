"""Who may log in to pgAdmin: the Secrets of its users and identity providers, and what is refused of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stack.accounts import oauth2_ports, oauth2_secret, users_secret
from stack.validation import lines, pgadmin, pgadmin_access

ADA: dict[str, Any] = {"email": "ada@example.com", "role": "Administrator"}
BOB: dict[str, Any] = {"email": "bob@example.com", "password": "kept secret"}
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
TEAM: dict[str, Any] = {
    "name": "team",
    "title": "Team login",
    "issuer": "https://login.example.com/realms/team/",
    "client_id": "pgadmin",
    "client_secret": "kept secret",
}


def users(secret: dict[str, str]) -> dict[str, list[str]]:
    return {line.split(" ")[0]: line.split(" ", 3)[1:] for line in secret["users"].splitlines()}


def test_each_user_has_a_role_and_a_password_that_stays() -> None:
    first = users_secret({}, [ADA, BOB])
    (role, state, generated), bob = users(first)["ada@example.com"], users(first)["bob@example.com"]
    assert (role, state, len(generated)) == ("Administrator", "enabled", 24)
    assert bob == ["User", "enabled", "kept secret"]
    assert users_secret(first, [ADA, BOB]) == first
    rotated = users(users_secret(first, [ADA, BOB], rotate=True))
    assert rotated["ada@example.com"][2] != generated
    assert rotated["bob@example.com"] == bob


def test_who_is_taken_off_the_list_is_disabled_and_comes_back_as_before() -> None:
    first = users_secret({}, [ADA, BOB])
    without = users_secret(first, [BOB])
    _, state, password = users(without)["ada@example.com"]
    assert (state, password) == ("disabled", users(first)["ada@example.com"][2])
    # A rotation is no way back in.
    assert users(users_secret(without, [], rotate=True))["ada@example.com"] == ["Administrator", "disabled", password]
    assert users(users_secret(without, [ADA, BOB])) == users(first)


def test_without_users_and_providers_there_is_no_secret() -> None:
    assert users_secret({}, []) == {}
    assert oauth2_secret({}, []) == {}


def test_a_provider_is_found_by_its_issuer_and_its_secret_is_in_the_secret() -> None:
    secret = oauth2_secret({}, [{**TEAM, "ca_certificate": CERTIFICATE, "allowed_claims": {"groups": ["database"]}}])
    settings = json.loads(secret["settings.json"])
    (found,) = settings["OAUTH2_CONFIG"]
    # https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
    assert found["OAUTH2_SERVER_METADATA_URL"] == (
        "https://login.example.com/realms/team/.well-known/openid-configuration"
    )
    assert found["OAUTH2_CLIENT_SECRET"] == "kept secret"
    assert found["OAUTH2_ADDITIONAL_CLAIMS"] == {"groups": ["database"]}
    assert "openid" in found["OAUTH2_SCOPE"].split()
    assert found["OAUTH2_SSL_CERT_VERIFICATION"].endswith("/team.crt")
    assert secret["team.crt"] == CERTIFICATE
    # The account of the settings can still log in, where the provider does not answer.
    assert settings["AUTHENTICATION_SOURCES"] == ["oauth2", "internal"]


def test_the_key_of_saved_passwords_stays() -> None:
    first = oauth2_secret({}, [TEAM])
    assert len(first["key"]) == 40
    assert oauth2_secret(first, [TEAM]) == first
    assert oauth2_secret({}, [TEAM])["key"] != first["key"]
    off = oauth2_secret(first, [])
    assert off == {"key": first["key"]}
    assert oauth2_secret(off, [TEAM]) == first


def test_the_policy_has_the_ports_of_all_providers() -> None:
    assert oauth2_ports([TEAM, {**TEAM, "issuer": "https://idp:8443"}]) == [443, 8443]
    # What is wrong is said elsewhere.
    assert oauth2_ports([{}, "team", {"issuer": "https://x:y"}]) == []
    assert oauth2_ports("team") == []


def said(**settings: Any) -> list[str]:
    given = {"pgadmin_email": "admin@example.com", "flask_app_namespace": "a", "pgadmin_namespace": "b", **settings}
    return list(lines(pgadmin_access.problems(given, pgadmin.email)))


def test_what_works_is_taken() -> None:
    provider = {**TEAM, "scope": "openid groups", "allowed_claims": {"groups": ["a"]}, "ca_certificate": CERTIFICATE}
    assert said(pgadmin_users=[ADA, BOB], pgadmin_oauth2=[provider, {**TEAM, "name": "other"}]) == []
    assert said(pgadmin_users=[], pgadmin_oauth2=[]) == []


@pytest.mark.parametrize(
    ("user", "line"),
    [
        ({}, "(entry 1): email: it takes an address"),
        ({"email": "ada"}, "(entry 1): email: it takes an address"),
        ({**ADA, "email": "admin@example.com"}, "(admin@example.com): it is there twice, or is pgadmin_email"),
        ({**ADA, "role": "owner"}, "(ada@example.com): role: it takes User or Administrator"),
        ({**ADA, "password": 1234}, "(ada@example.com): password: it takes text"),
        ({**ADA, "password": "two\nlines"}, "(ada@example.com): password: it takes text"),
        ({**ADA, "name": "Ada"}, "(ada@example.com): there is no name: it takes email, role, password"),
    ],
)
def test_a_user_that_cannot_be_is_refused_by_name(user: dict[str, Any], line: str) -> None:
    (found,) = said(pgadmin_users=[user])
    assert found.startswith(f"pgadmin_users {line}")


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"name": "Team"}, "(entry 1): name: it takes"),
        ({"name": "key"}, "(entry 1): name: it takes"),
        ({"issuer": "http://login.example.com"}, "(team): issuer: it takes the issuer's address"),
        ({"issuer": "https://login.example.com:99999"}, "(team): issuer: it takes the issuer's address"),
        ({"issuer": None}, "(team): issuer: it takes the issuer's address"),
        ({"client_id": ""}, "(team): client_id: it takes text"),
        ({"client_secret": 7}, "(team): client_secret: it takes text"),
        ({"scope": "email profile"}, "(team): scope: it takes words with openid"),
        ({"allowed_claims": {"groups": "database"}}, "(team): allowed_claims: it takes a list"),
        ({"allowed_claims": {}}, "(team): allowed_claims: it takes a list"),
        ({"ca_certificate": "/etc/ca.crt"}, "(team): ca_certificate: it takes the certificate in PEM"),
        ({"token_url": "https://x"}, "(team): there is no token_url"),
    ],
)
def test_a_provider_that_cannot_work_is_refused_by_name(change: dict[str, Any], line: str) -> None:
    (found,) = said(pgadmin_oauth2=[{**TEAM, **change}])
    assert found.startswith(f"pgadmin_oauth2 {line}")


def test_everything_is_said_at_once_and_no_secret() -> None:
    half = {"name": "half", "client_secret": "kept secret"}
    found = said(pgadmin_users=[BOB, BOB], pgadmin_oauth2=[half, TEAM, TEAM])
    assert len(found) == 4
    assert not any("kept" in line for line in found)
