"""Start a cluster, and lose nothing by it.

``minikube start`` answers a control plane that does not come up again by ``kubeadm reset``, which empties etcd, and
makes a new cluster in the same place; it ends with success and the Secrets are gone (minikube v1.38.1,
bootstrapper/kubeadm, ``StartCluster``). So etcd's files are copied before a start, and put back where that happened.
"""

from __future__ import annotations

import re
import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from stack.minikube.status import down
from stack.polling import wait_until

# Runs a command, shows its output as it comes, and returns the exit code and the lines.
Call = Callable[[Sequence[str]], tuple[int, list[str]]]
ATTEMPTS = 2
COPIES = 3
PATIENCE_S = 30.0
# What minikube says before it resets a cluster.
RESET = re.compile(r"will reset cluster|initialization failed, will try again")


class StartError(Exception):
    """A cluster that did not start, in one line."""


def said(lines: Sequence[str]) -> str:
    """Why minikube gave up: what follows "Exiting due to", or else its last line."""
    for line in reversed(lines):
        if match := re.search(r"Exiting due to (.+)", line):
            return match[1].strip()
    return next((line.strip() for line in reversed(lines) if line.strip()), "nothing")


@dataclass(frozen=True)
class Files:
    """etcd's files on this machine, as the none driver has them, and the place of their copy.

    Attributes:
        data: minikube's folder in the node, ``/var/lib/minikube``.
        kept: The folder for the copy, which nobody else may enter.
    """

    data: Path
    kept: Path

    # Lies in etcd's folder from the moment of the copy on; a reset takes it away with all else.
    MARK = "flask-postgres-stack"

    @property
    def etcd(self) -> Path:
        return self.data / "etcd"

    @property
    def key(self) -> Path:
        return self.data / "certs" / "encryption.yaml"

    @property
    def copy(self) -> Path:
        return self.kept / "etcd"

    def are_there(self) -> bool:
        return (self.etcd / "member").is_dir()

    def keep(self) -> None:
        """Copy what is there; a copy that is there already stays."""
        if self.copy.exists() or not self.are_there():
            return
        self.kept.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.kept.chmod(0o700)
        part = self.kept / "etcd.part"
        (self.etcd / self.MARK).write_text(uuid.uuid4().hex)
        self._copy_to(part)
        if self.key.exists():
            shutil.copy2(self.key, part / self.key.name)
        part.rename(self.copy)

    def _copy_to(self, folder: Path) -> None:
        """Copy etcd's folder; where etcd runs, files may come and go meanwhile."""
        for attempt in range(COPIES):
            shutil.rmtree(folder, ignore_errors=True)
            try:
                shutil.copytree(self.etcd, folder)
            except shutil.Error:
                if attempt == COPIES - 1:
                    raise
            else:
                return

    def are_lost(self) -> bool:
        """Whether there is a copy, and what it was copied from is no longer there."""
        if not self.copy.exists():
            return False
        try:
            return (self.etcd / self.MARK).read_text() != (self.copy / self.MARK).read_text()
        except OSError:
            return True

    def put_back(self) -> None:
        """Put the copy in the place of what is there; the cluster must not run."""
        part = self.data / "etcd.part"
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(self.copy, part, ignore=shutil.ignore_patterns(self.key.name))
        shutil.rmtree(self.etcd, ignore_errors=True)
        part.rename(self.etcd)
        if (self.copy / self.key.name).exists():
            self.key.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(self.copy / self.key.name, self.key)

    def release(self) -> None:
        """Remove the copy, as the cluster runs with what it was made of."""
        part = self.kept / "etcd.part"
        if self.copy.exists():
            shutil.rmtree(part, ignore_errors=True)
            self.copy.rename(part)
        shutil.rmtree(part, ignore_errors=True)
        (self.etcd / self.MARK).unlink(missing_ok=True)


def remove_unused_certificates(folder: Path) -> None:
    """Remove the API server's certificates that are not the one in force, as minikube makes them anew.

    minikube keeps one for each address that the node has had. Where the node returns to one of them, minikube takes its
    certificate for done and leaves the one of the address between in force, so that nobody can verify the API server
    (v1.38.1, bootstrapper/certs.go, ``generateProfileCerts``).

    Args:
        folder: The profile's folder in minikube's home.
    """
    in_force = folder / "apiserver.crt"
    for certificate in folder.glob("apiserver.crt.*"):
        if not in_force.exists() or certificate.read_bytes() != in_force.read_bytes():
            certificate.unlink()
            certificate.with_name(certificate.name.replace(".crt.", ".key.")).unlink(missing_ok=True)


def start(
    profile: str,
    exists: bool,
    command: Sequence[str],
    folder: Path,
    files: Files | None,
    call: Call,
    ask: Call,
    patience_s: float = PATIENCE_S,
) -> None:
    """Start or recover a cluster; a start that fails, or leaves a node down, is tried once more.

    Args:
        profile: The profile.
        exists: Whether minikube knows the profile.
        command: ``minikube start`` with its arguments.
        folder: The profile's folder in minikube's home.
        files: etcd's files, None where they are not on this machine.
        call: Runs a command and shows its output.
        ask: Runs a command that people need not see.
        patience_s: How long a started cluster may take until all of its parts run, in seconds.

    Raises:
        StartError: The cluster does not start. Its Secrets are where they were, but for a cluster whose files are not
            on this machine and that minikube itself has reset; the message says so.
    """
    if files:
        if not exists and not files.are_there():
            # Somebody has deleted the cluster, and a copy would be of that one.
            files.release()
        elif files.are_lost():
            # A run before this one was broken off between the reset and what follows below.
            _put_back(profile, files, call)
        else:
            # A copy that an earlier start has left is older than what is there.
            files.release()
        files.keep()
    remove_unused_certificates(folder)
    answer = ""
    for _ in range(ATTEMPTS):
        code, lines = call(command)
        if files is None and exists and any(RESET.search(line) for line in lines):
            raise StartError(
                f"minikube could not start the cluster of the profile {profile} again and has itself made a new one in "
                f"its place ({_why(lines)}): its Secrets are new, run again to bring the stack up with them"
            )
        if files and files.are_lost():
            answer = f"the control plane did not come up again ({_why(lines)})"
            _put_back(profile, files, call)
            continue
        answer = _unwell(profile, ask, patience_s) if code == 0 else said(lines)
        if not answer:
            if files:
                files.release()
            return
    if files:
        files.release()
    raise StartError(f"minikube does not start the profile {profile}: {answer}")


def _unwell(profile: str, ask: Call, patience_s: float) -> str:
    """What of a started cluster does not run: minikube ends well also where the kubelet does not come up."""

    def problem() -> str:
        code, lines = ask(["minikube", "status", f"--profile={profile}", "--output=json"])
        # Beside its warnings.
        output = next((line for line in lines if line.startswith(("{", "["))), "")
        return ", ".join(down(output, code))

    try:
        wait_until(problem, patience_s, "minikube has started the cluster")
    except TimeoutError as error:
        return str(error)
    return ""


def _why(lines: Sequence[str]) -> str:
    return next((line.strip() for line in lines if RESET.search(line)), said(lines))


def _put_back(profile: str, files: Files, call: Call) -> None:
    code, lines = call(["minikube", "stop", f"--profile={profile}"])
    if code:
        raise StartError(
            f"minikube has reset the cluster and does not stop it ({said(lines)}): etcd's files are kept in "
            f"{files.copy}, and the next run puts them back"
        )
    files.put_back()
