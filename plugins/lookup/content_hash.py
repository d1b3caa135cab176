"""A short hash over files' names and contents, to tag images by what is in them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from docker.utils.build import exclude_paths

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


def context_files(folder: Path) -> list[Path]:
    """The files that a build of ``folder`` would send to the engine, sorted by path."""
    ignore = folder / ".dockerignore"
    lines = [line.strip() for line in ignore.read_text().splitlines()] if ignore.exists() else []
    patterns = [line for line in lines if line and not line.startswith("#")]
    return sorted(path for name in exclude_paths(str(folder), patterns) if (path := folder / name).is_file())


class LookupModule(LookupBase):
    """Entry point for ``lookup('content_hash', ...)``; see DOCUMENTATION above."""

    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        del variables, kwargs
        digest = hashlib.sha256()
        for term in terms:
            folder = Path(term)
            if not folder.is_absolute():
                digest.update(f"{term}\0".encode())
                continue
            if not folder.is_dir():
                raise AnsibleLookupError(f"content_hash: {folder} is no folder")
            for path in context_files(folder):
                mode = path.stat().st_mode & 0o111
                digest.update(f"{path.relative_to(folder)}\0{mode}\0".encode() + path.read_bytes())
        return [digest.hexdigest()[:12]]
