"""What is generated for the service and for pgAdmin: a token and passwords, and how people log in to pgAdmin."""

from __future__ import annotations

import json
import secrets
import string
from collections.abc import Iterable, Mapping
from typing import Any

from stack.urls import url_port

ALPHABET = string.ascii_letters + string.digits
# Of letters and digits.
PASSWORD_LENGTH = 24
TOKEN_LENGTH = 40
# pgAdmin's names; the first one is the default.
USER_ROLES = ("User", "Administrator")
# Where the Secret of `oauth2_secret` is mounted.
OAUTH2_FOLDER = "/run/secrets/pgadmin-oauth2"


def account_secret(found: Mapping[str, str], email: str, password: str = "", *, rotate: bool = False) -> dict[str, str]:
    """The Secret of pgAdmin's account.

    Args:
        found: The Secret as it is; empty before the first run.
        email: The account's name.
        password: Its password, if its user sets one; otherwise the one that is there stays.
        rotate: Whether to replace the one that is there.
    """
    kept = "" if rotate else found.get("PGADMIN_DEFAULT_PASSWORD", "")
    return {
        "PGADMIN_DEFAULT_EMAIL": email,
        "PGADMIN_DEFAULT_PASSWORD": str(password) or kept or generated(PASSWORD_LENGTH),
    }


def users_secret(
    found: Mapping[str, str], users: Iterable[Mapping[str, Any]], *, rotate: bool = False
) -> dict[str, str]:
    """The Secret of pgAdmin's other users, a line for each: address, role, ``enabled`` or ``disabled``, and password.

    Args:
        found: The Secret as it is; empty before the first run.
        users: ``pgadmin_users``. Who is taken off is disabled, and has the same password when listed again.
        rotate: Whether to replace the passwords that nobody sets.

    Returns:
        Nothing where there never was one.
    """
    known = {line.split(" ", 3)[0]: line.split(" ", 3) for line in found.get("users", "").splitlines()}
    lines = []
    for user in users:
        email = str(user["email"])
        former = known.pop(email, None)
        kept = former[3] if former and not rotate else ""
        password = str(user.get("password") or "") or kept or generated(PASSWORD_LENGTH)
        lines.append(f"{email} {user.get('role', USER_ROLES[0])} enabled {password}")
    lines += [f"{email} {role} disabled {password}" for email, role, _, password in known.values()]
    return {"users": "\n".join([*lines, ""])} if lines else {}


def oauth2_secret(found: Mapping[str, str], providers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The Secret of what pgAdmin logs people in with elsewhere: its settings, and each provider's CA certificate.

    Args:
        found: The Secret as it is; empty before the first run.
        providers: ``pgadmin_oauth2``.

    Returns:
        Nothing where there never was one. The key of saved passwords stays as long as the namespace.
    """
    given = list(providers)
    if not given:
        return {"key": found["key"]} if "key" in found else {}
    settings = {
        "AUTHENTICATION_SOURCES": ["oauth2", "internal"],
        "OAUTH2_CONFIG": [_oauth2_settings(provider) for provider in given],
        # Who logs in elsewhere has no password here that the saved ones could be encrypted with.
        "MASTER_PASSWORD_HOOK": f"/bin/cat {OAUTH2_FOLDER}/key",
    }
    return {
        "key": found.get("key") or generated(TOKEN_LENGTH),
        "settings.json": json.dumps(settings, sort_keys=True),
        **{
            f"{provider['name']}.crt": provider["ca_certificate"]
            for provider in given
            if provider.get("ca_certificate")
        },
    }


def _oauth2_settings(provider: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of OAUTH2_CONFIG, by the provider's own description of itself (OpenID Connect Discovery 1.0)."""
    issuer = str(provider["issuer"]).rstrip("/")
    return {
        "OAUTH2_NAME": provider["name"],
        "OAUTH2_DISPLAY_NAME": provider.get("title") or provider["name"],
        "OAUTH2_CLIENT_ID": provider["client_id"],
        "OAUTH2_CLIENT_SECRET": provider["client_secret"],
        "OAUTH2_SERVER_METADATA_URL": f"{issuer}/.well-known/openid-configuration",
        "OAUTH2_SCOPE": provider.get("scope") or "openid email profile",
        "OAUTH2_ADDITIONAL_CLAIMS": provider.get("allowed_claims") or None,
        "OAUTH2_SSL_CERT_VERIFICATION": (
            f"{OAUTH2_FOLDER}/{provider['name']}.crt" if provider.get("ca_certificate") else True
        ),
        # RFC 9700, 2.1.1
        "OAUTH2_CHALLENGE_METHOD": "S256",
        "OAUTH2_RESPONSE_TYPE": "code",
    }


def oauth2_ports(providers: Any) -> list[int]:
    """The ports that pgAdmin connects to, for its network policy; what is no provider is passed over.

    Args:
        providers: ``pgadmin_oauth2``.
    """
    given = providers if isinstance(providers, list) else []
    return sorted(
        {url_port(str(provider.get("issuer", ""))) for provider in given if isinstance(provider, Mapping)} - {0}
    )


def token_secret(found: Mapping[str, str], token: str = "", step: str = "keep") -> dict[str, str]:
    """The Secret of the service's token.

    In a rotation all pods know the next token before it is the one to use, and then know no other.

    Args:
        found: The Secret as it is; empty before the first run.
        token: The token, if its user sets one; otherwise the one that is there stays.
        step: ``keep``; of a rotation ``introduce``, and then ``switch``.

    Raises:
        ValueError: There is no such step.
    """
    if step == "keep":
        return {"API_TOKEN": str(token) or found.get("API_TOKEN") or generated(TOKEN_LENGTH)}
    if step == "introduce":
        return {"API_TOKEN": found.get("API_TOKEN", ""), "API_TOKEN_NEXT": generated(TOKEN_LENGTH)}
    if step == "switch":
        return {"API_TOKEN": found.get("API_TOKEN_NEXT", "")}
    raise ValueError(f"{step} is no step of a rotation")


def generated(length: int) -> str:
    """A new secret of letters and digits."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
