"""The ingress's certificate from cert-manager, by its own controllers and a CA that is not the stack's."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import self_signed
from conftest import Run, Stack, until
from cryptography import x509
from cryptography.x509.oid import NameOID

from stack import gotools

Site = Callable[..., Run]
Kubectl = Callable[..., str]

NAME = "somebody-elses"


@pytest.fixture(scope="module")
def program() -> Path:
    found = gotools.build("cert-manager") if os.environ.get("BUILD_CERT_MANAGER") else gotools.find("cert-manager")
    if not found:
        pytest.skip("cert-manager is not in the cache, and takes minutes to build: `make test-issuer` does")
    return found


@pytest.fixture(scope="module")
def cert_manager(program: Path, stack: Stack, kubectl: Kubectl, site: Site) -> Iterator[None]:
    """The controllers, as a process of this machine, and the kinds that they work on."""
    definitions = program.parent / "crds"
    kubectl(f"apply --server-side -f {definitions}")
    try:
        kubectl(f"wait --for=condition=Established -f {definitions} --timeout=60s")
        command = [str(program), stack.settings["stack_kubeconfig"], stack.namespace]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as controllers:
            try:
                yield
            finally:
                site("--tags", "tls").succeeded()
                controllers.terminate()
    finally:
        kubectl(f"delete -f {definitions}")


def issuer_of_served(stack: Stack) -> str:
    text = ssl.get_server_certificate((str(stack.settings["stack_app_host"]), 443), timeout=10)
    found = x509.load_pem_x509_certificate(text.encode())
    return str(found.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def refused(site: Site, stack: Stack) -> str:
    """What a run says that asks for the issuer, and changes nothing."""
    before = stack.versions()
    run = site("--tags", "tls", tls_issuer=NAME)
    assert run.code == 2, run.output[-3000:]
    assert stack.versions() == before
    return " ".join(run.output.split())


def test_refused_without_cert_manager(site: Site, stack: Stack) -> None:
    # A client may remember kinds that are gone, and then finds none of them.
    assert f"tls_issuer is {NAME}: the" in refused(site, stack)


@pytest.mark.usefixtures("cert_manager")
def test_the_ingress_shows_what_cert_manager_issues(site: Site, stack: Stack, kubectl: Kubectl, tmp_path: Path) -> None:
    assert f"tls_issuer is {NAME}: there is no Issuer of that name in {stack.namespace}" in refused(site, stack)

    issuer = {"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": NAME}}
    kubectl("apply -f -", stdin=json.dumps({**issuer, "spec": {"ca": {"secretName": NAME}}}))

    def is_ready(status: str) -> bool:
        found: Any = json.loads(kubectl(f"get issuer {NAME} -o json"))
        return [one["status"] for one in found.get("status", {}).get("conditions", [])] == [status]

    until(lambda: is_ready("False"), 30)
    assert f"tls_issuer is {NAME}: it is not ready: " in refused(site, stack)

    authority = self_signed(NAME, is_authority=True, ends_in_days=3650)
    for file, text in authority.items():
        (tmp_path / file).write_text(text)
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    try:
        kubectl(f"create secret tls {NAME} --cert={certificate} --key={key}")
        until(lambda: is_ready("True"), 30)
        own = stack.secret("postgres-tls")
        site("--tags", "tls", tls_issuer=NAME).succeeded()
        until(lambda: issuer_of_served(stack) == NAME, 15)
        assert stack.session.get(f"{stack.app_url}/healthz", timeout=10, verify=str(certificate)).status_code == 200
        assert stack.secret("postgres-tls") == own
        again = site("--tags", "tls", tls_issuer=NAME).succeeded()
        assert again.changes == []

        site("--tags", "tls").succeeded()
        until(lambda: issuer_of_served(stack) == f"{stack.namespace} CA", 15)
        until(stack.answers, 15)
        assert kubectl("get certificates -o name") == ""
    finally:
        kubectl(f"delete issuer/{NAME} secret/{NAME} --ignore-not-found")
