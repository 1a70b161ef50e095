"""The folders that `route:PATH` and `prism:PATH` name: their digests, and whom they are for.

This module knows the files that `holdfast prism train` writes. It loads no weights.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from holdfast.control import router
from holdfast.core.control import Control
from holdfast.core.errors import ControlError

_PRISM_FILES = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "gate.safetensors",
    "prism.json",
)


def digests(controls: Iterable[Control]) -> dict[str, str]:
    """SHA-256 of the files that controls name, by path, for a manifest.

    Raises:
        ControlError: a file cannot be read.
    """
    paths: set[Path] = set()
    for control in controls:
        if control.route is not None:
            paths.add(router.find_file(control.route))
        if control.prism is not None:
            paths |= {Path(control.prism) / name for name in _PRISM_FILES}
    try:
        return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(paths)}
    except OSError as error:
        raise ControlError(
            f"{error.filename} cannot be read ({error.strerror}): holdfast prism train writes it."
        ) from error


def training_prompts(control: Control) -> frozenset[str] | None:
    """The system prompts that a control was trained for; None where it is for any.

    Raises:
        ControlError: its folder does not say.
    """
    if control.prism is None:
        return None
    try:
        about = json.loads((Path(control.prism) / "prism.json").read_text(encoding="utf-8"))
        return frozenset(one[n] for one in about["personas"] for n in ("minimal", "half", "full"))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ControlError(
            f"{control.prism} holds no trained PRISM: name a folder that holdfast prism train "
            "wrote."
        ) from error
