"""What is generated for the service and for pgAdmin: a token and a password."""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping

ALPHABET = string.ascii_letters + string.digits
# Of letters and digits.
PASSWORD_LENGTH = 24
TOKEN_LENGTH = 40


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
