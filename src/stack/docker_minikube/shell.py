"""What a shell needs to mean the tests' cluster, read from the file that people source."""

from __future__ import annotations

from pathlib import Path

# Outside of the cache of the offline build: a minikube in that counts as the offline build's own.
STATE = Path("/var/lib/flask-postgres-stack-docker")
# All that belongs to the cluster alone; what is built lies outside.
CLUSTER = STATE / "cluster"
PROFILE = "stack-docker"
FILE = CLUSTER / "environment"


def write(variables: dict[str, str]) -> None:
    """Write the file."""
    lines = [f"export {name}='{value}'\n" for name, value in variables.items()]
    FILE.write_text("".join([f'export PATH="{CLUSTER / "bin"}:$PATH"\n', *lines]))


def read(path: str) -> dict[str, str]:
    """The variables.

    Args:
        path: Where programs are found that are not the cluster's.

    Raises:
        FileNotFoundError: Nobody has prepared a cluster.
    """
    lines = [line.removeprefix("export ") for line in FILE.read_text().splitlines()]
    variables = dict(line.split("=", 1) for line in lines if not line.startswith("PATH="))
    return {
        **{name: value.strip("'") for name, value in variables.items()},
        "PATH": f"{CLUSTER / 'bin'}:{path}",
    }
