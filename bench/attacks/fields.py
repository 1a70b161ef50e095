"""Honest about what is not done: a field works, or is a 400 by its name."""

from __future__ import annotations

from typing import Any

from attacks.place import USER, Attack, Place, Tally, chat

CHANGING: dict[str, tuple[Any, ...]] = {
    "tools": ([{"type": "function", "function": {"name": "f", "parameters": {}}}],),
    "functions": ([{"name": "f"}],), "function_call": ("auto", {"name": "f"}),
    "logit_bias": ({"1": 100},), "frequency_penalty": (3, -2.5), "presence_penalty": (9,),
    "min_p": (-1, 2), "repetition_penalty": (0, -1, 1e-40), "stop": ("a" * 1001,),
    "reasoning_effort": ("low",),
    "guided_regex": ("(", "a" * 70_000), "guided_choice": ([],), "guided_grammar": ("root ::= a",),
    "guided_json": ({"type": "x"}, "{", {"$ref": "#/nowhere"}), "structured_outputs": ({"x": 1},),
    "modalities": (["text", "audio"],), "audio": ({"voice": "x"},), "prediction": ({"type": "x"},),
    "web_search_options": ({"a": 1},), "chat_template": ("x",), "documents": ([{"a": "b"}],),
    "echo": (True,), "ignore_eos": (True,), "continue_final_message": (True,),
    "min_tokens": (5,), "bad_words": (["a"],), "stop_token_ids": ([1],), "prompt_logprobs": (1,),
    "response_format": ({"type": "grammar"}, {"type": ""}, {"type": 1}, {"type": "json_schema"}),
}  # fmt: skip


async def by_name(place: Place, tally: Tally) -> None:
    """What the server does not do is a 400 that names the field."""
    for name, values in CHANGING.items():
        for value in values:
            body = chat(place.local, **{name: value})
            answer = await tally.ask(place.local, "/v1/chat/completions", body)
            error = (answer.json or {}).get("error", {})
            named = answer.status == 400 and str(error.get("param", "")).startswith(name)
            tally.expect(named, f"{name}={value!r}: {answer.status} {error.get('param')!r}")


async def shapes(place: Place, tally: Tally) -> None:
    """Null and missing contents, half characters, and heads that are not there."""
    local, path = place.local, "/v1/chat/completions"
    wrong: tuple[dict[str, Any], ...] = (
        {"messages": [{"role": "user", "content": None}]}, {"messages": [{"role": "user"}]},
        {"messages": []}, {"messages": [{"role": "x", "content": ""}]},
        {"stream_options": {"include_usage": True}}, {"top_logprobs": 2},
        {"holdfast": {"control": "split-softmax:0.7@heads=99"}}, {"holdfast": {"controll": "none"}},
        {"messages": [USER], "x\ud800": 1, "n": 0},
        {"guided_regex": "(a?){2000}a{2000}"},  # which takes too much work once it is followed
    )  # fmt: skip
    for fields in wrong:
        answer = await tally.ask(local, path, chat(local, **fields))
        tally.expect(answer.status == 400, f"{fields}: {answer.status}")
    for content in ("\ud800", "a\udfffb", "\x00", "\u2028", "🏴" * 50, ""):
        answer = await tally.ask(local, path, chat(local, messages=[{**USER, "content": content}]))
        tally.expect(answer.status in (200, 400), f"{content!r}: {answer.status}")


async def stream_shape(place: Place, tally: Tally) -> None:
    """`usage` is null on earlier chunks, and every response has an id."""
    body = chat(place.local, stream=True, stream_options={"include_usage": True})
    answer = await tally.ask(place.local, "/v1/chat/completions", body)
    chunks = [line for line in answer.body.split(b"\n") if line.startswith(b"data: {")]
    null = sum(b'"usage": null' in line for line in chunks)
    tally.expect(len(chunks) - 1 == null, f"usage is null in {null} of {len(chunks)} chunks")
    for target in place.targets:
        answer = await tally.ask(
            target, "/v1/chat/completions", chat(target), **{"x-request-id": "a-1"}
        )
        own = answer.headers.get(b"x-request-id")
        tally.expect(own == b"a-1", f"{target.name}: x-request-id is {own!r}")


ATTACKS: tuple[Attack, ...] = (by_name, shapes, stream_shape)
