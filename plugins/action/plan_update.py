"""Ask what the images of a running stack are made of, and what there is now."""

from __future__ import annotations

import datetime
import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from stack import builder, engine, updates
from stack.images import Containerd, ImageError
from stack.proxies import build_arguments
from stack.updates import Image, RecordError, UntoldError

DOCUMENTATION = r"""
name: plan_update
short_description: Ask what the images of a running stack are made of, and what there is now
description:
  - Starts a container of each image, which asks its own packages' servers, and asks the registries for digests. It
    changes nothing, but that it notes for the offline build what there is (C(generation) in its folder), and that not
    in check mode.
options:
  images:
    type: list
    elements: dict
    required: true
    description: "C(name), C(base), C(running) and C(own), as in C(stack.updates.Image)."
  objects: {type: dict, required: true, description: "The objects of the namespace, with the record."}
  network: {type: str, required: true, description: "That of the containers, as C(docker run --network) takes it."}
  cache_dir: {type: path, required: true, description: "The folder of the offline build."}
  suite: {type: str, required: true, description: "Debian's, of the offline build."}
  before: {type: dict, description: "What C(packages) was before an update, to say what that has changed."}
"""

RETURN = r"""
lines: {type: list, elements: str, description: "What there is, for people."}
waits: {type: bool, description: "Whether anything is newer."}
sources: {type: dict, description: "What is taken for the base of each image, or for the image itself."}
packages: {type: dict, description: "The packages of each image."}
record: {type: dict, description: "The record, as C(data) and C(annotations) of a ConfigMap."}
"""


class Asked:
    """Docker's engine on this machine, and the registries that it reaches."""

    def __init__(self, network: str, cache: Path, suite: str) -> None:
        self._network = network
        self._cache = cache
        self._suite = suite

    def packages(self, image: str, *, candidates: bool) -> str:
        if not engine.has(image):
            archive = Containerd(self._cache).archive(image)
            if archive is None:
                raise UntoldError("not in Docker's engine on this machine, so that its packages cannot be told")
            engine.load(archive)
        environment = {**build_arguments(os.environ, self._network), "FIXES": ""}
        if image.startswith(updates.OFFLINE) or self._network == "host":
            environment["FIXES"] = builder.FIXES.format(suite=self._suite)
        script = updates.INSTALLED + (updates.CANDIDATES if candidates else "")
        try:
            return engine.run(image, script, self._network, environment)
        except ImageError as error:
            raise UntoldError(f"what there is of its packages cannot be told: {error}") from error

    def digest(self, image: str) -> str:
        try:
            return engine.digest(image)
        except ImageError as error:
            # What Docker hands on of what it was told stands in quotes at the end.
            said = re.search(r'\("(.+)"\)$', str(error))
            raise UntoldError(f"the registry does not answer: {said[1] if said else error}") from error

    def local_digest(self, image: str) -> str:
        return engine.local_digest(image)


class ActionModule(ActionBase):
    """Entry point for ``plan_update`` tasks; see DOCUMENTATION above."""

    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        _, given = self.validate_argument_spec(
            argument_spec={
                "images": {"type": "list", "elements": "dict", "required": True},
                "objects": {"type": "dict", "required": True},
                "network": {"type": "str", "required": True},
                "cache_dir": {"type": "path", "required": True},
                "suite": {"type": "str", "required": True},
                "before": {"type": "dict"},
            }
        )
        cache = Path(given["cache_dir"])
        asked = Asked(given["network"], cache, given["suite"])
        images = [Image(**image) for image in given["images"]]
        try:
            if given["before"] is not None:
                return {**result, "lines": self._changed(images, given["before"], asked)}
            known = updates.entries(given["objects"])
            with ThreadPoolExecutor(2) as pool:
                found = list(pool.map(lambda image: updates.find(image, known.get(image.name), asked), images))
        except (ImageError, RecordError) as error:
            return {**result, "failed": True, "msg": str(error)}
        note = updates.generation(found, builder.generation(cache))
        found = [updates.with_generation(finding, note) for finding in found]
        if note != builder.generation(cache) and not self._task.check_mode:
            builder.note_generation(cache, note)
            result["changed"] = True
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        return {
            **result,
            "lines": updates.lines(found),
            "waits": any(finding.waits for finding in found),
            "sources": {finding.image.name: finding.entry.source for finding in found},
            "packages": {finding.image.name: finding.packages for finding in found},
            "record": {"annotations": {updates.ASKED: now}, "data": updates.data(found, known)},
        }

    @staticmethod
    def _changed(images: list[Image], before: dict[str, dict[str, str]], asked: Asked) -> list[str]:
        """What an update has changed, of the images that run now."""

        def changed(image: Image) -> tuple[str, list[updates.Change]]:
            name = image.base if image.base.startswith(updates.OFFLINE) and not image.own else image.running
            try:
                packages = updates.installed(asked.packages(name, candidates=False))
            except UntoldError:
                return image.name, []
            return image.name, updates.differences(before[image.name], packages)

        with ThreadPoolExecutor(2) as pool:
            known = [image for image in images if before.get(image.name)]
            return updates.table(pool.map(changed, known)) or ["No package of an image has changed."]
