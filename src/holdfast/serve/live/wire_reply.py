"""The reply in a response's body, in the gateway's three protocols, whole or as a stream.

    protocol           whole                         a stream's events
    chat/completions   choices[0].message.content    choices[0].delta.content
    responses          output[].content[].text       response.output_text.delta, response.completed
    messages           content[].text                content_block_delta's delta.text

Of several choices the first counts. What cannot be read gives no reply: the client has it
all the same. This module knows bodies as JSON.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from holdfast.core.records import Record
from holdfast.serve.json_body import object_or_none

_CACHE_WRITES = "cache_creation_input_tokens"


@dataclass(frozen=True)
class WireReply:
    """The reply that a response holds."""

    text: str = ""
    tokens: tuple[int, int] | None = None
    """Tokens of the prompt and of the reply, where the response has them."""
    finish: str = "stop"
    """Why it ended."""
    failed: bool = False
    """Whether the API gave up on it, so that the text is no whole reply."""


def read_wire_reply(content: bytes) -> WireReply:
    """The reply in a body.

    Args:
        content: the whole body, JSON or server-sent events.
    """
    if content.lstrip()[:1] == b"{":
        return _whole(object_or_none(content) or {}, WireReply())
    answer, texts = WireReply(), []
    for event in _events(content):
        answer, text = _event(event, answer)
        texts.append(text)
    return replace(answer, text=answer.text or "".join(texts))


def content_text(content: object) -> str:
    """The text of a message's content, which is a string or a list of parts; else empty."""
    if isinstance(content, str):
        return content
    texts = (part.get("text") for part in _items(content))
    return "".join(text for text in texts if isinstance(text, str))


def items_text(items: Iterable[Record]) -> str:
    """The text of a turn's items, without those of its reasoning."""
    return "".join(
        content_text(one.get("content")) for one in items if one.get("type") != "reasoning"
    )


def _event(event: Record, answer: WireReply) -> tuple[WireReply, str]:
    """What an event adds to the answer, and the text that it brings."""
    kind = event.get("type")
    if kind in ("error", "response.failed") or event.get("error"):
        return replace(_with_usage(answer, _at(event, "response")), failed=True), ""
    if kind in ("response.completed", "response.incomplete"):
        return _whole(_at(event, "response"), answer), ""
    if kind == "response.output_text.delta":
        return answer, content_text(event.get("delta"))
    if kind == "message_start":
        return _with_usage(answer, _at(event, "message")), ""
    if kind == "message_delta":
        finish = _at(event, "delta").get("stop_reason")
        return replace(_with_usage(answer, event), finish=str(finish or answer.finish)), ""
    if kind == "content_block_delta":
        return answer, content_text(_at(event, "delta").get("text"))
    choice = _first(event.get("choices"))
    answer = _with_usage(answer, event)
    if choice.get("index", 0) != 0:
        return answer, ""
    finish = choice.get("finish_reason")
    answer = replace(answer, finish=str(finish)) if finish else answer
    return answer, content_text(_at(choice, "delta").get("content"))


def _whole(body: Record, answer: WireReply) -> WireReply:
    """The answer in an object of any protocol."""
    answer = _with_usage(answer, body)
    if body.get("error"):
        return replace(answer, failed=True)
    if "choices" in body:
        choice = _first(body["choices"])
        text = content_text(_at(choice, "message").get("content"))
        return replace(answer, text=text, finish=str(choice.get("finish_reason") or "stop"))
    if "output" in body:
        text = items_text(_items(body["output"]))
        status = body.get("status") or "completed"
        if status == "incomplete":
            why = _at(body, "incomplete_details").get("reason")
            return replace(answer, text=text, finish=str(why or status))
        return replace(answer, text=text, failed=status != "completed")
    text = content_text(body.get("content"))
    return replace(answer, text=text, finish=str(body.get("stop_reason") or "stop"))


def _with_usage(answer: WireReply, body: Record) -> WireReply:
    usage = _at(body, "usage")
    before = answer.tokens or (0, 0)
    prompt = usage.get("prompt_tokens", usage.get("input_tokens", before[0]))
    reply = usage.get("completion_tokens", usage.get("output_tokens", before[1]))
    if not usage or not isinstance(prompt, int) or not isinstance(reply, int):
        return answer
    if "input_tokens" in usage:  # Anthropic's is without what its cache reads and keeps
        counts = (usage.get(name) for name in ("cache_read_input_tokens", _CACHE_WRITES))
        prompt += sum(count for count in counts if isinstance(count, int))
    return replace(answer, tokens=(prompt, reply))


def _events(content: bytes) -> Iterator[Record]:
    """The objects of a stream; [DONE] and what is no object are passed over."""
    for line in content.splitlines():
        if line.startswith(b"data:") and (event := object_or_none(line[5:])):
            yield event


def _at(body: Record, name: str) -> Record:
    value = body.get(name)
    return value if isinstance(value, dict) else {}


def _first(value: object) -> Record:
    items = _items(value)
    return items[0] if items else {}


def _items(value: object) -> list[Record]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
