"""What every page has in common: its policy, its template environment, and a whole file.

A content security policy allows exactly this package's style sheet and script, by
their hashes, and nothing else; Jinja escapes every value; the script may not turn
text into markup (trusted types). So a reply that holds markup stays text, twice over.
The page is written to a temporary file and then moved, so that it is whole or absent.

This module knows no run. What a page says is its template's and its own module's.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from holdfast.core.errors import RunError
from holdfast.core.folder import write_whole
from holdfast.report import transcript, words

FOLDER = Path(__file__).parent


def fill(template: str, **values: object) -> str:
    """A page as text: the template with its values, style, script and policy."""
    style, script = _asset("style.css"), _asset("page.js")
    return (
        _environment()
        .get_template(template)
        .render(policy=policy(style, script), style=Markup(style), script=Markup(script), **values)
    )


def save(page: str, path: Path) -> None:
    """Write a page. Raises `RunError` where the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page.encode("utf-8", "replace").decode())
    except OSError as error:
        raise RunError(
            f"The report could not be written to {path} ({error.strerror or error}); the records "
            "are kept, so make room there and run the same command again."
        ) from error


def policy(style: str, script: str) -> str:
    """The content security policy that allows this style sheet and this script alone."""
    return "; ".join(
        (
            "default-src 'none'",
            f"style-src '{_hash(style)}'",
            f"script-src '{_hash(script)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"


def _asset(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        number=words.number,
        signed_number=words.signed_number,
        percent=words.percent,
        between=words.between,
        signed_span=words.signed_span,
        visible=transcript.visible,
    )
    environment.globals.update(
        near_duplicates=words.near_duplicates, quantity=words.quantity, screening=words.screening
    )
    return environment
