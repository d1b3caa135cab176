"""A start that fails deletes nothing, and what minikube deletes by itself is put back.

``minikube`` is a stand-in here: a program that notes how it is called and fails as it is told to. It injects the faults
that a real one meets, by its own words, and empties etcd's folder as ``kubeadm reset`` does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from stack.commands import stream
from stack.minikube.start import Files, StartError, said, start
from stack.minikube.status import WELL

SOURCES = Path(__file__).parents[2] / "src"
STOPPED = "X Exiting due to GUEST_START: failed to start node: wait 6m0s for node: wait for healthy API server"
RESET = "! Unable to restart control-plane node(s), will reset cluster: getting k8s client: the certificate is broken"
# What each call of `minikube start` does, by name; $data is minikube's folder in the node.
ANSWERS = {
    "well": "exit 0",
    "leaves the kubelet down": f"echo '{json.dumps({**WELL, 'Kubelet': 'Stopped'})}' > $status",
    "brings it up": f"echo '{json.dumps(WELL)}' > $status",
    "fails": f"echo '{STOPPED}'; echo; exit 80",
    "resets": f'echo "{RESET}"; rm -rf "$data"/etcd/*; mkdir "$data/etcd/member"; echo new > "$data/etcd/member/db"',
    "resets and fails": f'echo "{RESET}"; rm -rf "$data/etcd" "$data/certs"; echo "{STOPPED}"; exit 80',
    "is killed": f'echo "{RESET}"; rm -rf "$data"/etcd/*; kill -KILL $PPID',
}


class Cluster:
    """etcd's files, and a minikube that answers one start after the other as it is told."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.calls = folder / "calls"
        self.profile = folder / "profiles" / "minikube"
        self.files = Files(folder / "data", folder / "state" / "kept")
        (folder / "status").write_text(json.dumps(WELL))
        patch.setenv("PATH", f"{folder / 'bin'}:{os.environ['PATH']}")

    def fill(self, text: str = "old") -> None:
        (self.files.etcd / "member").mkdir(parents=True, exist_ok=True)
        (self.files.etcd / "member" / "db").write_text(text)
        self.files.key.parent.mkdir(parents=True, exist_ok=True)
        self.files.key.write_text("key")

    def answers(self, *starts: str, stop: int = 0) -> None:
        program = self.folder / "bin" / "minikube"
        program.parent.mkdir(exist_ok=True)
        cases = "\n".join(f"  {number}) {ANSWERS[answer]};;" for number, answer in enumerate(starts, 1))
        program.write_text(
            f"""#!/bin/sh
echo "$*" >> {self.calls}
data={self.files.data}
status={self.folder / "status"}
test "$1" = status && exec cat {self.folder / "status"}
test "$1" = start || exit {stop}
case $(grep -c ^start {self.calls}) in
{cases}
esac
"""
        )
        program.chmod(0o755)

    def start(self, files: Files | None = None, exists: bool = True) -> None:
        start(
            "minikube",
            exists,
            ["minikube", "start", "--profile=minikube"],
            self.profile,
            files,
            lambda argv: stream(argv, lambda _: None),
            lambda argv: stream(argv, lambda _: None),
            patience_s=0,
        )

    @property
    def called(self) -> list[str]:
        """The commands, but for the questions."""
        words = [line.split()[0] for line in self.calls.read_text().splitlines()]
        return [word for word in words if word != "status"]

    @property
    def content(self) -> str:
        return (self.files.etcd / "member" / "db").read_text()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    found = Cluster(tmp_path, monkeypatch)
    found.fill()
    return found


def is_clean(cluster: Cluster) -> bool:
    """Whether neither a copy nor a mark is left."""
    kept = cluster.files.kept
    return not (kept.exists() and list(kept.iterdir())) and {path.name for path in cluster.files.etcd.iterdir()} == {
        "member"
    }


