"""Servers as processes: started on a free port, and what they use (Linux's /proc).

A server ends with whoever started it, whatever ended that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def family(process: subprocess.Popen[bytes]) -> list[Path]:
    """The folders of a process and of all that it and these have started, in /proc."""
    processes = [process.pid]
    for one in processes:  # grows on the way
        processes += children(one)
    return [Path("/proc") / str(one) for one in processes]


def children(process: int) -> list[int]:
    """The processes that a process has started, from any of its threads."""
    threads = Path(f"/proc/{process}/task").glob("*/children")
    return [int(kid) for one in threads for kid in one.read_text(encoding="utf-8").split()]


def cpu(process: subprocess.Popen[bytes]) -> float:
    """Seconds of processor that a server has used, all its threads and processes."""
    ticks = 0
    for folder in family(process):
        fields = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2]
        ticks += sum(map(int, fields.split()[11:13]))  # user and system
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(process: subprocess.Popen[bytes]) -> float:
    """Resident MiB of a server, all its processes."""
    kib = 0
    for folder in family(process):
        status = (folder / "status").read_text(encoding="utf-8")
        lines = [line for line in status.splitlines() if line.startswith("VmRSS")]
        kib += sum(int(line.split()[1]) for line in lines)  # a process that ends has none
    return kib / 1024


_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)  # loaded here: the child between fork and exec should do little


def start(command: Sequence[str], log: int, **settings: str) -> subprocess.Popen[bytes]:
    """Start a server in a process group of its own; it prints its base URL first.

    Call it in a thread that stays: Linux ends the server with the thread that started it.
    """
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=log,
        env=os.environ | settings,
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )


def _end_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a process that `start` made, and its group."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
