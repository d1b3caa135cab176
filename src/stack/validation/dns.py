"""Rules of names: host names, and the names that Kubernetes gives to objects."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import idna

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
LABEL_MAX = 63
NAME_MAX = 253


def label(value: Any) -> str | None:
    """A DNS label, as Kubernetes names namespaces and Services (RFC 1123)."""
    if isinstance(value, str) and LABEL.fullmatch(value) and len(value) <= LABEL_MAX:
        return None
    return "it takes 1 to 63 small letters, digits and -, beginning and ending with a letter or digit"


def subdomain(value: Any) -> str | None:
    """Labels with dots between them, as Kubernetes names most objects (RFC 1123)."""
    if isinstance(value, str) and len(value) <= NAME_MAX and all(map(LABEL.fullmatch, value.split("."))):
        return None
    return "it takes 1 to 253 small letters, digits, - and ., each part beginning and ending with a letter or digit"


def host(value: Any) -> str | None:
    """A host name that an Ingress, a certificate (RFC 5280, 4.2.1.6), DNS (RFC 1035, 2.3.4) and browsers take."""
    reason = host_complaint(value) if isinstance(value, str) else "as text"
    return f"it takes a host name such as app.example.com, {reason}" if reason else None


def host_or_wildcard(value: Any) -> str | None:
    """The same, or all names below one, such as ``*.example.com``."""
    return host(value.removeprefix("*.") if isinstance(value, str) else value)


def host_complaint(value: str) -> str | None:
    labels = value.split(".")
    if is_address(value):
        return "and no address: Ingresses and certificates are for names"
    if not value.isascii():
        return f"in its form for DNS{ascii_form(value)}"
    if value != value.lower():
        return "in lower case"
    if value.endswith("."):
        return "without a dot at its end"
    if len(value) > NAME_MAX:
        return f"of at most 253 characters (it has {len(value)})"
    if any(len(part) > LABEL_MAX for part in labels):
        return f"of at most 63 characters between two dots (it has {max(map(len, labels))})"
    if not all(map(LABEL.fullmatch, labels)):
        return "of letters, digits and - between dots"
    if re.fullmatch(r"[0-9]+|0x[0-9a-f]*", labels[-1]):
        # https://url.spec.whatwg.org/#ends-in-a-number-checker
        return "whose last part is no number, which would make it an address"
    if not all(map(is_readable, labels)):
        return "whose parts that begin with xn-- stand for other letters (RFC 5891)"
    return None


def is_address(value: str) -> bool:
    try:
        ipaddress.ip_address(value.strip("[]"))
    except ValueError:
        return False
    return True


def ascii_form(value: str) -> str:
    """Of a name with other letters, its form for DNS, as the rest of a sentence."""
    try:
        return f": {idna.encode(value, uts46=True).decode()}"
    except idna.IDNAError:
        return " (xn--…)"


def is_readable(part: str) -> bool:
    """Whether a label that claims to stand for other letters does."""
    try:
        return not part.startswith("xn--") or bool(idna.ulabel(part))
    except idna.IDNAError:
        return False
