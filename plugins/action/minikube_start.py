"""Start or recover a cluster of minikube, and lose nothing by it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.commands import stream
from stack.minikube.start import Files, StartError, start

DOCUMENTATION = r"""
name: minikube_start
short_description: Start or recover a cluster of minikube, and lose nothing by it
description:
  - Shows minikube's output as it comes. A start that fails is tried once more.
  - Where etcd's files are on this machine they are copied before, and put back where minikube has reset the cluster.
options:
  profile: {type: str, required: true, description: "The profile."}
  exists: {type: bool, required: true, description: "Whether minikube knows the profile."}
  arguments: {type: list, elements: str, required: true, description: "The arguments of C(minikube start)."}
  home: {type: path, required: true, description: "minikube's folder."}
  data: {type: path, description: "minikube's folder in the node, where that is this machine."}
  kept: {type: path, required: true, description: "The folder for the copy of etcd's files."}
"""

display = Display()


class ActionModule(ActionBase):
    """Entry point for ``minikube_start`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            argument_spec={
                "profile": {"type": "str", "required": True},
                "exists": {"type": "bool", "required": True},
                "arguments": {"type": "list", "elements": "str", "required": True},
                "home": {"type": "path", "required": True},
                "data": {"type": "path"},
                "kept": {"type": "path", "required": True},
            }
        )
        command = ["minikube", "start", f"--profile={arguments['profile']}", *arguments["arguments"]]
        if self._task.check_mode:
            return {**result, "changed": True, "skipped": True, "msg": "would run " + " ".join(command)}
        files = Files(Path(arguments["data"]), Path(arguments["kept"])) if arguments["data"] else None
        # A banner that the none driver is for experts; this project has chosen it for them.
        home = {"MINIKUBE_HOME": arguments["home"], "MINIKUBE_WANTNONEDRIVERWARNING": "false"}
        try:
            start(
                arguments["profile"],
                arguments["exists"],
                command,
                Path(arguments["home"], "profiles", arguments["profile"]),
                files,
                lambda argv: stream(argv, lambda line: display.display(f"  {line}"), home),
                lambda argv: stream(argv, lambda _: None, home),
            )
        except StartError as error:
            result.update(failed=True, msg=str(error))
        except OSError as error:
            result.update(failed=True, msg=f"etcd's files cannot be copied: {error}")
        result["changed"] = True
        return result
