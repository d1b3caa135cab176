"""A short hash over files' names and contents, to tag images by what is in them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from docker.utils.build import exclude_paths


def context_files(folder: Path) -> list[Path]:
    """The files that a build of ``folder`` would send to the engine, sorted by path."""
    ignore = folder / ".dockerignore"
    lines = [line.strip() for line in ignore.read_text().splitlines()] if ignore.exists() else []
    patterns = [line for line in lines if line and not line.startswith("#")]
    return sorted(path for name in exclude_paths(str(folder), patterns) if (path := folder / name).is_file())


def content_hash(terms: Iterable[str]) -> str:
    """12 hexadecimal digits over the files of each folder named by its absolute path, and over any other text as it is.

    Raises:
        NotADirectoryError: An absolute path is no folder.
    """
    digest = hashlib.sha256()
    for term in terms:
        folder = Path(term)
        if not folder.is_absolute():
            digest.update(f"{term}\0".encode())
            continue
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is no folder")
        for path in context_files(folder):
            mode = path.stat().st_mode & 0o111
            digest.update(f"{path.relative_to(folder)}\0{mode}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]
