"""The images that the stack's pods need: which of them a node lacks, and where they can be brought from."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import Any

Object = dict[str, Any]

# What this project builds, by the last part of the name.
OWN = ("flask-postgres-app", "postgres-patroni", "postgres-pooler")
# What bears this in place of a registry's name is made by the offline build.
OFFLINE = "localhost/"
CTR = ("ctr", "--namespace", "k8s.io", "images")
# The label of an image of the offline build, with the key of its recipe.
KEY_LABEL = "flask-postgres-stack.recipe"


class ImageError(Exception):
    """An image that cannot be brought, in one line."""


def full_name(image: str) -> str:
    """The name with its registry and its tag, as containerd keeps it.

    https://docs.docker.com/reference/cli/docker/image/tag/
    """
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif first != "localhost" and not re.search(r"[.:]", first):
        image = f"docker.io/{image}"
    return image if re.search(r"[:@]", image.rpartition("/")[2]) else f"{image}:latest"


def without_contents(image: str) -> str:
    """The name that the offline build gives an image, without what make update adds to its tag."""
    return re.sub(r"-[0-9a-f]{12}$", "", image) if image.startswith(OFFLINE) else image


def is_brought(image: str) -> bool:
    """Whether an image is one that a node has from here and from no registry of others."""
    name = full_name(image)
    return name.startswith(OFFLINE) or re.split(r"[:@]", name.rpartition("/")[2])[0] in OWN


def templates(found: Object) -> Iterator[Object]:
    """The pod templates in a workload or in one of its revisions; a Job that has ended starts no pod any more."""
    kind, spec = found.get("kind"), found.get("spec") or {}
    if kind == "CronJob":
        spec = spec.get("jobTemplate", {}).get("spec", {})
    elif kind == "ControllerRevision":
        spec = (found.get("data") or {}).get("spec", {})
    elif kind == "Job":
        ended = ("Complete", "Failed")
        conditions = (found.get("status") or {}).get("conditions") or []
        if any(each["type"] in ended and each["status"] == "True" for each in conditions):
            return
    if "template" in spec:
        yield spec["template"]


def named(objects: Iterable[Object]) -> dict[str, list[str]]:
    """The images that objects name, each with the objects as ``Kind name``."""
    found: dict[str, list[str]] = {}
    for each in objects:
        for template in templates(each):
            spec = template.get("spec") or {}
            for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
                users = found.setdefault(container["image"], [])
                user = f"{each['kind']} {each['metadata']['name']}"
                if user not in users:
                    users.append(user)
    return found


def missing(images: Iterable[str], nodes: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
    """The images that a node lacks, each with the nodes."""
    there = {node: {full_name(name) for name in names} for node, names in nodes.items()}
    found = {image: [node for node, names in there.items() if full_name(image) not in names] for image in images}
    return {image: lacking for image, lacking in found.items() if lacking}


class Containerd:
    """This machine's own containerd, as the driver none uses it."""

    def __init__(self, cache: Path | None = None) -> None:
        self._artifacts = cache / "artifacts" if cache else None

    def missing(self, images: Iterable[str]) -> dict[str, list[str]]:
        """The images that it does not have."""
        return missing(images, {"this machine": _output(*CTR, "list", "--quiet").split()})

    def bring(self, image: str) -> bool:
        """Put an image into it, from Docker's engine or the offline build's archive; false where neither has it."""
        plain = without_contents(image)
        archive = self.archive(plain)
        if archive is not None:
            self.import_archive(plain, archive, archive.parent.name.rpartition("-")[2])
            if plain != image:
                _output(*CTR, "tag", "--force", plain, image)
            return True
        engine = _engine()
        if not engine.has(image):
            return False
        self._take(engine.save(image))
        return True

    @classmethod
    def import_archive(cls, image: str, archive: Path, recipe: str) -> None:
        """Put an image of the offline build into it, with the key of its recipe, by which that knows what is there.

        Raises:
            ImageError: containerd does not take it; the message is a line that says why.
        """
        with gzip.open(archive) as stream:
            cls._take(iter(lambda: stream.read(1 << 20), b""))
        _output(*CTR, "label", image, f"{KEY_LABEL}={recipe}")

    def archive(self, image: str) -> Path | None:
        """The offline build's archive of an image, if there is one."""
        if self._artifacts is None or not image.startswith(OFFLINE):
            return None
        name = re.sub(r"[^a-zA-Z0-9.]+", "-", image)
        return next(iter(self._artifacts.glob(f"{name}-*/image.tar.gz")), None)

    @staticmethod
    def _take(chunks: Iterator[bytes]) -> None:
        with subprocess.Popen(
            [*CTR, "import", "-"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as importing:
            assert importing.stdin is not None
            assert importing.stderr is not None
            # It says why it takes no more.
            with suppress(BrokenPipeError):
                for chunk in chunks:
                    importing.stdin.write(chunk)
                importing.stdin.close()
            said = importing.stderr.read().decode(errors="replace")
        if importing.returncode:
            raise ImageError(f"containerd did not take it: {_line(said)}")


class Minikube:
    """The nodes of a minikube profile."""

    def __init__(self, profile: str) -> None:
        self._command = ("minikube", "--profile", profile)

    def missing(self, images: Iterable[str]) -> dict[str, list[str]]:
        """The images that a node lacks. `minikube image ls` tells what one of several has, so then each is asked."""
        nodes = [line.split()[0] for line in _output(*self._command, "node", "list").splitlines() if line.split()]
        if len(nodes) <= 1:
            return missing(images, {node: _output(*self._command, "image", "ls").split() for node in nodes})
        listed = {}
        for node in nodes:
            rows = _output(*self._command, "ssh", "--node", node, "--", "sudo", "crictl", "images").splitlines()[1:]
            listed[node] = [":".join(row.split()[:2]) for row in rows]
        return missing(images, listed)

    def bring(self, image: str) -> bool:
        """Load an image from Docker's engine into every node; false where the engine does not have it."""
        if not _engine().has(image):
            return False
        said = subprocess.run([*self._command, "image", "load", image], capture_output=True, text=True, check=False)
        # It warns of what it cannot do, and ends with 0.
        if lacking := self.missing([image]):
            nodes = ", ".join(lacking[image])
            raise ImageError(f"it has not arrived on {nodes}: {_line(said.stderr or said.stdout)}")
        return True

    def build(self, image: str, context: Path, dockerfile: Path, arguments: Mapping[str, str], runtime: str) -> None:
        """Build an image in every node, with the builder of its runtime: Docker, BuildKit or Podman.

        Args:
            image: Its name and tag.
            context: The folder that is built.
            dockerfile: The Dockerfile, which may lie elsewhere.
            arguments: Arguments of the build.
            runtime: What runs the node's containers, as `stack.minikube.profile.described` returns it.

        Raises:
            ImageError: A node does not have it afterwards.
        """
        # As buildctl takes them, and docker and podman.
        prefix = "opt=build-arg:" if runtime == "containerd" else "build-arg="
        options = [f"--build-opt={prefix}{name}={value}" for name, value in arguments.items()]
        command = [*self._command, "image", "build", "--all", f"--tag={image}", *options]
        with _with_dockerfile(context, dockerfile) as folder:
            done = subprocess.run(
                [*command, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
        # It warns of what it cannot do, and ends with 0.
        if done.returncode or self.missing([image]):
            raise ImageError(f"minikube cannot build it in its node ({runtime}): {_complaint(done.stdout)}")


class Registry:
    """A registry, which the nodes pull from."""

    def missing(self, images: Iterable[str]) -> dict[str, list[str]]:
        """The images that the registry says it does not have; of one that does not answer nothing is known."""
        images = list(images)
        with ThreadPoolExecutor(8) as pool:
            absent = list(pool.map(_engine().is_absent, images))
        return {image: ["the registry"] for image, gone in zip(images, absent, strict=True) if gone}

    def bring(self, image: str) -> bool:
        """Push an image from Docker's engine; false where the engine does not have it."""
        engine = _engine()
        if not engine.has(image):
            return False
        engine.push(image)
        return True


@contextmanager
def _with_dockerfile(context: Path, dockerfile: Path) -> Iterator[Path]:
    """A folder and its Dockerfile: a copy of the folder where the Dockerfile lies elsewhere."""
    if dockerfile.parent == context:
        yield context
        return
    with tempfile.TemporaryDirectory(prefix="image-") as folder:
        copy = Path(folder, "context")
        shutil.copytree(context, copy, symlinks=True)
        shutil.copy(dockerfile, copy / "Dockerfile")
        yield copy


Place = Containerd | Minikube | Registry


def place(delivery: str, profile: str, cache: Path | None) -> Place:
    """Where images are delivered to: ``containerd``, ``minikube`` or ``registry``."""
    if delivery == "containerd":
        return Containerd(cache)
    return Minikube(profile) if delivery == "minikube" else Registry()


def deliver(destination: Place, images: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Bring images to where a node lacks them.

    Returns:
        Those that were brought, and those that could not be, each with the reason.

    Raises:
        ImageError: It cannot be told what the nodes have.
    """
    brought, failed = [], {}
    for image, nodes in destination.missing(images).items():
        try:
            if destination.bring(image):
                brought.append(image)
            else:
                failed[image] = f"neither {' nor '.join(nodes)} has it, nor Docker's engine"
        except ImageError as error:
            failed[image] = str(error)
    if brought:
        for image, nodes in destination.missing(brought).items():
            brought.remove(image)
            failed[image] = f"it has not arrived on {', '.join(nodes)}"
    return brought, failed


def _engine() -> ModuleType:
    """Docker's engine, whose client takes longer to load than a runtime to say that it has all images."""
    from stack import engine

    return engine


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        raise ImageError(f"{command[0]} is not on PATH: it tells which images a node has")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = _line(done.stderr or done.stdout)
        raise ImageError(f"{' '.join(command)} ended with exit code {done.returncode}: {said}")
    return done.stdout


def _without_colours(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def _complaint(text: str) -> str:
    """What a build says of what it failed for: its own error, and not the trace that follows."""
    found = re.findall(r"(?im)^.*(?:\berror\b|not found|failed).*$", _without_colours(text))
    return " ".join(found[0].split())[-300:] if found else _line(text)


def _line(text: str) -> str:
    """The last line of what a program said, without colours."""
    lines = [line.strip() for line in _without_colours(text).splitlines() if line.strip()]
    return lines[-1][-300:] if lines else "it said nothing"
