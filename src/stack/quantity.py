"""Kubernetes' quantities as numbers, to compare them by."""

from __future__ import annotations

import re
from decimal import Decimal

# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
PATTERN = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?[0-9]+))?")
BINARY = {f"{letter}i": Decimal(1024) ** power for power, letter in enumerate("KMGTPE", 1)}
DECIMAL = {
    letter: Decimal(10) ** power for letter, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
}
UNITS = {**BINARY, **DECIMAL}


def quantity(text: str | int | float) -> float:
    """A quantity such as ``500m`` or ``5Gi`` as a number of its base unit: cores, or bytes.

    Raises:
        ValueError: Kubernetes does not take it.
    """
    match = PATTERN.fullmatch(str(text))
    # YAML's true and false are numbers of Python.
    if not match or isinstance(text, bool):
        raise ValueError(f"{text!r} is no quantity")
    number, unit, exponent = match.groups()
    return float(Decimal(number) * UNITS.get(unit, Decimal(1)) * Decimal(10) ** int(exponent or 0))


def mebibytes(text: str | int | float) -> int:
    """A quantity as whole MiB, rounded down.

    Raises:
        ValueError: Kubernetes does not take it.
    """
    return int(quantity(text) // 2**20)
