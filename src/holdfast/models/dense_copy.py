"""A GGUF file's weights as transformers saves them, unpacked once and kept in the cache.

    CACHE/dense/SHA256-VERSION-READING/   config.json, tokenizer.json, model.safetensors in float32

transformers reads a GGUF file's vocabulary token by token and several times over, which takes
minutes; a folder takes seconds. Unpacked weights are float32, so that a copy gives in every dtype
what the file gives. The folder is named after the file's SHA-256, with that of a chat template
beside it, and transformers' version, and may be deleted at any time. What a process that was killed
left half unpacked goes at the next unpacking.

This module knows files. What is in them is `models.local`'s matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import transformers
from filelock import FileLock, Timeout

from holdfast.core.folder import disk_errors
from holdfast.models.fetch import cache_folder
from holdfast.models.local.files import ModelSource
from holdfast.models.local.weights import TEMPLATE, load_weights, read_small_files

LIMIT = 1 << 30
"""Bytes of a file up to which a copy is kept without being asked for."""
GROWTH = 8
"""How many times the file's bytes its copy may have: four bits a weight become 32."""


def dense_source(name: str, source: ModelSource) -> ModelSource:
    """Where to read a model from: a copy for GGUF files of up to `LIMIT` bytes, else the source.

    The first call makes the copy and says so on standard error. Where the cache has no room or
    cannot be written, it says that and returns the source.

    Args:
        name: the model's name, for messages.
        source: where its files are.

    Raises:
        ModelError: the file cannot be read.
    """
    if source.gguf is None:
        return source
    file = Path(source.path) / source.gguf
    if file.stat().st_size > LIMIT:
        return source
    try:
        place = dense_copy(name, source)
    except OSError as error:
        print(
            f"{name} cannot be unpacked into {cache_folder()} ({error.strerror or error}), so that"
            " loading it takes long each time: name a folder in HOLDFAST_CACHE.",
            file=sys.stderr,
        )
        return source
    return replace(source, path=str(place), gguf=None)


def dense_copy(name: str, source: ModelSource) -> Path:
    """The folder of a GGUF file's weights; makes it at the first call.

    Args:
        name: the model's name, for messages.
        source: where its files are; it must have a GGUF file.

    Raises:
        ModelError: the file cannot be read.
        OSError: the cache has no room or cannot be written.
    """
    assert source.gguf is not None
    file = Path(source.path) / source.gguf
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if (template := file.with_name(TEMPLATE)).exists():  # it goes into the copy
        digest = hashlib.sha256(digest.encode() + template.read_bytes()).hexdigest()
    name_of_copy = f"{digest[:32]}-{transformers.__version__}-{_READING}"
    place = cache_folder() / "dense" / name_of_copy
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with _lock(name, place.parent):
            if not place.exists():  # it may have been what another process unpacked
                _remove_leftovers(place.parent)
                _require_room(place.parent, GROWTH * file.stat().st_size)
                print(f"{name} is unpacked once, into {place}", file=sys.stderr)
                with tempfile.TemporaryDirectory(dir=place.parent, prefix=_PREFIX) as folder:
                    part = Path(folder) / "part"
                    _unpack(name, source, part)
                    part.replace(place)
    return place


_PREFIX, _LOCK = "unpacking-", "lock"
_READING = 4  # grows with what is read of a file, so that older copies are not taken for newer ones


@contextlib.contextmanager
def _lock(name: str, folder: Path) -> Iterator[None]:
    """Let one process unpack at a time: two would need the memory of both."""
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"{name} waits for another process, which unpacks into {folder}", file=sys.stderr)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left half unpacked: the lock ended with it."""
    for one in folder.glob(f"{_PREFIX}*"):
        shutil.rmtree(one, ignore_errors=True)


def _require_room(folder: Path, size: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(f"it may need {size >> 20} MiB, and {free >> 20} are free")


def _unpack(name: str, source: ModelSource, folder: Path) -> None:
    base = replace(source, adapter=None)
    config, tokenizer = read_small_files(name, base)
    model = load_weights(name, base, config, dtype="float32", device="cpu")
    with disk_errors(folder):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
