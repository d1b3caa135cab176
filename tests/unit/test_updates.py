"""What an update finds of the images of a stack, what it records, and what later runs make of the record."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stack import builder, updates
from stack.updates import Change, Entry, Finding, Image, RecordError, UntoldError

POLICY = """libssl3t64:
  Installed: 3.5.1-1
  Candidate: 3.5.1-1+deb13u1
  Version table:
     3.5.1-1+deb13u1 500
        500 http://deb.debian.org/debian-security trixie-security/main amd64 Packages
 *** 3.5.1-1 500
        500 http://deb.debian.org/debian trixie/main amd64 Packages
        100 /var/lib/dpkg/status
bash:
  Installed: 5.2.37-2
  Candidate: 5.2.37-2
  Version table:
 *** 5.2.37-2 500
        500 http://deb.debian.org/debian trixie/main amd64 Packages
        100 /var/lib/dpkg/status
tzdata:
  Installed: 2025a
  Candidate: 2025b
  Version table:
     2025b 500
        500 http://deb.debian.org/debian trixie-updates/main amd64 Packages
 *** 2025a 100
        100 /var/lib/dpkg/status
     2024a 500
        500 http://deb.debian.org/debian-security trixie-security/main amd64 Packages
postgresql-client-17:
  Installed: (none)
  Candidate: 17.12
  Version table:
     17.12 500
        500 http://deb.debian.org/debian trixie/main amd64 Packages
own:
  Installed: 1
  Candidate: (none)
  Version table:
