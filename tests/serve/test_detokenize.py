from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.pre_tokenizers import ByteLevel

from holdfast.serve.detokenize import BROKEN, ReplyText, token_bytes


def decode(ids: Sequence[int]) -> str:
    """One token per byte, as the tests' tokenizer has them."""
    return bytes(ids).decode("utf-8", "replace")


def read(reply: str, stops: Sequence[str] = ()) -> tuple[list[str], bool]:
    """The pieces of a text that comes byte by byte, and whether a stop string ended it."""
    text, ids, pieces = ReplyText(decode, stops), list(reply.encode()), []
    for n in range(1, len(ids) + 1):
        over = text.feed(ids[:n])
        pieces.append(text.take())
        if over:
            return pieces, True
    text.end(ids)
    return [*pieces, text.take()], False


@given(st.text(max_size=30))
def test_the_pieces_joined_are_the_text(reply: str) -> None:
    pieces, over = read(reply)
    assert "".join(pieces) == reply
    assert not over


@given(st.lists(st.sampled_from([0x61, 0xF0, 0x9F, 0x99, 0x82, 0xC3, 0xA9, 0xFF]), max_size=40))
def test_what_is_no_text_is_shown_as_what_it_is(ids: list[int]) -> None:
    text, pieces = ReplyText(decode), []
    for n in range(1, len(ids) + 1):
        text.feed(ids[:n])
        pieces.append(text.take())
    text.end(ids)
    assert "".join([*pieces, text.take()]) == decode(ids)


def test_a_reply_of_replacement_characters_takes_no_longer_than_another() -> None:
    count = 0

    def count_and_decode(ids: Sequence[int]) -> str:
        nonlocal count
        count += len(ids)
        return decode(ids)

    text, ids = ReplyText(count_and_decode), list((BROKEN * 500).encode())
    for n in range(1, len(ids) + 1):
        text.feed(ids[:n])
    assert count < 40 * len(ids)
    assert text.take() == BROKEN * 499  # the last one could be the beginning of a character


@given(
    st.text("ab🙂é", max_size=20), st.lists(st.text("ab🙂é", min_size=1, max_size=4), max_size=3)
)
def test_a_stop_string_ends_the_text_before_it_and_is_never_shown(
    reply: str, stops: list[str]
) -> None:
    pieces, over = read(reply, stops)
    output = "".join(pieces)
    # The first stop string to be complete ends the text; of those complete at once, the first.
    ends = [(reply.find(stop) + len(stop), reply.find(stop)) for stop in stops if stop in reply]
    assert over == bool(ends)
    if not ends:
        assert output == reply
        return
    first = min(end for end, _ in ends)
    assert output == reply[: min(start for end, start in ends if end == first)]


def test_half_a_character_is_held_back_until_it_is_whole() -> None:
    pieces, _ = read("a🙂b")
    assert pieces == ["a", "", "", "", "🙂", "b", ""]


def test_half_a_character_at_the_end_is_shown_as_what_it_is() -> None:
    text, ids = ReplyText(decode), list("a🙂".encode())[:3]
    text.feed(ids)
    text.end(ids)
    assert text.take() == "a\N{REPLACEMENT CHARACTER}"


def test_what_could_begin_a_stop_string_waits() -> None:
    pieces, over = read("abcabd", ["abd"])
    assert pieces == ["", "", "abc", "", "", ""]
    assert over


@pytest.mark.parametrize("character", ["é", "日", "🙂"])
def test_the_bytes_of_half_characters_are_their_own(character: str) -> None:
    content = character.encode()
    tokens = ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str(character)[0][0]
    for byte, token in zip(content, tokens, strict=True):
        assert token_bytes(token, BROKEN) == bytes([byte])
        assert token_bytes(f"<0x{byte:02X}>", BROKEN) == bytes([byte])
    assert token_bytes("anything", character) == content
