"""A short hash over files' names and contents, to tag images by what is in them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack.hashing import content_hash

DOCUMENTATION = r"""
name: content_hash
short_description: Hash of a build context
description:
  - Hashes the names, modes and contents of all files below each folder, leaving out what the folder's
    C(.dockerignore) names, so that the value changes if and only if an image built from it could.
options:
  _terms: {required: true, description: "Folders, or any other text that belongs to the recipe."}
"""

RETURN = r"""
_raw: {type: list, elements: str, description: "One hash of 12 hexadecimal digits over all terms."}
"""


class LookupModule(LookupBase):
    """Entry point for ``lookup('content_hash', ...)``; see DOCUMENTATION above."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        del variables, kwargs
        try:
            return [content_hash(terms)]
        except NotADirectoryError as error:
            raise AnsibleLookupError(f"content_hash: {error}") from error
