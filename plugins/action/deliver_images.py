"""Bring images of this project to every node that lacks them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.images import ImageError, deliver, is_brought, named, place

DOCUMENTATION = r"""
name: deliver_images
short_description: Bring images of this project to every node that lacks them
description:
  - Asks the nodes' runtime, or the registry, for the images, and brings those that are missing from Docker's engine or
    the archives of the offline build. In check mode it brings nothing.
options:
  delivery: {type: str, required: true, choices: [minikube, containerd, registry], description: "How."}
  profile: {type: str, required: true, description: "The minikube profile whose nodes are asked."}
  cache_dir: {type: path, description: "The folder of the offline build, with the archives of its images."}
  images: {type: list, elements: str, default: [], description: "Images that must arrive; the task fails otherwise."}
  objects:
    type: list
    elements: dict
    default: []
    description:
      - Workloads and their revisions. Of the images that they name, those of this project are brought as well; for one
        that is nowhere and that only a revision names there is a warning.
"""

RETURN = r"""
missing: {type: list, elements: str, description: "The images that a node lacked, in check mode."}
brought: {type: list, elements: str, description: "The images that were brought."}
lost: {type: list, elements: str, description: "The images of objects that could not be brought."}
"""

REVISIONS = ("ReplicaSet ", "ControllerRevision ")


class ActionModule(ActionBase):
    """Entry point for ``deliver_images`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "delivery": {"type": "str", "required": True, "choices": ["minikube", "containerd", "registry"]},
                "profile": {"type": "str", "required": True},
                "cache_dir": {"type": "path"},
                "images": {"type": "list", "elements": "str", "default": []},
                "objects": {"type": "list", "elements": "dict", "default": []},
            }
        )
        users = {image: found for image, found in named(arguments["objects"]).items() if is_brought(image)}
        images = list(dict.fromkeys([*arguments["images"], *users]))
        cache = Path(arguments["cache_dir"]) if arguments["cache_dir"] else None
        destination = place(arguments["delivery"], arguments["profile"], cache)
        try:
            if self._task.check_mode:
                missing = list(destination.missing(images))
                return {**result, "changed": bool(missing), "missing": missing, "brought": [], "lost": []}
            brought, failed = deliver(destination, images)
        except ImageError as error:
            return {**result, "failed": True, "msg": str(error)}
        result.update(changed=bool(brought), brought=brought, lost=[image for image in failed if image in users])
        result["warnings"] = [
            f"{image}: {failed[image]}; going back to {' or '.join(users[image])} would not start"
            for image in result["lost"]
            if all(user.startswith(REVISIONS) for user in users[image])
        ]
        required = [image for image in arguments["images"] if image in failed]
        if required:
            result.update(failed=True, msg="; ".join(f"{image}: {failed[image]}" for image in required))
        return result
