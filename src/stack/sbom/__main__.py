"""Write a bill of materials (CycloneDX 1.6, JSON) for each image that runs on the cluster: `make sbom`.

What is in an image is read from the image itself: Debian's packages from dpkg's status, Python's from their metadata,
Go's modules from what the linker has written into the binaries.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import IO

from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

GO_BUILD_INFO = b"\xff Go buildinf:"
DPKG_STATUS = re.compile(r"var/lib/dpkg/status(\.d/[^/]+)?")
PYTHON_METADATA = re.compile(r".*\.(dist-info/METADATA|egg-info/PKG-INFO)")


def images() -> set[str]:
    """The images of all pods of the cluster that kubectl speaks to, with the registry that is left out for Docker's."""
    listing = subprocess.run(
        ["kubectl", "get", "pods", "--all-namespaces", "--output", "json"], capture_output=True, check=True
    ).stdout
    return {
        full_name(container["image"])
        for pod in json.loads(listing)["items"]
        for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", [])
    }


def full_name(image: str) -> str:
    """An image's name with its registry; without one it is one of Docker's."""
    registry, slash, _ = image.partition("/")
    if slash and (registry == "localhost" or "." in registry or ":" in registry):
        return image
    return f"docker.io/{image if slash else f'library/{image}'}"


def layers(image: str) -> Iterator[IO[bytes]]:
    """The layers of an image from the bottom to the top, by containerd's store or Docker's."""
    containerd = ["ctr", "--namespace", "k8s.io", "images", "export", "--platform", "linux/amd64", "-"]
    command = containerd if shutil.which("ctr") else ["docker", "save"]
    with tempfile.TemporaryFile() as archive:
        subprocess.run([*command, image], stdout=archive, check=True)
        archive.seek(0)
        with tarfile.open(fileobj=archive) as members:
            manifest = members.extractfile("manifest.json")
            assert manifest is not None
            for name in json.load(manifest)[0]["Layers"]:
                layer = members.extractfile(name)
                assert layer is not None
                yield layer


def debian_packages(status: str) -> Iterator[PackageURL]:
    for paragraph in status.split("\n\n"):
        fields = HeaderParser().parsestr(paragraph)
        if fields.get("Status", "install ok installed") == "install ok installed" and fields.get("Package"):
            yield PackageURL("deb", "debian", fields["Package"], fields["Version"], {"arch": fields["Architecture"]})


def python_package(metadata: str) -> PackageURL:
    fields = HeaderParser().parsestr(metadata)
    return PackageURL("pypi", None, fields["Name"].lower().replace("_", "-"), fields["Version"])


def go_modules(binary: bytes) -> Iterator[PackageURL]:
    """The modules of a Go program; see https://pkg.go.dev/debug/buildinfo for the form."""
    at = binary.find(GO_BUILD_INFO)
    # Strings follow the header of 32 bytes where bit 1 of its flags is set, as since Go 1.18.
    if at < 0 or not binary[at + 15] & 2:
        return
    at += 32
    texts = []
    for _ in range(2):
        length = shift = 0
        while True:
            byte, at = binary[at], at + 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                break
        texts.append(binary[at : at + length])
        at += length
    version, modules = texts
    yield PackageURL("golang", None, "stdlib", version.decode().removeprefix("go"))
    # 16 bytes before and after the text mark it for debuggers.
    lines = [line.split("\t") for line in modules[16:-16].decode().splitlines()]
    for number, line in enumerate(lines):
        replaced = number + 1 < len(lines) and lines[number + 1][0] == "=>"
        if line[0] in ("mod", "dep", "=>") and not replaced:
            namespace, _, name = line[1].rpartition("/")
            yield PackageURL("golang", namespace or None, name, line[2])


def contents(image: str) -> set[PackageURL]:
    """All packages in an image. A file of a lower layer counts only where no higher one has it, too."""
    found: dict[str, set[PackageURL]] = {}
    for layer in layers(image):
        with tarfile.open(fileobj=layer) as members:
            for member in members:
                folder, _, base = member.name.removeprefix("./").rpartition("/")
                path = f"{folder}/{base}".lstrip("/")
                if base.startswith(".wh."):
                    gone = folder if base == ".wh..wh..opq" else f"{folder}/{base.removeprefix('.wh.')}"
                    found = {known: urls for known, urls in found.items() if not f"{known}/".startswith(f"{gone}/")}
                if not member.isfile():
                    continue
                file = members.extractfile(member)
                assert file is not None
                if DPKG_STATUS.fullmatch(path):
                    found[path] = set(debian_packages(file.read().decode()))
                elif PYTHON_METADATA.fullmatch(path):
                    found[path] = {python_package(file.read().decode())}
                elif member.mode & 0o111 and member.size > 1_000_000:
                    found[path] = set(go_modules(file.read()))
    return set().union(*found.values())


def write(image: str, folder: Path) -> Path:
    """Write the bill of an image, and return its file."""
    name, _, tag = image.rpartition(":")
    bom = Bom()
    bom.metadata.component = Component(name=name, version=tag, type=ComponentType.CONTAINER)
    for url in sorted(contents(image), key=str):
        bom.components.add(
            Component(name=url.name, group=url.namespace, version=url.version, purl=url, bom_ref=str(url))
        )
    bom.register_dependency(bom.metadata.component, bom.components)
    path = folder / (re.sub(r"[^\w.-]+", "-", image) + ".cdx.json")
    path.write_text(JsonV1Dot6(bom).output_as_string(indent=2))
    print(f"{path}: {len(bom.components)} components")
    return path


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for image in sorted(images()):
        write(image, folder)


if __name__ == "__main__":
    main()
