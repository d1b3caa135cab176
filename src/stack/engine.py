"""Docker's engine on this machine, where images are built and kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import docker
from docker.errors import DockerException, NotFound

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
