"""Build the binaries and images of an offline cluster, cached by the content of their recipes."""

from __future__ import annotations

import fcntl
import sys
from pathlib import Path
from typing import Any

import docker
from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.builder import Artifact, Builder, BuildError

DOCUMENTATION = r"""
name: offline_build
short_description: Build the artifacts of an offline cluster
description:
  - Builds what is missing and says after each artifact how far it is; nothing is built twice for the same recipe.
  - An artifact appears under its final name only when it is complete, so that a broken-off run resumes.
  - Artifacts that no recipe names any more are removed, and so are Go's caches once nothing is left to compile.
  - Images marked C(cluster) are imported into containerd's namespace for Kubernetes, the other ones, which builds
    start from, into the Docker engine.
options:
  artifacts: {type: list, elements: dict, required: true, description: "Recipes, see roles/offline/vars/main.yml."}
  files: {type: path, required: true, description: "Folder with the Go modules and the image contexts."}
  cache_dir: {type: path, required: true, description: "Where artifacts are kept."}
  disk_gb: {type: int, default: 25, description: "Free space, in GB, that a build from nothing needs."}
"""

RETURN = r"""
paths: {type: dict, description: "Artifact name to the file that holds it: a binary, or an image as .tar.gz."}
built: {type: list, elements: str, description: "Names of the artifacts that this run built."}
delivered: {type: list, elements: str, description: "Names of the images that this run put into an engine."}
"""

display = Display()


class ActionModule(ActionBase):
    """Entry point for ``offline_build`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "artifacts": {"type": "list", "elements": "dict", "required": True},
                "files": {"type": "path", "required": True},
                "cache_dir": {"type": "path", "required": True},
                "disk_gb": {"type": "int", "default": 25},
            }
        )
        cache = Path(arguments["cache_dir"])
        known: dict[str, Artifact] = {}
        try:
            for recipe in arguments["artifacts"]:
                known[recipe["name"]] = Artifact(recipe, Path(arguments["files"]), cache, known)
            artifacts = list(known.values())
            cache.mkdir(parents=True, exist_ok=True)
            builder = Builder(cache, sys.executable, lambda line: display.display(f"  {line}"))
            if self._task.check_mode:
                plan, undelivered = builder.plan(artifacts), builder.undelivered(artifacts)
            else:
                # One build at a time: a second one waits, and finds what the first has built.
                with (cache / "lock").open("w") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    plan = builder.plan(artifacts)
                    if plan:
                        builder.require_space(arguments["disk_gb"], plan)
                    builder.build_all(plan)
                    builder.prune(artifacts)
                    undelivered = builder.undelivered(artifacts)
                    for artifact in undelivered:
                        builder.deliver(artifact)
        except (BuildError, docker.errors.DockerException) as error:
            raise AnsibleActionFail(str(error)) from error
        result.update(
            changed=bool(plan or undelivered),
            built=[artifact.name for artifact in plan],
            delivered=[artifact.name for artifact in undelivered],
            paths={artifact.name: str(artifact.path) for artifact in artifacts if artifact.is_kept},
        )
        return result
