"""What an update asks of Docker's engine, and what it says where an image is not there or a registry is silent."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stack import engine
from stack.images import ImageError
from stack.updates import UntoldError

PLUGIN = Path(__file__).parents[2] / "plugins/action/plan_update.py"
# As Docker hands on what a name server has said.
NO_HOST = "dial tcp: lookup registry-1.docker.io on 10.0.0.53:53: no such host"
SAID = f'500 Server Error for http+docker://localhost/v1.41/distribution/a/json: Internal Server Error ("{NO_HOST}")'


class Engine:
    """An engine with some images."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *images: str, fails: str = "") -> None:
        self.images = set(images)
        self.fails = fails
        self.loaded: list[Path] = []
        self.ran: list[tuple[str, str, str, str]] = []
        for name in ("has", "load", "run", "digest"):
            monkeypatch.setattr(engine, name, getattr(self, name))

    def has(self, image: str) -> bool:
        return image in self.images

    def load(self, archive: Path) -> None:
        self.loaded.append(archive)

    def run(self, image: str, script: str, network: str, environment: Mapping[str, str]) -> str:
        if self.fails:
            raise ImageError(self.fails)
        self.ran.append((image, network, environment["FIXES"], "candidates" if "apt-cache policy" in script else ""))
        return "# installed\n"

    def digest(self, _image: str) -> str:
        raise ImageError(self.fails)


@pytest.fixture
def asked(tmp_path: Path) -> Any:
    """Return the one who asks, with a network."""
    kind = runpy.run_path(str(PLUGIN))["Asked"]
    return lambda network: kind(network, tmp_path, "trixie")


def test_the_offline_build_is_asked_for_fixes_as_well(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Engine(monkeypatch, "app:1")
    asked("host").packages("app:1", candidates=True)
    asked("default").packages("app:1", candidates=False)
    (first, second) = found.ran
    assert first[:2] == ("app:1", "host")
    assert "trixie-security" in first[2]
    assert second == ("app:1", "default", "", "")
    assert first[3] == "candidates"


def test_an_image_that_the_cluster_alone_has_is_loaded(
    asked: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = Engine(monkeypatch)
    archive = tmp_path / "artifacts" / "localhost-dpage-pgadmin4-9-00000000" / "image.tar.gz"
    archive.parent.mkdir(parents=True)
    archive.touch()
    asked("host").packages("localhost/dpage/pgadmin4:9", candidates=True)
    assert found.loaded == [archive]
    with pytest.raises(UntoldError, match="not in Docker's engine"):
        asked("host").packages("docker.io/dpage/pgadmin4:9", candidates=True)


def test_what_was_said_is_told_and_not_who_handed_it_on(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    Engine(monkeypatch, "app:1", fails=SAID)
    with pytest.raises(UntoldError) as silent:
        asked("default").digest("a")
    assert str(silent.value) == f"the registry does not answer: {NO_HOST}"
    Engine(monkeypatch, "app:1", fails="E: no mirror")
    with pytest.raises(UntoldError, match="cannot be told: E: no mirror"):
        asked("host").packages("app:1", candidates=True)


def test_a_digest_stays_while_the_setting_names_the_same_image() -> None:
    kept = runpy.run_path(str(PLUGIN.parents[1] / "filter/update.py"))["kept_digest"]

    def live(image: str) -> dict[str, Any]:
        spec = {"template": {"spec": {"containers": [{"image": image}]}}}
        return {
            "DaemonSet/traefik": {"kind": "DaemonSet", "metadata": {"name": "traefik"}, "spec": spec},
            "Service/x": {},
        }

    digest = "docker.io/library/traefik:v3.7.9@sha256:" + "0" * 64
    assert kept("docker.io/library/traefik:v3.7.9", live(digest)) == digest
    assert kept("docker.io/library/traefik:v3.7.10", live(digest)) == "docker.io/library/traefik:v3.7.10"
    assert kept("docker.io/library/traefik:v3.7.9", {}) == "docker.io/library/traefik:v3.7.9"
    assert kept(digest, live("docker.io/library/traefik:v3.7.9")) == digest
