"""Names on certificates."""

from __future__ import annotations

from collections.abc import Iterable

# RFC 5280, A.1: `ub-common-name`, in characters. Names of hosts have up to 253.
COMMON_NAME_MAX = 64


def common_name(names: Iterable[str]) -> str:
    """Of a certificate's names, the first that fits into its subject, or nothing.

    The subjectAltName has them all; it is critical where the subject is empty (RFC 5280, 4.1.2.6).
    """
    return next((name for name in names if len(name) <= COMMON_NAME_MAX), "")
