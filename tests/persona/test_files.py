"""Files of JSON lines: each error names the file and the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.errors import HoldfastError, PersonaError
from holdfast.persona.files import read_json_lines


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