def test_a_start_that_goes_well(cluster: Cluster) -> None:
    cluster.answers("well")
    cluster.start(cluster.files)
    assert cluster.called == ["start"]
    assert cluster.content == "old"
    assert is_clean(cluster)


def test_a_start_that_fails_is_tried_once_more(cluster: Cluster) -> None:
    cluster.answers("fails", "well")
    cluster.start(cluster.files)
    assert cluster.called == ["start", "start"]


def test_a_start_that_ends_well_and_leaves_a_part_down_is_tried_once_more(cluster: Cluster) -> None:
    cluster.answers("leaves the kubelet down", "brings it up")
    cluster.start(cluster.files)
    assert cluster.called == ["start", "start"]
    assert is_clean(cluster)


def test_a_part_that_stays_down_is_named(cluster: Cluster) -> None:
    cluster.answers("leaves the kubelet down", "leaves the kubelet down")
    with pytest.raises(StartError, match=r"still not after 0 s: the node: Kubelet is Stopped"):
        cluster.start(cluster.files)
    assert cluster.called == ["start", "start"]
    assert cluster.content == "old"


def test_the_certificate_of_a_former_address_does_not_keep_minikube_from_making_one(cluster: Cluster) -> None:
    cluster.profile.mkdir(parents=True)
    for name, text in (("", "now"), (".22cb71ce", "former"), (".e33f1a22", "now")):
        (cluster.profile / f"apiserver.crt{name}").write_text(text)
        (cluster.profile / f"apiserver.key{name}").write_text(text)
    cluster.answers("well")
    cluster.start(cluster.files)
    assert {path.name for path in cluster.profile.iterdir()} == {
        "apiserver.crt",
        "apiserver.key",
        "apiserver.crt.e33f1a22",
        "apiserver.key.e33f1a22",
    }


@pytest.mark.parametrize("local", [True, False])
def test_what_does_not_start_is_left_as_it_is(cluster: Cluster, local: bool) -> None:
    cluster.answers("fails", "fails")
    with pytest.raises(StartError, match=r"not start the profile minikube: GUEST_START: failed to start node") as error:
        cluster.start(cluster.files if local else None)
    assert "\n" not in str(error.value)
    assert cluster.called == ["start", "start"], "only starts, and two of them"
    assert cluster.content == "old"
    assert is_clean(cluster)


@pytest.mark.parametrize("answer", ["resets", "resets and fails"])
def test_what_minikube_resets_is_put_back(cluster: Cluster, answer: str) -> None:
    cluster.answers(answer, "well")
    cluster.start(cluster.files)
    assert cluster.called == ["start", "stop", "start"]
    assert cluster.content == "old"
    assert cluster.files.key.read_text() == "key"
    assert is_clean(cluster)


def test_what_minikube_resets_twice_is_put_back_twice(cluster: Cluster) -> None:
    cluster.answers("resets", "resets and fails")
    with pytest.raises(StartError, match=r"the control plane did not come up again .*will reset cluster"):
        cluster.start(cluster.files)
    assert cluster.called == ["start", "stop", "start", "stop"]
    assert cluster.content == "old"
    assert is_clean(cluster)


def test_a_run_that_ends_after_a_reset_goes_on_with_the_next(cluster: Cluster) -> None:
    """The copy is what it finds: by a run whose minikube could not be stopped, and by one that was killed."""
    cluster.answers("resets", stop=1)
    with pytest.raises(StartError, match=r"are kept in .*, and the next run puts them back"):
        cluster.start(cluster.files)
    assert cluster.content == "new\n"
    cluster.calls.unlink()
    cluster.answers("well")
    cluster.start(cluster.files)
    assert cluster.called == ["stop", "start"]
    assert cluster.content == "old"
    assert is_clean(cluster)


