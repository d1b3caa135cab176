#!/usr/bin/env python3
"""The docker client, for a machine that lacks a capability: ``--privileged`` would fail there, and is spelled out.

It stands as ``docker`` before the real client on PATH. Where nothing is missing, it changes nothing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# By the kernel's numbers (linux/capability.h), as far as every engine knows them by name.
CAPABILITIES = """
CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN
SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE
MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ
""".split()  # noqa: SIM905 - as a list it would be a page
DEVICES = ("/dev/kmsg", "/dev/fuse", "/dev/net/tun")


def missing(status: str) -> list[str]:
    """The capabilities that a process can never have, by its ``/proc/PID/status``."""
    mask = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapBnd:"))
    return [name for bit, name in enumerate(CAPABILITIES) if not mask >> bit & 1]


def privileged(lacking: Iterable[str], devices: Iterable[str]) -> Iterator[str]:
    """What ``--privileged`` stands for, less what the machine lacks."""
    yield from ("--cap-add", "ALL")
    for name in lacking:
        yield from ("--cap-drop", name)
    # Nothing hidden or read-only in /proc, every device by its number, and cgroups of the container's own.
    yield from ("--security-opt", "systempaths=unconfined", "--cgroupns=private", "--device-cgroup-rule=a *:* rwm")
    for device in devices:
        yield from ("--device", device)


def rewritten(arguments: Iterable[str], lacking: list[str], exists: frozenset[str]) -> Iterator[str]:
    """The arguments for the real client; ``exists`` are the paths of this machine among those that matter."""
    if not lacking:
        yield from arguments
        return
    command = ""
    remaining = iter(arguments)
    for argument in remaining:
        if not command and not argument.startswith("-"):
            command = argument
        if argument == "--privileged" and command in ("run", "create"):
            yield from privileged(lacking, [device for device in DEVICES if device in exists])
        elif argument == "--privileged" and command == "exec":
            # What runs in a container has what the container has.
            continue
        elif argument == "-v" and command == "run":
            volume = next(remaining, "")
            # The engine would make the folder on the host.
            if not volume.startswith("/lib/modules:") or "/lib/modules" in exists:
                yield from (argument, volume)
        else:
            yield argument


def main() -> None:
    here = Path(sys.argv[0]).absolute().parent
    folders = [folder for folder in os.environ["PATH"].split(":") if Path(folder).absolute() != here]
    real = next(path for folder in folders if os.access(path := Path(folder) / "docker", os.X_OK))
    exists = frozenset(path for path in (*DEVICES, "/lib/modules") if Path(path).exists())
    lacking = missing(Path("/proc/self/status").read_text())
    os.execv(real, ["docker", *rewritten(sys.argv[1:], lacking, exists)])


if __name__ == "__main__":
    main()
