"""The Secrets of a cluster that cannot be made again: which they are, read from etcd's files, kept in one file."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from stack.minikube import etcd

SECRETS, NAMESPACES = "/registry/secrets/", "/registry/namespaces/"
MANAGED_BY = "app.kubernetes.io/managed-by"
# The cluster makes these itself, for itself.
OWN_TYPES = ("kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token")
SECRETBOX, ENCRYPTED, PROTOBUF = b"k8s:enc:secretbox:v1:", b"k8s:enc:", b"k8s\x00"
NONCE = 24

Secret = dict[str, Any]


class KeptError(Exception):
    """What was kept cannot be read, in one line."""


def to_keep(secrets: Iterable[Mapping[str, Any]], namespace: str) -> list[Secret]:
    """The Secrets that a new cluster has to get, without what belongs to the old one.

    Args:
        secrets: All of the cluster.
        namespace: The stack's: each Secret in it counts, whoever made it. In others those that Ansible made count,
            which are of other stacks.
    """
    found = []
    for secret in secrets:
        meta = secret["metadata"]
        labels = meta.get("labels") or {}
        if secret.get("type") in OWN_TYPES or not (
            meta["namespace"] == namespace or labels.get(MANAGED_BY) == "ansible"
        ):
            continue
        kept = {key: meta[key] for key in ("name", "namespace", "labels", "annotations") if meta.get(key)}
        found.append(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": kept,
                "type": secret.get("type") or "Opaque",
                "data": dict(secret.get("data") or {}),
                **({"immutable": True} if secret.get("immutable") else {}),
            }
        )
    return sorted(found, key=lambda secret: (secret["metadata"]["namespace"], secret["metadata"]["name"]))


def from_etcd(member: Path, key_file: Path) -> tuple[list[Secret], str | None, list[str]]:
    """All Secrets in etcd's files.

    Args:
        member: The folder ``member`` of etcd.
        key_file: The configuration of the API server's encryption; it need not exist.

    Returns:
        The Secrets; the UID of the namespace kube-system, which tells one cluster from another, None where it cannot be
        read; and a line for each Secret or more that cannot be kept.

    Raises:
        etcd.EtcdError: Nothing can be read.
    """
    values, complete = etcd.read(member / "snap" / "db", "/registry/")
    keys = _keys(key_file)
    found, lines = [], []
    for path, value in values.items():
        if not path.startswith(SECRETS):
            continue
        name = path.removeprefix(SECRETS)
        try:
            found.append(decode(decrypt(value, keys)))
        except (ValueError, KeyError) as error:
            lines.append(f"{name}: {error}")
    if not complete:
        names = ", ".join(f"{secret['metadata']['namespace']}/{secret['metadata']['name']}" for secret in found)
        lines.append(f"etcd's files are damaged: whether there were more Secrets than {names or 'none'} cannot be told")
    return found, _uid(values.get(f"{NAMESPACES}kube-system", b"")), lines


def decrypt(value: bytes, keys: Mapping[str, bytes]) -> bytes:
    """A value as the API server wrote it before it encrypted it.

    The provider secretbox is XSalsa20 and Poly1305, with a nonce of 24 bytes before the text
    (https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/).

    Raises:
        ValueError: It is encrypted with a key that is not there, or in another way.
    """
    if not value.startswith(ENCRYPTED):
        return value
    if not value.startswith(SECRETBOX):
        raise ValueError(f"it is encrypted by {value.split(b':')[2].decode(errors='replace')}, which is not known here")
    name, _, text = value.removeprefix(SECRETBOX).partition(b":")
    if name.decode(errors="replace") not in keys:
        raise ValueError(f"the key {name.decode(errors='replace')!r} that it is encrypted with is gone")
    # Loaded here, for no other run needs it.
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    try:
        return bytes(SecretBox(keys[name.decode()]).decrypt(text[NONCE:], text[:NONCE]))
    except (CryptoError, ValueError, TypeError) as error:
        raise ValueError("it is encrypted with another key, or damaged") from error


def decode(value: bytes) -> Secret:
    """A Secret as etcd holds it (k8s.io/apimachinery ``runtime.Unknown`` around k8s.io/api/core/v1 ``Secret``).

    Raises:
        ValueError: It is none.
    """
    if value.startswith(b"{"):
        secret = json.loads(value)
        return dict(secret)
    if not value.startswith(PROTOBUF):
        raise ValueError("it is written in a way that is not known here")
    fields = _first(value.removeprefix(PROTOBUF))
    meta, data, kind, immutable = {}, {}, "Opaque", False
    for number, field in etcd.protobuf(_bytes(fields[2])):
        if number == 1:
            meta = _meta(_bytes(field))
        elif number == 2:
            pair = _first(_bytes(field))
            data[_text(pair[1])] = base64.b64encode(_bytes(pair.get(2, b""))).decode()
        elif number == 3:
            kind = _text(field)
        elif number == 5:
            immutable = bool(field)
    return {"metadata": meta, "type": kind, "data": data, **({"immutable": True} if immutable else {})}


def _meta(message: bytes) -> dict[str, Any]:
    """Of an ObjectMeta (k8s.io/apimachinery/pkg/apis/meta/v1) what is kept."""
    meta: dict[str, Any] = {"labels": {}, "annotations": {}}
    for number, field in etcd.protobuf(message):
        if number in (1, 3, 5):
            meta[{1: "name", 3: "namespace", 5: "uid"}[number]] = _text(field)
        elif number in (11, 12):
            pair = _first(_bytes(field))
            meta["labels" if number == 11 else "annotations"][_text(pair[1])] = _text(pair.get(2, b""))
    return meta


def _uid(value: bytes) -> str | None:
    try:
        return str(_meta(_bytes(_first(_bytes(_first(value.removeprefix(PROTOBUF))[2]))[1]))["uid"])
    except (ValueError, KeyError):
        return None


def _first(message: bytes) -> dict[int, bytes | int]:
    found: dict[int, bytes | int] = {}
    for number, field in etcd.protobuf(message):
        found.setdefault(number, field)
    return found


def _bytes(field: bytes | int) -> bytes:
    if isinstance(field, int):
        raise ValueError("a number stands where a text should be")  # noqa: TRY004 - of the file, and not of a caller
    return field


def _text(field: bytes | int) -> str:
    return _bytes(field).decode()


def _keys(file: Path) -> dict[str, bytes]:
    """The keys of the provider secretbox, by name, of an EncryptionConfiguration."""
    try:
        config = yaml.safe_load(file.read_text()) or {}
        return {
            str(key["name"]): base64.b64decode(key["secret"])
            for resource in config.get("resources", [])
            for provider in resource["providers"]
            for key in (provider.get("secretbox") or {}).get("keys", [])
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return {}


def write(file: Path, secrets: list[Secret], cluster: str | None) -> None:
    """Keep Secrets in a file that its owner alone can read; what is kept already stays, for it is the older.

    Args:
        file: In a folder that nobody else may enter.
        secrets: As `to_keep` returns them.
        cluster: The UID of the cluster's namespace kube-system.
    """
    names = {_name(secret): secret for secret in secrets}
    if file.exists():
        kept = read(file)
        names.update({_name(secret): secret for secret in kept["secrets"]})
        cluster = kept["cluster"] or cluster
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.parent.chmod(0o700)
    part = file.with_suffix(".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump({"cluster": cluster, "secrets": list(names.values())}, stream)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(file)


def read(file: Path) -> dict[str, Any]:
    """What `write` has kept, empty where there is nothing.

    Raises:
        KeptError: The file cannot be read.
    """
    try:
        kept = json.loads(file.read_text())
        return {"cluster": kept["cluster"], "secrets": list(kept["secrets"])}
    except FileNotFoundError:
        return {"cluster": None, "secrets": []}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise KeptError(f"{file}, which keeps the Secrets of a cluster that was removed, cannot be read") from error


def due(kept: Mapping[str, Any], cluster: str | None) -> list[dict[str, Any]]:
    """What a cluster has to get of what was kept: the namespaces and the Secrets.

    Args:
        kept: As `read` returns it.
        cluster: The UID of the running cluster's namespace kube-system. Where it is the cluster that the Secrets come
            from, that was never removed, and nothing is due: it may have newer ones.
    """
    if kept["cluster"] and kept["cluster"] == cluster:
        return []
    names = dict.fromkeys(secret["metadata"]["namespace"] for secret in kept["secrets"])
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]
    return [*namespaces, *kept["secrets"]]


def as_stubs(secrets: Iterable[Mapping[str, Any]]) -> list[Secret]:
    """Secrets by name alone: a patch of nothing has the API server write each with the key of now."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {key: secret["metadata"][key] for key in ("name", "namespace")},
        }
        for secret in secrets
    ]


def _name(secret: Secret) -> tuple[str, str]:
    return secret["metadata"]["namespace"], secret["metadata"]["name"]
