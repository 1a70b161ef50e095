"""Thoughts are split from replies, whole or in pieces, in every form that models write."""

from __future__ import annotations

import pytest

from holdfast.models.thinking import Split, ThoughtSplitter, opens_thought, split_thought

HARMONY = (
    "<|channel|>analysis<|message|>The user greets.<|end|><|start|>assistant"
    "<|channel|>final<|message|>Ahoy!<|return|>"
)
CASES = [
    ("<think>\nI should greet.\n</think>\n\nAhoy!", False, Split("I should greet.", "Ahoy!")),
    ("<think>\n\n</think>\n\nAhoy!", False, Split(None, "Ahoy!")),
    ("[THINK]Hm.[/THINK]Ahoy!", False, Split("Hm.", "Ahoy!")),
    ("<thought>Hm.</thought>Ahoy!", False, Split("Hm.", "Ahoy!")),
    ("<|START_THINKING|>Hm.<|END_THINKING|>Ahoy!", False, Split("Hm.", "Ahoy!")),
    ("<|inner_prefix|>Hm.<|inner_suffix|>Ahoy!", False, Split("Hm.", "Ahoy!")),
    ("<|channel>thought\nHm.\n<channel|>Ahoy!", False, Split("Hm.", "Ahoy!")),
    ("<|channel>thought\n<channel|>Ahoy!", False, Split(None, "Ahoy!")),
    ("I should greet.\n</think>\n\nAhoy!", True, Split("I should greet.", "Ahoy!")),
    ("<think>I should", False, Split("I should", "", True)),
    ("I should", True, Split("I should", "", True)),
    ("<think>One.</think><think>Two.</think>Ahoy!", False, Split("One.Two.", "Ahoy!")),
    (HARMONY, False, Split("The user greets.", "Ahoy!")),
    ("<|channel|>analysis<|message|>The user", False, Split("The user", "", True)),
    ("<|channel|>final<|message|>Ahoy!", False, Split(None, "Ahoy!")),
    ("<|channel|>ana", False, Split(None, "", True)),
    ("Ahoy!", False, Split(None, "Ahoy!")),
    ("\n  Ahoy! ", False, Split(None, "\n  Ahoy! ")),
    ("Say <think>no</think> more.", False, Split(None, "Say <think>no</think> more.")),
    ("<thin", False, Split(None, "<thin")),
    ("", False, Split(None, "")),
    ("  ", False, Split(None, "  ")),
]


@pytest.mark.parametrize(("text", "opened", "expected"), CASES)
def test_a_text_is_split_into_thought_and_reply(text: str, opened: bool, expected: Split) -> None:
    assert split_thought(text, opened=opened) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize(("text", "opened", "expected"), CASES)
def test_pieces_give_what_the_whole_gives(
    text: str, opened: bool, expected: Split, size: int
) -> None:
    splitter = ThoughtSplitter(opened=opened)
    pieces = [splitter.feed(text[i : i + size]) for i in range(0, len(text), size)]
    pieces.append(splitter.end())
    thought = "".join(piece.thought for piece in pieces).strip() or None
    assert Split(thought, "".join(p.reply for p in pieces), splitter.thinking) == expected


def test_a_text_that_only_closes_a_thought_was_opened_by_its_template() -> None:
    assert split_thought("I should greet.</think>Ahoy!") == Split("I should greet.", "Ahoy!")


def test_the_end_of_a_prompt_shows_whether_the_template_opened_a_thought() -> None:
    assert opens_thought("<|im_start|>assistant\n<think>\n")
    assert not opens_thought("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not opens_thought("<|im_start|>assistant\n")