def test_a_run_that_is_killed_in_a_reset(cluster: Cluster) -> None:
    cluster.answers("is killed")
    program = f"""
import pathlib
from stack.commands import stream
from stack.minikube.start import Files, start
files = Files(pathlib.Path({str(cluster.files.data)!r}), pathlib.Path({str(cluster.files.kept)!r}))
run = lambda argv: stream(argv, print)
start("minikube", True, ["minikube", "start"], pathlib.Path({str(cluster.profile)!r}), files, run, run)
"""
    run = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(SOURCES)}, check=False)
    assert run.returncode == -signal.SIGKILL
    assert not (cluster.files.etcd / "member").exists(), "the fault did not happen"
    cluster.calls.unlink()
    cluster.answers("well")
    cluster.start(cluster.files)
    assert cluster.content == "old"
    assert is_clean(cluster)


def test_a_copy_that_was_not_finished_counts_for_nothing(cluster: Cluster) -> None:
    part = cluster.files.kept / "etcd.part" / "member"
    part.mkdir(parents=True)
    (part / "db").write_text("half")
    cluster.answers("resets", "well")
    cluster.start(cluster.files)
    assert cluster.content == "old"
    assert is_clean(cluster)


def test_a_file_that_goes_while_it_is_copied(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """etcd may run while another part of the cluster is down, and begins a new log when one is full."""
    passing = cluster.files.etcd / "member" / "0.tmp"
    passing.symlink_to("nowhere")
    copytree, calls = shutil.copytree, []

    def copy(*arguments: Any, **options: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            passing.unlink()
        return copytree(*arguments, **options)

    monkeypatch.setattr(shutil, "copytree", copy)
    cluster.files.keep()
    assert len(calls) == 2
    assert (cluster.files.copy / "member" / "db").read_text() == "old"


def test_a_copy_of_an_earlier_time_is_made_anew(cluster: Cluster) -> None:
    """A run was killed while the cluster came up well; it went on to serve."""
    cluster.files.keep()
    (cluster.files.etcd / "member" / "db").write_text("newer")
    cluster.answers("resets", "well")
    cluster.start(cluster.files)
    assert cluster.content == "newer"


def test_a_cluster_that_somebody_has_deleted_does_not_come_back(cluster: Cluster) -> None:
    cluster.files.keep()
    for path in (cluster.files.etcd / "member" / "db", cluster.files.etcd / Files.MARK):
        path.unlink()
    (cluster.files.etcd / "member").rmdir()
    cluster.answers("well")
    cluster.start(cluster.files, exists=False)
    assert cluster.called == ["start"]
    assert not cluster.files.copy.exists()


def test_files_without_a_profile_are_kept_all_the_same(cluster: Cluster) -> None:
    """As with another MINIKUBE_HOME, for which minikube knows nothing of the cluster that is there."""
    cluster.answers("resets", "well")
    cluster.start(cluster.files, exists=False)
    assert cluster.content == "old"


def test_a_reset_that_cannot_be_undone_is_said(cluster: Cluster) -> None:
    """The files lie in the node of a virtual machine, say; minikube itself ends with success."""
    cluster.answers("resets")
    with pytest.raises(StartError, match=r"has itself made a new one in its place .*its Secrets are new"):
        cluster.start(None)
    assert cluster.called == ["start"]


def test_a_first_start_is_no_reset(cluster: Cluster) -> None:
    cluster.answers("resets")
    cluster.start(None, exists=False)


def test_nobody_else_reads_the_copy(cluster: Cluster) -> None:
    before = os.umask(0)
    try:
        cluster.files.keep()
    finally:
        os.umask(before)
    assert stat.S_IMODE(cluster.files.kept.stat().st_mode) == 0o700


def test_without_minikube(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StartError, match="does not start the profile minikube: minikube is not installed"):
        cluster.start(cluster.files)
    assert cluster.content == "old"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["a", "X Exiting due to DRV_AS_ROOT: The driver", "", "box"], "DRV_AS_ROOT: The driver"),
        (["Exiting due to A: first", "Exiting due to B: second"], "B: second"),
        (["only this", "", "  "], "only this"),
        ([], "nothing"),
    ],
)
def test_what_minikube_said(lines: list[str], expected: str) -> None:
    assert said(lines) == expected
