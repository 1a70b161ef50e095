"""How much memory a device has: a GPU's own, or the host's within its container's limit.

This module knows devices and the files of Linux control groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import torch

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def total_memory(device: torch.device) -> int:
    """Bytes of memory that this process may use on a device, in all."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return min([int(psutil.virtual_memory().total), *read_container_limits(_GROUPS, _OWN)])


def read_container_limits(groups: Path, own: Path) -> Iterator[int]:
    """Memory limits in bytes of the process's control group and of those around it.

    Args:
        groups: where control groups are mounted, /sys/fs/cgroup.
        own: which groups the process is in, /proc/self/cgroup. A line of it is
            `number:controllers:path`; version 2 names no controllers.
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            root, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # Inside a container the path may be the host's: then only the root's file exists.
        folder = root / path.lstrip("/")
        for place in (folder, *folder.parents):
            if place.is_relative_to(root):
                yield from _read_limit(place / name)


def _read_limit(file: Path) -> Iterator[int]:
    """The number in a limit's file; "max" in version 2 means that there is none."""
    try:
        text = file.read_text(encoding="utf-8").strip()
    except OSError:
        return
    if text.isdecimal():
        yield int(text)
