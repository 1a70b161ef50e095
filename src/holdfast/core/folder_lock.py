"""One process writes to a run's folder at a time: two would each append the records of all.

The lock is the system's own on the folder itself, so that it leaves no file and ends with its
process, however that ends. Where the file system has no locks there is none.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from holdfast.core.errors import RunError


class FolderLock:
    """A folder that this process writes to, for as long as somebody holds this object."""

    def __init__(self, folder: Path) -> None:
        """Lock a folder.

        Raises:
            RunError: another process has it.
        """
        descriptor = _locked(folder)
        if descriptor is not None:
            weakref.finalize(self, os.close, descriptor)


_HELD: weakref.WeakValueDictionary[Path, FolderLock] = weakref.WeakValueDictionary()


def lock(folder: Path) -> FolderLock:
    """The lock of a folder: the one that this process has already, or a new one."""
    place = folder.resolve()
    held = _HELD.get(place)
    if held is None:
        held = _HELD[place] = FolderLock(place)
    return held


def _locked(folder: Path) -> int | None:
    """A descriptor of the folder that has its lock; None where there are no locks."""
    try:
        import fcntl

        descriptor = os.open(folder, os.O_RDONLY)
    except (ImportError, OSError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            return None
        raise RunError(
            f"another process writes to {folder}: wait until it has ended, or choose another --out."
        ) from None
    return descriptor
