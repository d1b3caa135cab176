"""What minikube has noted about a profile: the address and the port of its API server, its driver, its addons."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.minikube import profile

DOCUMENTATION = r"""
name: minikube_profile
short_description: A profile of minikube, as minikube itself finds and reads it
description:
  - The folder is the one that minikube takes, by C(MINIKUBE_HOME) and C(HOME).
options:
  _terms: {required: true, description: "Names of profiles."}
"""

RETURN = r"""
_raw:
  type: list
  elements: dict
  description:
    - For each profile C(home), which is minikube's folder, and what C(described) of C(stack.minikube.profile) returns.
"""


class LookupModule(LookupBase):
    """Entry point for ``lookup('minikube_profile', ...)``; see DOCUMENTATION above."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        del variables, kwargs
        folder = profile.home(os.environ, str(Path.cwd()))
        try:
            return [{"home": str(folder), **profile.described(profile.read(folder, str(name)))} for name in terms]
        except profile.ProfileError as error:
            raise AnsibleLookupError(str(error)) from error
