"""Kubernetes' quantities as numbers, to compare them by."""

from __future__ import annotations


def quantity(text: str) -> float:
    # Ansible loads every filter in the process of every task, and the client takes a third of a second.
    from kubernetes.utils.quantity import parse_quantity

    return float(parse_quantity(text))
