"""Files of JSON lines: each error names the file and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.errors import HoldfastError, PersonaError
from holdfast.persona.files import find_in_folder, read_json_lines, text_or_file
from holdfast.persona.suite import load_suite


def test_each_line_comes_with_its_number_and_empty_ones_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"a": 1}\r\n\n{"a": "\u2028"}\n'.encode())
    lines = read_json_lines(path, "things", "name a file")
    assert [(line.number, line.fields) for line in lines] == [(1, {"a": 1}), (3, {"a": "\u2028"})]
    assert lines[1].where == f"{path}, line 3"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "holds no things: write one on each line"),
        ("\n \n", "holds no things"),
        ('{"a": 1}\n{', "a.jsonl, line 2: this is not JSON"),
        ('{"a": "\\ud800"}', "a.jsonl, line 1: this is not JSON"),
        ("\n[1]", "a.jsonl, line 2: this is JSON, but no object"),
    ],
)
def test_a_wrong_line_is_one_sentence_of_the_callers_kind(
    text: str, error: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PersonaError, match=error) as caught:
        read_json_lines(path, "things", "name a file", PersonaError)
    assert "\n" not in str(caught.value)
    path.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(PersonaError, match="line 1: this is not JSON"):
        read_json_lines(path, "things", "name a file", PersonaError)
    with pytest.raises(HoldfastError, match=r"there are no things in .*: name a file\."):
        read_json_lines(tmp_path / "none.jsonl", "things", "name a file")


def test_a_file_is_found_in_its_folder_with_an_id_or_without(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("", encoding="utf-8")
    (tmp_path / "b:c.toml").write_text("", encoding="utf-8")
    texts = ["a.toml", "a.toml:x", "b:c.toml", "other.toml", "mini:a", ":x", ""]
    paths = [find_in_folder(text, tmp_path) for text in texts]
    assert paths == [*(f"{tmp_path}/{text}" for text in texts[:3]), *texts[3:]]


@pytest.mark.parametrize("text", ["x" * 300, f"{'x' * 300}.txt", "x:" * 3000, "a\nb", "\0"])
def test_a_text_that_can_be_no_name_of_a_file_is_a_text(tmp_path: Path, text: str) -> None:
    assert find_in_folder(text, tmp_path) == text_or_file(text) == text


def test_a_name_with_a_nul_character_is_that_of_no_file() -> None:
    with pytest.raises(PersonaError, match=r"there are no things in .*null byte"):
        read_json_lines(Path("a\0.jsonl"), "things", "name a file", PersonaError)


def test_the_home_of_somebody_unknown_is_a_name_like_others() -> None:
    with pytest.raises(PersonaError, match=r"there are no prompts in ~nobody77/bot\.txt"):
        text_or_file("@~nobody77/bot.txt")
    with pytest.raises(PersonaError, match="there is no file or folder ~nobody77/bot"):
        load_suite("~nobody77/bot.toml")
