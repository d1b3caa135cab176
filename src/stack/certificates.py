"""The stack's certificates: their names, what is there of them, and which are to be issued."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

# RFC 5280, A.1: `ub-common-name`, in characters. Names of hosts have up to 253.
COMMON_NAME_MAX = 64
BEGIN = "-----BEGIN CERTIFICATE-----"
# Times as certificates have them (RFC 5280, 4.1.2.5.2, GeneralizedTime).
TIME = "%Y%m%d%H%M%SZ"
# Where the pods of clients have what they trust, and what they show to the database.
TRUSTED_FILE = "/etc/ssl/stack/ca.crt"
CLIENT_FILE = "/etc/ssl/client/tls.crt"
Secret = Mapping[str, str]
Secrets = Mapping[str, Secret]
State = dict[str, Any]


def common_name(names: Iterable[str]) -> str:
    """Of a certificate's names, the first that fits into its subject, or nothing.

    The subjectAltName has them all; it is critical where the subject is empty (RFC 5280, 4.1.2.6).
    """
    return next((name for name in names if len(name) <= COMMON_NAME_MAX), "")


def certificate_states(
    wanted: Iterable[Mapping[str, Any]],
    secrets: Secrets,
    authority: Mapping[str, Any],
    now: datetime.datetime | None = None,
) -> State:
    """What is there of the authority and of each certificate.

    Args:
        wanted: The certificates, each with its ``secret``, its ``names``, and whether it is ``kept`` where others
            have issued it.
        secrets: The Secrets of the namespace; the authority is in ``stack-ca``.
        authority: Its ``common_name``, for how many days its certificates are valid (``days``), and how many days
            before their end they are renewed (``renew_days``).
        now: The present time, with its time zone.

    Returns:
        ``authority_is_good``: whether it stays. ``certificates``: those wanted, each with whether it is ``foreign``,
        which stays as it is; ``readable``; ``expired``; when it ends (``not_after``); and ``due``, which is issued.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    renewed = now + datetime.timedelta(days=int(authority["renew_days"]))
    # It is renewed while it still outlives each certificate that it may issue.
    authority_renewed = renewed + datetime.timedelta(days=int(authority["days"]))
    name = authority["common_name"]
    found = secrets.get("stack-ca") or {}
    ca = read_certificate(found.get("tls.crt"))
    good = bool(
        ca and "tls.key" in found and _common_name(ca.subject) == name and ca.not_valid_after_utc > authority_renewed
    )
    states = []
    for each in wanted:
        secret = secrets.get(each["secret"]) or {}
        certificate = read_certificate(secret.get("tls.crt"))
        is_ours = certificate is not None and _is_ours(certificate, ca, name)
        foreign = bool(each["kept"] and secret.get("tls.crt") and not is_ours)
        stays = bool(
            good
            and is_ours
            and certificate
            and _is_issued_by(certificate, ca)
            and _names(certificate) == sorted(f"DNS:{wanted_name}" for wanted_name in each["names"])
            and certificate.not_valid_after_utc > renewed
            and secret.get("tls.key")
        )
        ends = certificate.not_valid_after_utc if certificate else None
        states.append(
            {
                **each,
                "foreign": foreign,
                "readable": certificate is not None,
                "expired": ends is not None and ends < now,
                "not_after": ends.strftime(TIME) if ends else "",
                "due": not foreign and not stays,
            }
        )
    return {"authority_is_good": good, "certificates": states}


def is_trusted_everywhere(
    states: Iterable[State], secrets: Secrets, objects: Mapping[str, Mapping[str, Any]], trusted: str
) -> bool:
    """Whether the ConfigMap for clients and each Secret of the authority have the certificates to trust."""
    shown = (objects.get("ConfigMap/ca-certificates") or {}).get("data") or {}
    own = [secrets.get(state["secret"]) or {} for state in states if not state["foreign"]]
    return all(found.get("ca.crt", "") == trusted for found in [shown, *own])


def certificate_secrets(
    states: Iterable[State], secrets: Secrets, issued: Secrets, trusted: str
) -> dict[str, dict[str, str]]:
    """The Secrets of the authority's certificates as they are to be, by name.

    Args:
        states: The certificates; foreign ones stay as they are.
        secrets: The Secrets as they are.
        issued: Certificates and keys of this run, by Secret.
        trusted: The certificates of the authorities that clients trust.
    """
    names = [state["secret"] for state in states if not state["foreign"]]
    return {name: {**secrets.get(name, {}), **issued.get(name, {}), "ca.crt": trusted} for name in names}


def issued_secrets(
    due: Sequence[State], signed: Sequence[Mapping[str, Any]], keys: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, str]]:
    """Certificates and keys by Secret, of the results of the tasks that have made them for ``due``, in its order."""
    return {
        state["secret"]: {"tls.crt": certificate["certificate"], "tls.key": key["privatekey"]}
        for state, certificate, key in zip(due, signed, keys, strict=True)
    }


