"""A container engine of the tests' own: containerd and dockerd beside those of the machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import docker

from stack.polling import wait_until

ANSWER_S = 5
START_S = 60
STOP_S = 30
CONTAINERD = """version = 2
root = "{root}/containerd"
state = "{run}/containerd-state"
oom_score = 0
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{run}/containerd.sock"
[ttrpc]
  address = "{run}/containerd.sock.ttrpc"
"""


class Engine:
    """The engine's two processes.

    Args:
        root: Where images and containers are kept.
        run: Where the sockets and process ids are; short, for a socket's path has 107 bytes at the most.
    """

    def __init__(self, root: Path, run: Path) -> None:
        self.root = root
        self.folder = run
        self.host = f"unix://{run}/docker.sock"
        self._started: list[subprocess.Popen[bytes]] = []

    def client(self) -> docker.DockerClient:
        return docker.DockerClient(base_url=self.host, timeout=900)

    def is_up(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(ANSWER_S)
                connection.connect(str(self.folder / "docker.sock"))
                connection.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
                return b" 200 " in connection.recv(64)
        except OSError:
            return False

    def start(self) -> None:
        """Start what does not run.

        Raises:
            TimeoutError: It does not answer; the logs in its folder say why.
        """
        if self.is_up():
            return
        self.stop()
        self.root.mkdir(parents=True, exist_ok=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        configuration = self.folder / "containerd.toml"
        configuration.write_text(CONTAINERD.format(root=self.root, run=self.folder))
        self._spawn("containerd", "--config", str(configuration))
        containerd = self.folder / "containerd.sock"
        wait_until(lambda: "" if containerd.exists() else "no socket", START_S, "containerd of the tests")
        # No packet filter and no default bridge, which the machine's own engine may have: the nodes' network has one of
        # its own, and leads nowhere else.
        self._spawn(
            "dockerd", "--host", self.host, "--containerd", str(containerd), "--data-root", str(self.root / "docker"),
            "--exec-root", str(self.folder / "exec"), "--pidfile", str(self.folder / "dockerd.own.pid"),
            "--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--group=docker",
            "--oom-score-adjust=0",
        )  # fmt: skip
        log = self.folder / "dockerd.log"

        def problem() -> str:
            return "" if self.is_up() else f"no answer ({log.read_text()[-300:]})"

        wait_until(problem, START_S, "Docker's engine of the tests")

    def stop(self) -> None:
        """Stop both, and unmount what they have mounted."""
        for name in ("dockerd", "containerd"):
            self._end(name)
        mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for mount in sorted(mounts, reverse=True):
            if mount.startswith((f"{self.root}/", f"{self.folder}/")):
                subprocess.run(["umount", "--lazy", mount], check=False)

    def remove(self) -> None:
        """Stop both and remove all that they keep."""
        self.stop()
        for folder in (self.root, self.folder):
            shutil.rmtree(folder, ignore_errors=True)

    def _spawn(self, name: str, *arguments: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [name, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._started.append(process)
        (self.folder / f"{name}.pid").write_text(str(process.pid))

    def _end(self, name: str) -> None:
        pid_file = self.folder / f"{name}.pid"
        if not pid_file.exists():
            return
        pid = int(pid_file.read_text())
        command = Path(f"/proc/{pid}/cmdline")

        def problem() -> str:
            # The number may be another process' by now.
            runs = command.exists() and str(self.folder) in command.read_text()
            return f"process {pid} runs" if runs else ""

        if problem():
            os.kill(pid, signal.SIGTERM)
            wait_until(problem, STOP_S, f"the end of {name}")
        for process in self._started:
            process.poll()
        pid_file.unlink()
