"""Certificates and versions of TLS at the ingress and at the database."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from conftest import Run, Stack, until
from cryptography import x509

Kubectl = Callable[..., str]

# What the clients of today would not even offer by themselves.
ANY_CIPHER = ["-cipher", "ALL:@SECLEVEL=0"]


def handshake(stack: Stack, version: str) -> str:
    """What openssl says of a connection to the ingress that offers one version of TLS."""
    host = str(stack.settings["stack_app_host"])
    return subprocess.run(
        ["openssl", "s_client", "-connect", "127.0.0.1:443", "-servername", host, f"-{version}", *ANY_CIPHER,
         "-CAfile", str(stack.ca_file), "-verify_hostname", host, "-verify_return_error"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False,
    ).stdout  # fmt: skip


def database(kubectl: Kubectl, *arguments: str) -> str:
    """The same of the database, from a pod of the service."""
    try:
        return kubectl(
            "exec deployment/flask-app -- openssl s_client -starttls postgres -connect postgres:5432"
            f" -CAfile /etc/ssl/stack/ca.crt -verify_hostname postgres -verify_return_error {' '.join(arguments)}"
        )
    except AssertionError as error:
        return str(error)


@pytest.mark.parametrize(("version", "shown"), [("tls1_2", "TLSv1.2"), ("tls1_3", "TLSv1.3")])
def test_the_ingress_takes(stack: Stack, version: str, shown: str) -> None:
    output = handshake(stack, version)
    assert f"New, {shown}" in output
    assert "Verify return code: 0 (ok)" in output


@pytest.mark.parametrize("version", ["tls1", "tls1_1"])
def test_the_ingress_refuses(stack: Stack, version: str) -> None:
    assert "New, (NONE)" in handshake(stack, version)


def test_the_database_takes_the_newest_version_alone(kubectl: Kubectl) -> None:
    assert "New, TLSv1.3" in database(kubectl, "-tls1_3")
    assert "alert protocol version" in database(kubectl, "-tls1_2")


def test_a_renewal_reaches_the_database_without_a_restart(
    site: Callable[..., Run], stack: Stack, kubectl: Kubectl
) -> None:
    """By the role alone that issues certificates, as they come to their end."""

    def shown() -> x509.Certificate:
        return x509.load_pem_x509_certificate(database(kubectl).encode())

    def pods() -> set[tuple[str, int]]:
        return {
            (pod.metadata.uid, status.restartCount)
            for app in ("postgres", "flask-app", "pgadmin")
            for pod in stack.pods(app)
            for status in pod.status.containerStatuses
        }

    before, running = shown(), pods()
    days = (before.not_valid_after_utc - datetime.now(UTC)).days
    # As a run sees it a month before its end, however long this one still lasts.
    run = site("--tags", "tls", tls_certificate_days=days + 2, tls_renew_days=days + 1).succeeded()
    assert run.changed > 0
    until(lambda: shown() != before, 60, "the database shows the former certificate")
    assert pods() == running
    assert site("--tags", "tls").succeeded().changed == 0
    assert stack.answers()
