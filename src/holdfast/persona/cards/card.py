"""Character cards: V1 (flat JSON), V2 (chara_card_v2), V3 (chara_card_v3); in JSON, PNG, CHARX.

A card's JSON is kept as it came, so that it can be written back without loss. In a PNG it is base64
in a text chunk, V3 under `ccv3` and V2 under `chara`; a CHARX is a zip with a `card.json`.

Specifications: github.com/malfoyslastname/character-card-spec-v2, github.com/kwaroran/
character-card-spec-v3. What a card becomes is `.persona`'s.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.core.errors import PersonaError
from holdfast.core.records import is_deeper
from holdfast.persona.cards.png import SIGNATURE, blank_picture, read_texts, with_texts
from holdfast.persona.files import write_new

LARGEST = 256 << 20
"""Bytes of a file at most."""
MOST_JSON = 32 << 20
"""Bytes of a card's JSON at most, decompressed."""
DEEPEST = 64
"""Levels of a card's JSON at most."""
_V1 = ("description", "personality", "scenario", "first_mes", "mes_example")


@dataclass(frozen=True)
class Card:
    """A character card."""

    version: int
    """1, 2 or 3."""
    raw: Mapping[str, Any]
    """The card's JSON as it came."""

    @property
    def data(self) -> Mapping[str, Any]:
        """The fields: those of `data`, or in V1 of the card itself."""
        return self.raw if self.version == 1 else self.raw["data"]

    def text(self, field: str) -> str:
        """A field's text, stripped; empty where there is none."""
        value = self.data.get(field)
        return value.strip() if isinstance(value, str) else ""

    def texts(self, field: str) -> list[str]:
        """A field's list of texts, without empty ones."""
        value = self.data.get(field)
        items = value if isinstance(value, list) else []
        return [one.strip() for one in items if isinstance(one, str) and one.strip()]


def read_card(path: Path | str) -> Card:
    """The card in a JSON, PNG or CHARX file.

    Args:
        path: the file.

    Raises:
        PersonaError: there is no card in it, in one sentence.
    """
    path = Path(path)
    try:
        if path.stat().st_size > LARGEST:
            raise PersonaError(f"{path} has more than {LARGEST >> 20} MiB, which no card has.")
        data = path.read_bytes()
    except OSError as error:
        raise PersonaError(f"{path} cannot be read ({error.strerror}).") from None
    try:
        return parse_card(_json(data))
    except PersonaError as error:
        raise PersonaError(f"{path} is no character card: {error}") from None


def _json(data: bytes) -> bytes:
    """The bytes of a card's JSON, out of whatever holds it."""
    if data.startswith(SIGNATURE[:4]):
        texts = read_texts(data)
        base64_text = texts.get("ccv3") or texts.get("chara")
        if base64_text is None:
            raise PersonaError("the PNG has no text under ccv3 or chara, so it is a mere picture.")
        try:
            return base64.b64decode(base64_text, validate=True)
        except (binascii.Error, ValueError):
            raise PersonaError("the text in the PNG is no base64.") from None
    return _member(data) if data.startswith(b"PK") else data


def _member(data: bytes) -> bytes:
    """`card.json` of a CHARX, read no further than a card may be long."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open("card.json") as file:
            text = file.read(MOST_JSON + 1)
    except KeyError:
        raise PersonaError("the zip has no card.json.") from None
    except Exception as error:  # a hostile zip raises many things
        raise PersonaError(f"the zip cannot be read ({type(error).__name__}).") from None
    return text


def parse_card(data: bytes) -> Card:
    """A card from its JSON.

    Raises:
        PersonaError: it is no card.
    """
    if len(data) > MOST_JSON:
        raise PersonaError(f"its JSON has more than {MOST_JSON >> 20} MiB.")
    try:
        raw = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise PersonaError("its JSON is not UTF-8.") from None
    except (ValueError, RecursionError):
        raise PersonaError("it holds no JSON.") from None
    if not isinstance(raw, dict) or is_deeper(raw, DEEPEST):
        raise PersonaError("its JSON is no object of a card.")
    card = _build_card(raw)
    if not card.text("name"):
        raise PersonaError("it has no name.")
    return card


def _build_card(raw: dict[str, Any]) -> Card:
    spec, data = raw.get("spec"), raw.get("data")
    if spec in ("chara_card_v2", "chara_card_v3"):
        if not isinstance(data, dict):
            raise PersonaError(f"its spec is {spec}, but it has no object data.")
        return Card(3 if spec == "chara_card_v3" else 2, raw)
    if spec is not None:
        raise PersonaError(f"its spec is {str(spec)[:40]!r}: V1, V2 and V3 can be read.")
    if not any(isinstance(raw.get(name), str) and raw[name].strip() for name in _V1):
        raise PersonaError(f"it has none of {', '.join(_V1)}.")
    return Card(1, raw)


def write_card(card: Card, path: Path, picture: Path | None = None) -> None:
    """Write a card as JSON, PNG or CHARX, by the file's suffix.

    Args:
        card: the card.
        path: the file, which must not be there yet.
        picture: of a PNG, the picture; by default a grey one.

    Raises:
        PersonaError: the suffix is another, the picture is no PNG or goes with none, or the file
            cannot be written.
    """
    write_new(path, _encode(card, path, picture))


def _encode(card: Card, path: Path, picture: Path | None) -> bytes:
    if picture is not None and path.suffix.lower() != ".png":
        raise PersonaError(f"a picture is for a card in a PNG, and {path.name} is none: leave it.")
    text = json.dumps(card.raw, ensure_ascii=False, indent=2).encode()
    match path.suffix.lower():
        case ".json":
            return text
        case ".png":
            try:
                base = picture.read_bytes() if picture else blank_picture()
                key = "ccv3" if card.version == 3 else "chara"
                return with_texts(base, {key: base64.b64encode(text)})
            except (OSError, PersonaError) as error:
                raise PersonaError(f"{picture} is no picture for a card: {error}") from None
        case ".charx":
            memory = io.BytesIO()
            with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("card.json", text)
            return memory.getvalue()
    raise PersonaError(f"a card is a .json, .png or .charx file, not {path.name}.")