"""
TEXT = f"""# installed
libssl3t64|3.5.1-1
bash|5.2.37-2
tzdata|2025a
postgresql-client-17|17.11
own|1
pypi:flask|3.1.0
# candidates
{POLICY}"""
OLD, NEW = "sha256:" + "0" * 64, "sha256:" + "1" * 64
BASE = "docker.io/library/postgres:17-trixie"
OFFLINE = "localhost/library/postgres:17-trixie"


class Told:
    """Answers as given; None for what does not answer."""

    def __init__(self, text: str | None = TEXT, now: str | None = OLD, local: str = OLD) -> None:
        self.text, self.now, self.local = text, now, local
        self.asked: list[str] = []

    def packages(self, image: str, *, candidates: bool) -> str:
        assert candidates
        self.asked.append(image)
        if self.text is None:
            raise UntoldError("no mirror")
        return self.text

    def digest(self, image: str) -> str:
        assert "@" not in image
        if self.now is None:
            raise UntoldError("no registry")
        return self.now

    def local_digest(self, _image: str) -> str:
        return self.local


UP_TO_DATE = "# installed\nbash|5.2.37-2\n# candidates\n" + POLICY
POSTGRES = Image("postgres", BASE, "postgres-patroni:1", own=True)
PGADMIN = Image("pgadmin", "localhost/dpage/pgadmin4:9", "localhost/dpage/pgadmin4:9", own=False)


def test_packages_are_compared_with_what_apt_would_install() -> None:
    assert updates.changes(TEXT) == [
        Change("libssl3t64", "3.5.1-1", "3.5.1-1+deb13u1", fix=True),
        # Copied into the image, and not installed there.
        Change("postgresql-client-17", "17.11", "17.12"),
        # Of the versions in the table, the candidate's place counts.
        Change("tzdata", "2025a", "2025b"),
    ]


def test_the_script_tells_what_this_machine_has(tmp_path: Path) -> None:
    """Here, as in a container: the shell is dpkg's, and the list is compared with another of its answers."""
    if not Path("/var/lib/dpkg/status").exists():
        pytest.skip("this machine has no dpkg")
    script = updates.INSTALLED.replace("find / -xdev", f"find {tmp_path}")
    (tmp_path / "lib" / "zope.interface-6.0.dist-info").mkdir(parents=True)
    said = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    found = updates.installed(said)
    query = ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev}${Package} ${Version}\n"]
    shown = subprocess.run(query, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout
    listed = dict(line[3:].split() for line in shown.splitlines() if line.startswith("ii "))
    assert len(listed) > 20
    assert found == {**listed, "pypi:zope.interface": "6.0"}


def test_an_image_with_newer_packages_gets_another_tag_by_them_alone() -> None:
    found = updates.find(POSTGRES, None, Told())
    assert found.waits
    assert found.moved is None
    assert found.entry.source == BASE
    assert found.entry.contents
    again = updates.find(POSTGRES, None, Told())
    assert again.entry == found.entry
    other = updates.find(POSTGRES, None, Told(TEXT.replace("2025b", "2025c")))
    assert other.entry.contents not in ("", found.entry.contents)


def test_a_base_is_taken_by_its_digest() -> None:
    found = updates.find(POSTGRES, None, Told(UP_TO_DATE, now=NEW))
    assert found.moved == (OLD, NEW)
    assert found.entry.source == f"{BASE}@{NEW}"
    assert found.entry.contents
    # What was built of it stays as it is until there is another one.
    later = updates.find(POSTGRES, found.entry, Told(UP_TO_DATE, now=NEW))
    assert not later.waits
    assert later.entry == found.entry


def test_with_nothing_newer_nothing_is_changed() -> None:
    found = updates.find(POSTGRES, None, Told(UP_TO_DATE))
    assert not found.waits
    assert found.entry == Entry(BASE, BASE, "")
    assert "Nothing newer was found." in updates.lines([found])


def test_what_cannot_be_told_is_said_and_keeps_what_is_recorded() -> None:
    known = Entry(BASE, f"{BASE}@{OLD}", "0123456789ab")
    found = updates.find(POSTGRES, known, Told(None, now=None))
    assert found.entry == known
    assert found.untold == ["no registry", "no mirror"]
    shown = updates.lines([found])
    assert "postgres: no registry" in shown
    assert "Nothing newer was found where it could be told." in shown


def test_a_digest_in_the_setting_stays() -> None:
    image = Image("postgres", f"{BASE}@{OLD}", "postgres-patroni:1", own=True)
    found = updates.find(image, None, Told(UP_TO_DATE, now=NEW))
    assert found.entry.source == image.base
    assert not found.waits


def test_another_base_in_the_settings_ends_a_record() -> None:
    known = {"postgres": Entry(BASE, f"{BASE}@{OLD}", "0123456789ab")}
    objects = {updates.RECORD: {"data": updates.data([], known)}}
    assert updates.recorded(objects, "postgres", BASE) == {"base": f"{BASE}@{OLD}", "contents": ["0123456789ab"]}
    other = BASE.replace("17", "18")
    assert updates.recorded(objects, "postgres", other) == {"base": other, "contents": []}
    assert updates.recorded(objects, "pgadmin", "a:1") == {"base": "a:1", "contents": []}
    assert updates.recorded({}, "postgres", BASE) == {"base": BASE, "contents": []}
    found = updates.find(Image("postgres", other, "postgres-patroni:1", own=True), known["postgres"], Told(UP_TO_DATE))
    assert found.entry == Entry(other, other)


@pytest.mark.parametrize("text", ["{", "[]", '{"a": 1}', '{"a": {"base": "a"}}', '{"a": {"no": 1}}'])
def test_a_record_that_somebody_has_changed_is_not_taken_for_none(text: str) -> None:
    with pytest.raises(RecordError, match=r"delete configmap image-updates"):
        updates.recorded({updates.RECORD: {"data": {updates.IMAGES: text}}}, "postgres", BASE)


def test_images_that_were_not_asked_for_stay_recorded() -> None:
    known = {"pgadmin": Entry("a:1", "a:1@" + OLD), "postgres": Entry(BASE, BASE)}
    found = updates.find(POSTGRES, known["postgres"], Told())
    objects = {updates.RECORD: {"data": updates.data([found], known)}}
    assert updates.entries(objects) == {"pgadmin": known["pgadmin"], "postgres": found.entry}


def test_the_offline_build_is_told_what_there_is_once_it_is_newer() -> None:
    own = updates.find(Image("postgres", OFFLINE, "postgres-patroni:1", own=True), None, Told())
    ready = updates.find(PGADMIN, None, Told(UP_TO_DATE))
    assert own.entry.source == OFFLINE
    note = updates.generation([own, ready], "")
    assert "libssl3t64 3.5.1-1+deb13u1" in note
    # With nothing newer the build stays with what it has.
    assert updates.generation([ready], note) == note
    assert updates.generation([ready], "") == ""
    # What it has built for the cluster itself gets a name of its own, by which pods are replaced.
    named = updates.with_generation(ready, note)
    assert named.entry.source == f"{PGADMIN.base}-{updates.short(note)}"
    assert updates.with_generation(own, note) == own
    assert updates.with_generation(ready, "") == ready
    # Packages of a registry's image are none of its business.
    assert updates.generation([updates.find(POSTGRES, None, Told())], "") == ""


def test_an_image_of_the_offline_build_is_asked_by_the_name_that_the_engine_has() -> None:
    told = Told(UP_TO_DATE)
    updates.find(Image("pgadmin", PGADMIN.base, PGADMIN.base + "-0123456789ab", own=False), None, told)
    assert told.asked == [PGADMIN.base]


def test_a_note_makes_the_base_of_the_offline_build_anew(tmp_path: Path) -> None:
    def keys() -> list[str]:
        known: dict[str, builder.Artifact] = {}
        for recipe in (
            {"name": "go", "kind": "python_package"},
            {"name": "debian:1", "kind": "rootfs"},
            {"name": "python:1", "kind": "image", "needs": ["debian:1"]},
            {"name": "traefik:1", "kind": "image", "needs": ["go"]},
        ):
            known[recipe["name"]] = builder.Artifact(recipe, tmp_path, tmp_path, known)  # type: ignore[index]
        return [artifact.key for artifact in known.values()]

    before = keys()
    builder.note_generation(tmp_path, "libssl3t64 3.5.1")
    after = keys()
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False, False, True]
    builder.note_generation(tmp_path, "libssl3t64 3.5.2")
    assert keys()[1] not in (before[1], after[1])


