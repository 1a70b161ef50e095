"""Packages that an extra brings: which extra, and the command that installs it here."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from shlex import quote
from urllib.parse import urlsplit
from urllib.request import url2pathname

# By the name that is imported, of what `pyproject.toml` has under its optional dependencies.
_PACKAGES = {
    "local": "accelerate filelock gguf huggingface_hub psutil safetensors tokenizers torch "
    "transformers",
    "tasks": "datasets math_verify",
    "prism": "peft sklearn",
    "permix": "trl",
    "gateway": "fastapi fastapi_offline prometheus_client starlette uvicorn",
    "serve": "llguidance",
    "telemetry": "opentelemetry",
    "inspect": "inspect_ai",
    "ray": "ray",
}
EXTRA = {package: extra for extra, names in _PACKAGES.items() for package in names.split()}
"""The extra that brings a package, by the name that is imported."""


def extra_of(missing: ModuleNotFoundError) -> str | None:
    """The extra that has the package whose import failed; None where none has it."""
    return EXTRA.get((missing.name or "").partition(".")[0])


def install(*extras: str) -> str:
    """The command that brings these extras, from the clone that this was installed from if any."""
    extras_list = f"[{','.join(extras)}]"
    clone, editable = _clone()
    if clone is None:
        return f"pip install 'holdfast{extras_list}'"
    edit = "-e " if editable else ""
    return f"pip install -c {quote(str(clone / 'constraints.txt'))} {edit}'{clone}{extras_list}'"


def _clone() -> tuple[Path | None, bool]:
    """The folder that pip installed this from, and whether it still reads the code there."""
    try:
        origin = json.loads(distribution("holdfast").read_text("direct_url.json") or "{}")
    except PackageNotFoundError:
        return None, False
    folder = Path(url2pathname(urlsplit(origin.get("url", "")).path))
    has_constraints = "dir_info" in origin and (folder / "constraints.txt").is_file()
    return (folder, bool(origin["dir_info"].get("editable"))) if has_constraints else (None, False)
