"""Build an image in the nodes of a minikube profile."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.images import ImageError, Minikube
from stack.minikube import profile

DOCUMENTATION = r"""
name: build_in_node
short_description: Build an image in the nodes of a minikube profile, by C(minikube image build)
options:
  profile: {type: str, required: true, description: "The profile."}
  image: {type: str, required: true, description: "The image's name and tag."}
  context: {type: path, required: true, description: "The folder that is built."}
  dockerfile: {type: path, required: true, description: "The Dockerfile, which may lie elsewhere."}
  arguments: {type: dict, default: {}, description: "Arguments of the build."}
"""


class ActionModule(ActionBase):
    """Entry point for ``build_in_node`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            argument_spec={
                "profile": {"type": "str", "required": True},
                "image": {"type": "str", "required": True},
                "context": {"type": "path", "required": True},
                "dockerfile": {"type": "path", "required": True},
                "arguments": {"type": "dict", "default": {}},
            }
        )
        if self._task.check_mode:
            return {**result, "changed": True}
        try:
            noted = profile.described(profile.read(profile.home(os.environ, str(Path.cwd())), given["profile"]))
            arguments = {name: str(value) for name, value in given["arguments"].items()}
            context, dockerfile = Path(given["context"]), Path(given["dockerfile"])
            Minikube(given["profile"]).build(given["image"], context, dockerfile, arguments, noted["runtime"])
        except (ImageError, profile.ProfileError) as error:
            return {**result, "failed": True, "msg": str(error)}
        return {**result, "changed": True}