def test_one_line_shows_a_package_that_several_images_have() -> None:
    change = Change("zlib1g", "1", "2", fix=True)
    other = Change("zlib1g", "0", "2")
    rows = updates.table([("postgres", [change]), ("pgadmin", [change, other])])
    assert [row.split() for row in rows] == [
        ["PACKAGE", "OLD", "NEW", "IN"],
        ["zlib1g", "0", "2", "pgadmin"],
        ["zlib1g", "1", "2", "security", "postgres,", "pgadmin"],
    ]


def test_what_an_update_has_changed() -> None:
    assert updates.differences({"a": "1", "b": "1", "c": "1"}, {"a": "1", "b": "2", "d": "1"}) == [
        Change("b", "1", "2"),
        Change("c", "1", ""),
        Change("d", "", "1"),
    ]


def test_the_images_of_what_is_deployed_are_asked_for() -> None:
    def workload(*images: str, first: str = "") -> dict[str, Any]:
        spec = {"containers": [{"image": image} for image in images]}
        return {"spec": {"template": {"spec": {**spec, **({"initContainers": [{"image": first}]} if first else {})}}}}

    objects = {
        "StatefulSet/postgres": workload("patroni:1", first="patroni:1"),
        "StatefulSet/prometheus": workload("prometheus:1", first="exporter:1"),
    }
    wanted = [
        {"name": "postgres", "workload": "StatefulSet/postgres", "base": "p", "own": True},
        {"name": "postgres-pooler", "workload": "Deployment/postgres-pooler", "base": "d", "own": True},
        {"name": "postgres-exporter", "workload": "StatefulSet/prometheus", "base": "e", "own": False},
        {"name": "prometheus", "workload": "StatefulSet/prometheus", "base": "m", "own": False},
        {"name": "flask-app", "workload": "Deployment/flask-app", "base": "f", "own": True},
    ]
    found = updates.images_of(wanted, objects)
    assert [(image["name"], image["running"]) for image in found] == [
        ("postgres", "patroni:1"),
        ("postgres-exporter", "exporter:1"),
        ("prometheus", "prometheus:1"),
    ]
    objects["Deployment/flask-app"] = workload("app:1")
    assert updates.images_of(wanted, objects)[-1]["running"] == "app:1"
    # Somebody else builds it.
    assert updates.images_of(wanted, objects, "registry.example.com/app:1") == found


def test_findings_are_told_apart() -> None:
    assert not Finding(POSTGRES, Entry(BASE, BASE)).waits
