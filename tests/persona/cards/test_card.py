"""Cards in every container are read and written without loss; broken ones are one sentence."""

from __future__ import annotations

import base64
import io
import json
import random
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from character_cards import V1, V2, V3
from holdfast.core.errors import PersonaError
from holdfast.persona.cards.card import MOST_JSON, Card, parse_card, read_card, write_card
from holdfast.persona.cards.png import SIGNATURE, blank_picture, read_texts, with_texts


@pytest.mark.parametrize("raw", [V1, V2, V3], ids=["V1", "V2", "V3"])
@pytest.mark.parametrize("suffix", ["json", "png", "charx", "PNG"])
def test_a_card_comes_back_as_it_was(raw: dict[str, Any], suffix: str, tmp_path: Path) -> None:
    card = parse_card(json.dumps(raw).encode())
    path = tmp_path / f"ada.{suffix}"
    write_card(card, path)
    assert read_card(path) == card == Card(card.version, raw)
    assert card.text("name") == "Ada"


@pytest.mark.parametrize("name", ["ada.json", "ada.charx"])
def test_a_picture_for_a_card_that_has_none_is_refused(name: str, tmp_path: Path) -> None:
    card = parse_card(json.dumps(V2).encode())
    with pytest.raises(PersonaError, match=f"a picture is for a card in a PNG, and {name} is none"):
        write_card(card, tmp_path / name, tmp_path / "picture.png")
    assert not (tmp_path / name).exists()


def test_a_pictures_own_chunks_stay_when_a_card_is_written_into_it(tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(with_texts(blank_picture(), {"Comment": b"dusk", "chara": b"old"}))
    write_card(parse_card(json.dumps(V2).encode()), tmp_path / "ada.png", picture)
    texts = read_texts((tmp_path / "ada.png").read_bytes())
    assert texts["Comment"] == b"dusk"
    assert json.loads(base64.b64decode(texts["chara"])) == V2


def test_v3_goes_before_v2_in_a_png_that_has_both(tmp_path: Path) -> None:
    texts = {
        "chara": base64.b64encode(json.dumps(V2).encode()),
        "ccv3": base64.b64encode(json.dumps(V3).encode()),
    }
    path = tmp_path / "both.png"
    path.write_bytes(with_texts(blank_picture(), texts))
    assert read_card(path).version == 3


def bomb() -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("card.json", b'{"name": "' + b"a" * (MOST_JSON + 1) + b'"}')
    return memory.getvalue()


def squeeze() -> bytes:
    """A PNG whose compressed text is a bomb."""
    text = b"chara\0\0" + zlib.compress(b"0" * (65 << 20), 9)
    length, check = len(text).to_bytes(4, "big"), zlib.crc32(b"zTXt" + text).to_bytes(4, "big")
    return SIGNATURE + length + b"zTXt" + text + check


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1]", "no object"),
        (b'{"a": ' * 5000 + b"1" + b"}" * 5000, "no JSON|no object"),
        (b'{"name": "Ada"}', "none of description"),
        (b'{"spec": "chara_card_v9", "data": {}}', "V1, V2 and V3"),
        (b'{"spec": "chara_card_v2"}', "no object data"),
        (b'{"spec": "chara_card_v2", "data": {"name": 3}}', "no name"),
        (blank_picture(), "mere picture"),
        (blank_picture()[:-6], "ends within a chunk"),
        (SIGNATURE, "has no end"),
        (with_texts(blank_picture(), {"chara": b"!!"}), "no base64"),
        (with_texts(blank_picture(), {"chara": b"AAAA"}), "no JSON|not UTF-8"),
        (blank_picture().replace(b"IDAT", b"IDAX"), "damaged"),
        (squeeze(), "more than 64 MiB"),
        (b"PK\x03\x04 and no more", "zip cannot be read"),
        (bomb(), "more than 32 MiB"),
    ],
    ids=range(17),
)
def test_a_file_that_is_no_card_is_one_sentence(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(content)
    with pytest.raises(PersonaError, match=sentence) as error:
        read_card(path)
    assert "\n" not in str(error.value)


def test_ten_thousand_damaged_pngs_are_cards_or_sentences(tmp_path: Path) -> None:
    rng = random.Random(0)
    whole = with_texts(blank_picture(4, 4), {"chara": base64.b64encode(json.dumps(V1).encode())})
    path, refusals = tmp_path / "fuzzed.png", 0
    for _ in range(10_000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        try:
            read_card(path)
        except PersonaError as error:
            assert "\n" not in str(error)
            refusals += 1
    assert refusals > 9000


def test_texts_with_any_bytes_are_cards_or_sentences() -> None:
    rng = random.Random(1)
    whole = json.dumps(V2).encode()
    for _ in range(2000):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            card = parse_card(bytes(data))
        except PersonaError:
            continue
        assert card.text("name")
