"""What `make render` writes of the manifests, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stack import render

POD = {"containers": [{"name": "shop", "image": "shop:1", "envFrom": [{"secretRef": {"name": "shop-db"}}]}]}


def named(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **more}


RENDERED = {
    "shop": [
        named("Deployment", "shop", spec={"template": {"spec": POD}}),
        named("Secret", "shop-token", data={"token": "bWFkZS11cA=="}),
        named("ConfigMap", "shop-config"),
    ],
    "tls": [named("ConfigMap", "ca-certificates", data={"ca.crt": ""})],
}


def test_an_object_has_a_file_and_a_secret_has_none() -> None:
    found = render.files(RENDERED)
    assert sorted(found) == ["shop/configmap-shop-config.yaml", "shop/deployment-shop.yaml"]
    assert yaml.safe_load(found["shop/deployment-shop.yaml"]) == RENDERED["shop"][0]


def test_what_the_settings_do_not_want_is_left_to_the_template_that_asks_them(tmp_path: Path) -> None:
    for name in ("_pod.yaml.j2", "service.yaml.j2", "nodes.yaml.j2", "secret.yaml.j2", "page.html.j2"):
        (tmp_path / name).touch()
    assert render.templates_of(tmp_path) == ["nodes.yaml.j2", "secret.yaml.j2", "service.yaml.j2"]
    whole = "{% include 'service.yaml.j2' +%}\n{% if reads_nodes %}{% include 'nodes.yaml.j2' +%}{% endif %}\n"
    (tmp_path / "_manifests.yaml.j2").write_text(whole)
    assert render.templates_of(tmp_path) == ["_manifests.yaml.j2", "secret.yaml.j2"]


def test_an_owner_of_another_cluster_is_left_out() -> None:
    owned = named("ClusterRole", "shop", rules=[])
    owned["metadata"]["ownerReferences"] = [{"uid": "0"}]
    assert "ownerReferences" not in render.files({"shop": [owned]})["shop/clusterrole-shop.yaml"]
    assert owned["metadata"]["ownerReferences"]


def test_what_has_no_file_is_named_with_what_pods_need() -> None:
    assert render.left_out(RENDERED) == ["ConfigMap ca-certificates", "Secret shop-db", "Secret shop-token"]


def test_a_second_time_replaces_the_files_of_the_first(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    render.replace(folder, {"shop/a.yaml": "1", "gone/b.yaml": "2"})
    (folder / ".git").mkdir()
    render.replace(folder, {"shop/a.yaml": "3"})
    assert {file.relative_to(folder).as_posix() for file in folder.rglob("*")} == {
        ".git",
        render.MARK,
        "shop",
        "shop/a.yaml",
    }
    assert (folder / "shop" / "a.yaml").read_text() == "3"


def test_the_files_of_others_are_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(render.RenderError, match="has other files"):
        render.replace(tmp_path, {"shop/a.yaml": "1"})
    assert [file.name for file in tmp_path.iterdir()] == ["mine"]
