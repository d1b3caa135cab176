"""Docker's engine on this machine, where images are built and kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import docker
from docker.errors import ContainerError, DockerException, NotFound

from stack.images import ImageError

# What a call may end with; the client lets errors of the connection through.
ERRORS = (DockerException, OSError)
SILENT = (
    "Docker's engine does not answer this user: it has to run (systemctl start docker), and the user be root or in the "
    "group docker"
)


@contextmanager
def connected() -> Iterator[docker.DockerClient]:
    """A client of the engine.

    Raises:
        ImageError: The engine does not answer, or a call of it has failed.
    """
    try:
        client = docker.DockerClient.from_env(timeout=900)
    except ERRORS as error:
        raise ImageError(SILENT) from error
    with closing(client):
        try:
            yield client
        except ERRORS as error:
            raise ImageError(" ".join(str(error).split())[-300:]) from error


def has(image: str) -> bool:
    """Whether it has an image.

    Raises:
        ImageError: It does not answer.
    """
    with connected() as client:
        try:
            client.images.get(image)
        except NotFound:
            return False
    return True


def save(image: str) -> Iterator[bytes]:
    """An archive of an image, in parts.

    Raises:
        ImageError: It does not answer, or cannot read the image.
    """
    with connected() as client:
        yield from client.api.get_image(image)


def push(image: str) -> None:
    """Push an image to the registry in its name.

    Raises:
        ImageError: It does not answer, or the registry does not take the image.
    """
    with connected() as client:
        for line in client.images.push(image, stream=True, decode=True):
            if "error" in line:
                raise ImageError(line["error"])


def is_absent(image: str) -> bool:
    """Whether the registry in its name says that it has no such image.

    One that does not answer, or wants another account, says nothing.
    """
    try:
        with connected() as client:
            try:
                client.images.get_registry_data(image)
            except NotFound:
                return True
    except ImageError:
        return False
    return False


def digest(image: str) -> str:
    """The digest that the registry in its name has under it.

    Raises:
        ImageError: The registry, or the engine, does not answer.
    """
    with connected() as client:
        return str(client.images.get_registry_data(image).id)


def local_digest(image: str) -> str:
    """The digest under which the engine has pulled an image; empty if it has not.

    Raises:
        ImageError: It does not answer.
    """
    with connected() as client:
        try:
            known = client.images.get(image).attrs.get("RepoDigests") or []
        except NotFound:
            return ""
    return next((name.partition("@")[2] for name in known), "")


def load(archive: Path) -> None:
    """Load an archive of an image.

    Raises:
        ImageError: It does not answer, or does not take the archive.
    """
    with connected() as client, archive.open("rb") as file:
        client.images.load(file)


def run(image: str, script: str, network: str, environment: Mapping[str, str]) -> str:
    """What a shell script says in a container of an image, as root; nothing of the container stays.

    Args:
        image: An image that the engine has.
        script: For ``sh``.
        network: The container's network: ``host`` or ``default``.
        environment: Variables of the script.

    Raises:
        ImageError: The engine does not answer, or the script failed; then with its last line.
    """
    with connected() as client:
        try:
            said = client.containers.run(
                image, ["-c", script], entrypoint="sh", user="0:0", network_mode=network, remove=True,
                environment=dict(environment),
            )  # fmt: skip
        except ContainerError as error:
            text = error.stderr or ""
            text = text if isinstance(text, str) else text.decode(errors="replace")
            lines = [line for line in text.splitlines() if line.strip()]
            raise ImageError(lines[-1][-300:] if lines else "it said nothing") from error
    return bytes(said).decode(errors="replace")
