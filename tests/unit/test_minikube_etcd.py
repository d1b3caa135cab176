"""Secrets are read from etcd's files, whole or damaged, and kept where nobody else reads them.

``files/etcd.db.gz.b64`` was written by bbolt 1.5.0, its values by the encoders of Kubernetes and by NaCl's secretbox.
It has 180 events in several pages, a Secret that was replaced, one that was deleted, one of 12 kB, one without its key.
"""

from __future__ import annotations

import base64
import gzip
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stack.minikube import etcd, secrets

DATABASE = gzip.decompress(base64.b64decode((Path(__file__).parent / "files" / "etcd.db.gz.b64").read_text()))
PAGE = 4096
NAMES = {"by-hand", "large", "postgres-secret", "tls-secret", "token"}
KEY = """
kind: EncryptionConfiguration
resources:
  - resources: [secrets]
    providers:
      - secretbox: {keys: [{name: "1", secret: YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=}]}
      - identity: {}
"""


class Files:
    """etcd's folder and the key, as they lie on the disk."""

    def __init__(self, folder: Path) -> None:
        self.member, self.key = folder / "member", folder / "encryption.yaml"
        self.database = self.member / "snap" / "db"
        self.database.parent.mkdir(parents=True)
        self.database.write_bytes(DATABASE)
        self.key.write_text(KEY)

    def damage(self, change: Callable[[bytearray], Any]) -> None:
        data = bytearray(DATABASE)
        changed = change(data)
        self.database.write_bytes(changed if isinstance(changed, bytes) else data)

    def read(self) -> tuple[dict[str, dict[str, Any]], str | None, list[str]]:
        found, cluster, lines = secrets.from_etcd(self.member, self.key)
        return {f"{one['metadata']['namespace']}/{one['metadata']['name']}": one for one in found}, cluster, lines


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def text(secret: dict[str, Any]) -> str:
    return base64.b64decode(secret["data"]["password"]).decode()


def test_each_secret_as_it_was_last(files: Files) -> None:
    found, cluster, lines = files.read()
    assert {name.split("/")[1] for name in found if name.startswith("flask-postgres/")} == NAMES
    assert cluster == "the-cluster"
    assert lines == ["other/old-key: the key '2' that it is encrypted with is gone"]
    secret = found["flask-postgres/postgres-secret"]
    assert text(secret) == "S3cr$et"
    assert secret["data"]["empty"] == ""
    assert secret["metadata"] == {
        "name": "postgres-secret",
        "namespace": "flask-postgres",
        "uid": "uid-postgres-secret",
        "labels": {"app.kubernetes.io/managed-by": "ansible"},
        "annotations": {"note": "ümlaut"},
    }
    assert text(found["flask-postgres/large"]) == "0123456789" * 1200
    assert found["flask-postgres/tls-secret"]["type"] == "kubernetes.io/tls"


@pytest.mark.parametrize("key", ["", "[]", "{{", KEY.replace("YWFh", "YWFi"), KEY.replace('"1"', '"3"')])
def test_a_key_that_is_none_or_another_loses_what_it_encrypts_by_name(files: Files, key: str) -> None:
    files.key.write_text(key)
    found, _, lines = files.read()
    assert set(found) == {"flask-postgres/by-hand", "flask-postgres/token", "other/foreign"}
    assert {line.split(":")[0] for line in lines} == {
        "flask-postgres/large", "flask-postgres/postgres-secret", "flask-postgres/tls-secret", "other/old-key",
        "other/stack",
    }  # fmt: skip


def test_without_a_key_file(files: Files) -> None:
    files.key.unlink()
    assert len(files.read()[2]) == 5


def page_of(text: bytes) -> int:
    """The last page that holds a text."""
    return DATABASE.rindex(text) // PAGE


def root_page(data: bytearray) -> int:
    newest = max((0, PAGE), key=lambda start: int.from_bytes(data[start + 64 : start + 72], "little"))
    return int.from_bytes(data[newest + 32 : newest + 40], "little")


def zero(data: bytearray, page: int) -> None:
    data[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)