def certificate_readers(
    pods: Iterable[Mapping[str, Any]], readers: Mapping[str, Mapping[str, str]], secrets: Secrets, trusted: str
) -> list[dict[str, Any]]:
    """For each pod the command that says which certificates it has read, and the hashes that are to be among them.

    Args:
        pods: Pods that run; those that end are left out.
        readers: By the label ``app``, nothing for clients, which read their files anew, or ``hashes``, the file in
            which a server keeps what it has read, and ``secret``, the Secret whose certificate it shows.
        secrets: The Secrets of the namespace by name.
        trusted: The certificates of the authorities that are to be trusted.
    """
    found = []
    for pod in pods:
        if "deletionTimestamp" in pod["metadata"]:
            continue
        app = pod["metadata"]["labels"]["app"]
        shown = readers[app].get("secret") or _client_secret(pod)
        command = ["cat", readers[app]["hashes"]] if "hashes" in readers[app] else ["sha256sum", TRUSTED_FILE]
        if shown and "hashes" not in readers[app]:
            command.append(CLIENT_FILE)
        texts = [trusted] + ([secrets[shown]["tls.crt"]] if shown else [])
        hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
        found.append({"name": pod["metadata"]["name"], "container": app, "command": command, "hashes": hashes})
    return found


def _client_secret(pod: Mapping[str, Any]) -> str:
    """The Secret with the certificate that a pod shows to the database; empty where it shows none."""
    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    return str(volumes.get("client-certificate", {}).get("secret", {}).get("secretName", ""))


def issuer_problem(found: Mapping[str, Any], kind: str, namespace: str) -> str:
    """Why an issuer of cert-manager cannot issue; empty where it can, or where the account may not read issuers.

    Args:
        found: What kubernetes.core.k8s_info returns for it.
        kind: Issuer or ClusterIssuer.
        namespace: The namespace of an Issuer.
    """
    if not found.get("api_found", True):
        return "the cluster has no cert-manager (cert-manager.io/v1)"
    if "resources" not in found:
        return ""
    if not found["resources"]:
        return f"there is no {kind} of that name{f' in {namespace}' if kind == 'Issuer' else ''}"
    ready = next((entry for entry in _conditions(found["resources"][0]) if entry["type"] == "Ready"), {})
    if ready.get("status") == "True":
        return ""
    return f"it is not ready: {ready.get('message', 'cert-manager has not looked at it yet')}"


def is_issued(certificate: Mapping[str, Any], generation: int) -> bool:
    """Whether cert-manager has issued a Certificate as of this generation of its specification."""
    return any(
        (entry["type"], entry["status"], entry.get("observedGeneration")) == ("Ready", "True", generation)
        for entry in _conditions(certificate)
    )


def read_certificate(text: str | None) -> x509.Certificate | None:
    """The first certificate of a PEM text, or nothing where there is none that can be read."""
    if BEGIN not in (text or ""):
        return None
    try:
        return x509.load_pem_x509_certificate(str(text).encode())
    except ValueError:
        return None


def _conditions(found: Mapping[str, Any]) -> Collection[Mapping[str, Any]]:
    return (found.get("status") or {}).get("conditions") or []


def _common_name(name: x509.Name) -> str:
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""


def _key_id(certificate: x509.Certificate, extension: x509.ObjectIdentifier) -> bytes | None:
    """The identifier of the key of a certificate or of its issuer (RFC 5280, 4.2.1.1 and 4.2.1.2)."""
    try:
        found: Any = certificate.extensions.get_extension_for_oid(extension).value
    except (x509.ExtensionNotFound, ValueError):
        return None
    identifier: bytes | None = getattr(found, "key_identifier", None) or getattr(found, "digest", None)
    return identifier


def _is_ours(certificate: x509.Certificate, ca: x509.Certificate | None, name: str) -> bool:
    """Whether the authority, or one that it has taken the place of, has issued a certificate."""
    issuer = _key_id(certificate, ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    own = _key_id(ca, ExtensionOID.SUBJECT_KEY_IDENTIFIER) if ca else None
    return _common_name(certificate.issuer) == name or (issuer is not None and issuer == own)


def _is_issued_by(certificate: x509.Certificate, ca: x509.Certificate | None) -> bool:
    return (
        ca is not None
        and certificate.issuer == ca.subject
        and _key_id(certificate, ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
        == _key_id(ca, ExtensionOID.SUBJECT_KEY_IDENTIFIER)
    )


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return []
    return sorted(f"DNS:{name.value}" if isinstance(name, x509.DNSName) else repr(name) for name in names)
