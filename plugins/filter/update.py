"""What an update has recorded of an image."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.images import named, without_contents
from stack.updates import RecordError, images_of, recorded

DOCUMENTATION = r"""
name: update_of
short_description: What make update has recorded of an image
options:
  _input: {type: dict, required: true, description: "The objects of the namespace, by C(Kind/name)."}
  name: {type: str, required: true, description: "What runs the image, such as C(postgres)."}
  base: {type: str, required: true, description: "What the setting names."}
"""

RETURN = r"""
_value:
  type: dict
  description: >-
    C(base), what is taken in its place, and C(contents), a list of what belongs to the tag of an image that is built
    from it; as the setting has it where nothing is recorded.
"""


def images_to_bring(images: list[str], workload: dict[str, Any]) -> list[str]:
    used = named([workload]) if workload else {}
    return [image for image in images if without_contents(image) != image and image not in used]


def kept_digest(image: str, objects: dict[str, Any]) -> str:
    used = named([found for found in objects.values() if found.get("kind") == "DaemonSet"])
    return next((each for each in used if each.startswith(f"{image}@")), image)


def update_of(objects: dict[str, Any], name: str, base: str) -> dict[str, Any]:
    try:
        return recorded(objects, name, base)
    except RecordError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "kept_digest": kept_digest,
            "update_of": update_of,
            "images_to_bring": images_to_bring,
            "images_of_update": images_of,
        }