DAMAGES: dict[str, Callable[[bytearray], Any]] = {
    "the root is gone": lambda data: zero(data, root_page(data)),
    "both first pages are gone": lambda data: data.__setitem__(slice(0, 2 * PAGE), bytes(2 * PAGE)),
    "a page of events is gone": lambda data: zero(data, page_of(b"more-20")),
    "a page number is another": lambda data: data.__setitem__(page_of(b"more-20") * PAGE, 255),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_what_is_left_of_a_damaged_database(files: Files, damage: str) -> None:
    files.damage(DAMAGES[damage])
    found, _, lines = files.read()
    assert {name.split("/")[1] for name in found} >= NAMES
    assert text(found["flask-postgres/postgres-secret"]) == "S3cr$et"
    assert any("whether there were more Secrets" in line for line in lines), "a damage goes unsaid"


def test_one_of_the_first_pages_is_enough(files: Files) -> None:
    newest = max((0, PAGE), key=lambda start: int.from_bytes(DATABASE[start + 64 : start + 72], "little"))
    files.damage(lambda data: data.__setitem__(slice(newest, newest + PAGE), bytes(PAGE)))
    assert "flask-postgres/postgres-secret" in files.read()[0]


@pytest.mark.parametrize("size", range(0, len(DATABASE), 20 * PAGE + 1234))
def test_a_file_cut_off_anywhere_is_read_or_refused(files: Files, size: int) -> None:
    """bbolt makes the file larger than it needs, so that a cut may take nothing."""
    whole = files.read()
    files.damage(lambda data: bytes(data[:size]))
    try:
        found, _, lines = files.read()
    except etcd.EtcdError as error:
        found, lines = {}, [str(error)]
    said = "nothing in it can be read" if found == {} else "whether there were more Secrets"
    assert found == whole[0] or any(said in line for line in lines)


@pytest.mark.parametrize("content", [b"", b"\0" * 65536, b"no database", b"\xff" * 65536])
def test_no_database(files: Files, content: bytes) -> None:
    files.database.write_bytes(content)
    with pytest.raises(etcd.EtcdError, match="is damaged, and nothing in it can be read"):
        files.read()


def test_no_file(files: Files) -> None:
    files.database.unlink()
    with pytest.raises(etcd.EtcdError, match="cannot be read: No such file"):
        files.read()


def test_which_are_kept(files: Files) -> None:
    """All of the stack's namespace, those of other stacks, and nothing that the cluster makes for itself."""
    kept = secrets.to_keep(files.read()[0].values(), "flask-postgres")
    names = [f"{secret['metadata']['namespace']}/{secret['metadata']['name']}" for secret in kept]
    expected = ["by-hand", "large", "postgres-secret", "tls-secret"]
    assert names == [*(f"flask-postgres/{name}" for name in expected), "other/stack"]
    assert all("uid" not in secret["metadata"] for secret in kept)


def test_a_secret_of_the_api_server() -> None:
    """With fields that a new cluster would refuse or that belong to the old one."""
    meta: dict[str, Any] = {
        "name": "a",
        "namespace": "n",
        "uid": "u",
        "resourceVersion": "1",
        "ownerReferences": [{}],
        "labels": None,
    }
    (kept,) = secrets.to_keep([{"metadata": meta, "data": None, "type": None, "immutable": True}], "n")
    assert kept == {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "n"}, "type": "Opaque", "data": {},
        "immutable": True,
    }  # fmt: skip


def secret(name: str, value: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "n"}, "data": {"v": value}}


def test_kept_where_nobody_else_reads(tmp_path: Path) -> None:
    file = tmp_path / "state" / "kept" / "secrets.json"
    secrets.write(file, [secret("a", "1")], "u")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert secrets.read(file) == {"cluster": "u", "secrets": [secret("a", "1")]}
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_that_others_could_enter_is_closed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir(mode=0o755)
    secrets.write(tmp_path / "kept" / "secrets.json", [], None)
    assert stat.S_IMODE((tmp_path / "kept").stat().st_mode) == 0o700


def test_what_was_kept_before_is_the_older_and_stays(tmp_path: Path) -> None:
    """A run that was broken off has deleted the old cluster, and what is read now is of a half-made new one."""
    file = tmp_path / "kept" / "secrets.json"
    secrets.write(file, [secret("a", "old")], "first")
    secrets.write(file, [secret("a", "new"), secret("b", "new")], "second")
    kept = secrets.read(file)
    assert kept["cluster"] == "first"
    assert {one["metadata"]["name"]: one["data"]["v"] for one in kept["secrets"]} == {"a": "old", "b": "new"}


def test_nothing_kept(tmp_path: Path) -> None:
    kept = secrets.read(tmp_path / "secrets.json")
    assert kept == {"cluster": None, "secrets": []}
    assert secrets.due(kept, "u") == []


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"cluster": null}', "null"])
def test_a_kept_file_that_cannot_be_read_is_never_taken_for_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "secrets.json"
    file.write_text(content)
    with pytest.raises(secrets.KeptError, match=r"secrets\.json, which keeps the Secrets of a cluster"):
        secrets.read(file)
    with pytest.raises(secrets.KeptError):
        secrets.write(file, [secret("a", "1")], None)
    assert file.read_text() == content


@pytest.mark.parametrize(
    ("kept", "running", "expected"),
    [("u", "u", 0), ("u", "another", 2), ("u", None, 2), (None, "u", 2), (None, None, 2)],
)
def test_only_another_cluster_gets_what_was_kept(kept: str | None, running: str | None, expected: int) -> None:
    """The same cluster was never removed, and may have rotated its passwords since."""
    found = secrets.due({"cluster": kept, "secrets": [secret("a", "1")]}, running)
    assert len(found) == expected
    if found:
        assert found[0] == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}


def test_a_secret_written_as_json() -> None:
    assert secrets.decode(json.dumps(secret("a", "1")).encode()) == secret("a", "1")


@pytest.mark.parametrize("value", [b"", b"text", b"k8s\x00", b"k8s\x00\xff\xff", b"{", b"k8s\x00\x12\x05"])
def test_what_is_no_secret(value: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        secrets.decode(value)
