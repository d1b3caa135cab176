"""Settings of the role ``image``."""

from __future__ import annotations

from collections.abc import Iterator

from stack.validation import Problem, Settings, kubernetes
from stack.validation.rules import Rule, check, one_line

RULES: dict[str, Rule] = {
    "image_reference": kubernetes.image,
    "image_build_network": one_line(255, least=1),
}


def problems(settings: Settings) -> list[Problem]:
    """Everything that is wrong with the settings.

    Beside them it reads ``image_has_dockerfile``: whether the Dockerfile is there.
    """
    return [*check(settings, RULES), *build(settings)]


def build(settings: Settings) -> Iterator[Problem]:
    if settings["image_builder"] == "node" and settings["image_delivery"] != "minikube":
        delivery = settings["image_delivery"]
        yield Problem(
            "image_builder", f"minikube's nodes alone build, and image_delivery is {delivery}: set engine", "node"
        )
    if not settings["image_has_dockerfile"]:
        yield Problem("image_dockerfile", "it takes the path of a Dockerfile", settings["image_dockerfile"])
    # A proxy's address, for one, may have a password.
    if wanted := kubernetes.variables(settings["image_buildargs"]):
        yield Problem("image_buildargs", wanted)
