"""A folder that a process writes: locked, with files that are whole or as they were before.

This module knows folders and files, not what is in them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from holdfast.core.errors import RunError

FULL = {errno.ENOSPC, errno.EDQUOT}
"""The system's numbers for a full disk, and for a user's share of it that is used up."""
_NUMBER = re.compile(r"\(os error (\d+)\)")  # by which Rust's libraries end their messages
# torch names no reason; so it says that its own file could not be written.
_TORCH = re.compile(r"inline_container\.cc|iostream error")


class FolderLock:
    """A folder that this process writes to, for as long as somebody holds this object.

    Two processes would each append the records of all. The lock is the system's own on the folder
    itself, so that it leaves no file and ends with its process, however that ends. Where the file
    system has no locks there is none.
    """

    def __init__(self, folder: Path) -> None:
        """Lock a folder.

        Raises:
            RunError: another process has it.
        """
        descriptor = _lock_folder(folder)
        if descriptor is not None:
            weakref.finalize(self, _unlock, descriptor, os.getpid())


_LOCKS: weakref.WeakValueDictionary[tuple[Path, int], FolderLock] = weakref.WeakValueDictionary()
_LOCKING = threading.Lock()


def lock(folder: Path) -> FolderLock:
    """The lock of a folder, made where there is none: this process's own, or a new one.

    Raises:
        RunError: another process has it, or the folder cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        key = folder.resolve(), folder.stat().st_ino  # a folder of that name may be made anew
    with _LOCKING:
        own = _LOCKS.get(key)
        if own is None:
            own = _LOCKS[key] = FolderLock(folder)
        return own


def _unlock(descriptor: int, owner: int) -> None:
    """Free a lock; a forked child, which has the descriptor too, leaves its parent's alone."""
    if os.getpid() == owner:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _lock_folder(folder: Path) -> int | None:
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
            f"another process writes to {folder}: wait until it has ended, or choose another `out`."
        ) from None
    return descriptor


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: a process that is killed leaves the file as it was before."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file that must not be there yet; where it cannot be written whole it is gone again.

    Raises `FileExistsError`, and what the system refuses.
    """
    with path.open("xb") as file:
        try:
            yield file
            file.flush()
        except BaseException:
            path.unlink()
            raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say in one sentence what the file system refuses."""
    try:
        yield
    except OSError as error:
        if isinstance(error, FileExistsError):
            raise RunError(f"{path} is a file: `out` names a folder") from error
        if error.errno in FULL:
            raise RunError(
                f"the disk is full: {path} could not be written; free some space and run the "
                "same command again, which goes on from the last finished unit"
            ) from error
        raise RunError(
            f"{path} could not be written ({error.strerror}); choose another `out`"
        ) from error


@contextlib.contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Raise `OSError` with the path where the disk is full while others write a file or a folder.

    safetensors, tokenizers and torch have errors of their own for it, and the system names no path.
    """
    try:
        yield
    except Exception as error:
        number = _NUMBER.search(str(error))
        code = int(number[1]) if number else getattr(error, "errno", None)
        if code in FULL or _TORCH.search(str(error)):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        raise
