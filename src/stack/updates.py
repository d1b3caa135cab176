"""What the images of a running stack are made of, what there is now, and the record by which later runs stay on it.

An image's tag is made of its folder and of the name of its base, which stay the same when there are fixes. So an update
records beside them what it was made of: for a base of a registry the digest, and for packages the versions that there
were. Later runs read the record, and build and run the same.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

OFFLINE = "localhost/"
RECORD = "ConfigMap/image-updates"
# The exporter runs beside Prometheus; an image of the service that its own people build is theirs.
EXPORTER, SERVICE = "postgres-exporter", "flask-app"
IMAGES = "images.json"
# The annotation with the time of the last update, RFC 3339.
ASKED = "flask-postgres-stack/asked"

# What a container of an image says of its packages: Debian's, those that stand beside dpkg's own list, and Python's;
# then what apt would install. FIXES is what the offline build adds to the sources of its base.
INSTALLED = r"""
echo "# installed"
dpkg-query --show --showformat '${db:Status-Abbrev}|${Package}|${Version}\n' 2> /dev/null | sed -n 's/^ii *|//p'
grep -hE '^(Package|Version):' /var/lib/dpkg/status.d/* 2> /dev/null | sed -n 'N; s/^Package: \(.*\)\nVersion: /\1|/p'
find / -xdev -name '*.dist-info' -printf '%f\n' 2> /dev/null \
  | sed -nE 's/^(.*)-([^-]+)\.dist-info$/pypi:\1|\2/p' | sort -u
"""
CANDIDATES = r"""
command -v apt-cache > /dev/null || exit 0
if [ -n "$FIXES" ] && ! grep -qrs security /etc/apt/sources.list /etc/apt/sources.list.d; then
  printf '%s' "$FIXES" > /etc/apt/sources.list.d/fixes.list
fi
apt-get -o APT::Update::Error-Mode=any update > /tmp/apt 2>&1 || { grep '^[EW]: ' /tmp/apt | head -n 1 >&2; exit 1; }
echo "# candidates"
{ dpkg-query --show --showformat '${Package}\n'
  sed -n 's/^Package: //p' /var/lib/dpkg/status.d/* 2> /dev/null; } | sort -u | xargs apt-cache policy
"""

Object = Mapping[str, Any]


class UntoldError(Exception):
    """What cannot be told of an image, with the reason in a line."""


class RecordError(Exception):
    """A record that is not as an update writes it."""


@dataclass(frozen=True)
class Change:
    """A package of which there is another version.

    Attributes:
        package: Its name; Python's bear ``pypi:``.
        old: The version in the image that runs; empty for a package that is new.
        new: The other one; empty for a package that is gone.
        fix: Whether it comes from Debian's security archive.
    """

    package: str
    old: str
    new: str
    fix: bool = False


@dataclass(frozen=True)
class Entry:
    """What the record has of an image.

    Attributes:
        base: The setting that it was asked for: the base of an image that is built here, or the image itself.
        source: What is taken in its place: with a digest where it comes from a registry.
        contents: A short hash over what it was built of, which is a part of its tag; empty where nothing was newer.
    """

    base: str
    source: str
    contents: str = ""


@dataclass(frozen=True)
class Image:
    """An image of the stack.

    Attributes:
        name: What runs it, such as ``postgres``.
        base: See `Entry`.
        running: The image that its workload names.
        own: Whether it is built here, from its base.
    """

    name: str
    base: str
    running: str
    own: bool


@dataclass(frozen=True)
class Finding:
    """What an image is made of, and what there is.

    Attributes:
        image: The image.
        entry: What is to be recorded of it.
        packages: Its packages and their versions.
        changes: Those of which there is another version.
        moved: The digests of its base, before and now, where they differ.
        untold: What cannot be told of it, and why.
    """

    image: Image
    entry: Entry
    packages: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    moved: tuple[str, str] | None = None
    untold: list[str] = field(default_factory=list)

    @property
    def waits(self) -> bool:
        """Whether there is something that the image which runs does not have."""
        return bool(self.changes or self.moved)


class Source(Protocol):
    """What is asked; `stack.engine` does it, with Docker."""

    def packages(self, image: str, *, candidates: bool) -> str:
        """What INSTALLED, and CANDIDATES if wanted, say in a container of the image; `UntoldError` if nothing."""

    def digest(self, image: str) -> str:
        """The digest that the registry has under a name; `UntoldError` if it does not answer."""

    def local_digest(self, image: str, /) -> str:
        """The digest under which an image was pulled; empty if it was not."""


def installed(text: str) -> dict[str, str]:
    """The packages and versions in what INSTALLED has said."""
    lines = text.partition("# installed\n")[2].partition("# candidates\n")[0].splitlines()
    return dict(line.split("|", 1) for line in lines if "|" in line)


def candidates(text: str) -> dict[str, tuple[str, bool]]:
    """What apt would install of each package, and whether that is a fix of Debian's security archive.

    The form is that of ``apt-cache policy``; see apt_preferences(5).
    """
    found = {}
    for block in re.split(r"^(?=\S+:\n)", text.partition("# candidates\n")[2], flags=re.MULTILINE):
        named = re.match(r"(\S+):\n(?:.*\n)*?  Candidate: (\S+)", block)
        if named and named[2] != "(none)":
            table = block.partition("Version table:\n")[2]
            # A line of a version begins with fewer blanks than those of where it comes from.
            lines = table.partition(f" {named[2]} ")[2].partition("\n")[2].splitlines(keepends=True)
            places = []
            for line in lines:
                if not line.startswith("        "):
                    break
                places.append(line)
            found[named[1]] = named[2], any("-security" in place for place in places)
    return found


def changes(text: str) -> list[Change]:
    """The packages of an image of which apt has another version."""
    there = installed(text)
    return [
        Change(package, there[package], version, fix)
        for package, (version, fix) in sorted(candidates(text).items())
        if package in there and there[package] != version
    ]


def differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[Change]:
    """What differs between the packages of two images."""
    names = sorted(before.keys() | after.keys())
    pairs = [Change(name, before.get(name, ""), after.get(name, "")) for name in names]
    return [change for change in pairs if change.old != change.new]


def short(*parts: str) -> str:
    """A hash of 12 hexadecimal digits."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def entries(objects: Mapping[str, Object]) -> dict[str, Entry]:
    """The record, by the name of the image; empty before the first update.

    Raises:
        RecordError: It cannot be read.
    """
    data = (objects.get(RECORD) or {}).get("data") or {}
    try:
        return {name: Entry(**entry) for name, entry in json.loads(data.get(IMAGES) or "{}").items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise RecordError(
            f"{RECORD} is not as make update has written it ({error}). kubectl delete configmap image-updates: the next"
            " run goes back to the images before, and make update brings the newer ones again"
        ) from error


def recorded(objects: Mapping[str, Object], name: str, base: str) -> dict[str, Any]:
    """What a run takes for the base of an image, and what belongs to its tag beside that.

    A record of another base, from before a setting was changed, does not count.

    Raises:
        RecordError: It cannot be read.
    """
    entry = entries(objects).get(name)
    if entry is None or entry.base != base:
        return {"base": base, "contents": []}
    return {"base": entry.source, "contents": [entry.contents] if entry.contents else []}


def images_of(images: Iterable[Object], objects: Mapping[str, Object], given: str = "") -> list[dict[str, Any]]:
    """The images of a stack that are deployed, as the fields of `Image`.

    Args:
        images: For each its name, its ``workload`` as ``Kind/name``, its base and whether it is its own.
        objects: What there is, by ``Kind/name``.
        given: An image of the service that is built elsewhere; empty for none.
    """
    found = []
    for image in images:
        spec = (objects.get(image["workload"]) or {}).get("spec", {}).get("template", {}).get("spec", {})
        first = spec.get("initContainers", [])[:1] if image["name"] == EXPORTER else spec.get("containers", [])[:1]
        if first and not (image["name"] == SERVICE and given):
            fields = {key: image[key] for key in ("name", "base", "own")}
            found.append({**fields, "running": first[0]["image"]})
    return found


def find(image: Image, known: Entry | None, source: Source) -> Finding:
    """Ask what there is of an image.

    Args:
        image: The image.
        known: What the record has of it.
        source: What is asked.
    """
    entry = known if known and known.base == image.base else Entry(image.base, image.base)
    untold = []
    taken, moved, text = entry.source, None, ""
    if image.base.startswith(OFFLINE):
        pass
    elif "@" in image.base:
        untold.append("the setting names a digest, which stays")
    else:
        try:
            now = source.digest(image.base)
            before = entry.source.partition("@")[2] or image.running.partition("@")[2]
            before = before or (source.local_digest(image.base) if image.own else "")
            if now != before:
                moved = before, now
                taken = f"{image.base}@{now}"
        except UntoldError as error:
            untold.append(str(error))
    try:
        # Of an image of the offline build the runtime alone has the name with the versions.
        asked = image.base if image.base.startswith(OFFLINE) and not image.own else image.running
        text = source.packages(asked, candidates=True)
    except UntoldError as error:
        untold.append(str(error))
    found = changes(text)
    contents = entry.contents
    if image.own and (found or moved):
        contents = short(taken.partition("@")[2], *(f"{change.package}={change.new}" for change in found))
    elif found and not image.base.startswith(OFFLINE) and not moved:
        untold.append("the registry has no newer image yet with the packages below")
    return Finding(image, Entry(image.base, taken, contents), installed(text), found, moved, untold)


def generation(findings: Iterable[Finding], before: str) -> str:
    """What the offline build's images are to be made of: a text that is another one if they have to be built anew.

    Args:
        findings: What there is of each image.
        before: The text of the last update; empty for none.
    """
    packages = {
        f"{change.package} {change.new}"
        for finding in findings
        if finding.image.base.startswith(OFFLINE)
        for change in finding.changes
    }
    return "\n".join(sorted(packages)) or before


def with_generation(finding: Finding, text: str) -> Finding:
    """The finding of an image that the offline build makes for the cluster, with a name that tells what is in it."""
    image = finding.image
    if image.own or not image.base.startswith(OFFLINE) or not text:
        return finding
    entry = Entry(image.base, f"{image.base}-{short(text)}", short(text))
    return Finding(image, entry, finding.packages, finding.changes, finding.moved, finding.untold)


def data(findings: Iterable[Finding], known: Mapping[str, Entry]) -> dict[str, str]:
    """The record, as the data of a ConfigMap.

    Args:
        findings: What there is of each image.
        known: The record until now, of which the images that were not asked for stay.
    """
    images = {**known, **{finding.image.name: finding.entry for finding in findings}}
    return {IMAGES: json.dumps({name: asdict(entry) for name, entry in sorted(images.items())}, indent=1)}


def lines(findings: Iterable[Finding]) -> list[str]:
    """What an update would change, for people."""
    all_findings = list(findings)
    shown = table((finding.image.name, finding.changes) for finding in all_findings)
    for finding in all_findings:
        if finding.moved:
            before, now = (digest[:19] or "unknown" for digest in finding.moved)
            shown.append(f"{finding.image.name}: {finding.image.base} was {before}, is {now}")
    untold: dict[str, list[str]] = {}
    for finding in all_findings:
        for reason in finding.untold:
            untold.setdefault(reason, []).append(finding.image.name)
    shown += [f"{', '.join(names)}: {reason}" for reason, names in untold.items()]
    if not any(finding.waits for finding in all_findings):
        shown.append("Nothing newer was found" + (" where it could be told." if untold else "."))
    if fixes := {change.package for finding in all_findings for change in finding.changes if change.fix}:
        count = "1 package comes" if len(fixes) == 1 else f"{len(fixes)} packages come"
        shown += [
            f"{count} from Debian's security archive. Which holes that closes is not told here:",
            "https://security-tracker.debian.org/tracker/ has it by package.",
        ]
    return shown


def table(found: Iterable[tuple[str, list[Change]]]) -> list[str]:
    """Packages with their versions, old and new, and the images that they are in."""
    users: dict[Change, list[str]] = {}
    for name, list_of_changes in found:
        for change in list_of_changes:
            users.setdefault(change, []).append(name)
    if not users:
        return []
    rows = [
        (change.package, change.old or "-", change.new or "-", "security" if change.fix else "", ", ".join(names))
        for change, names in sorted(users.items(), key=lambda item: (item[0].package, item[0].old))
    ]
    head = ("PACKAGE", "OLD", "NEW", "", "IN")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head) - 1)]
    return ["  ".join([*map(str.ljust, row, widths), row[-1]]).rstrip() for row in [head, *rows]]
