"""Rewriting a chat as window, reminder, note, auto, route and prism ask: any model can run so.

This module knows chats. Which texts name these controls is `core.control`'s.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from holdfast.control import auto, router
from holdfast.core.chat import Chat, Message, first_turn, message
from holdfast.core.control import Control
from holdfast.core.seeds import seed_of


def rewrite(
    chat: Chat,
    control: Control,
    *,
    system_anywhere: bool = False,
    user_first: bool = False,
    judge: Mapping[str, object] | None = None,
    note: str | None = None,
) -> Chat:
    """The chat as the model sees it under a control.

    Whether a message gets a reminder is drawn from the texts before it, so that it is the
    same in later turns and on branches. A window never begins with a tool's answer, but with
    the call before it. A note is beside a user's message: where its depth is between replies or
    tools' answers, it moves to the nearest user's message before. A chat that is no longer than
    the note's depth gets none, since the prompt itself is there.

    Args:
        chat: the messages, a system prompt first where there is one.
        control: its window, reminder, note, route and prism act here; the rest is left alone.
        system_anywhere: the model takes system messages in mid-chat, so a reminder or note is
            one. Otherwise the prompt and a blank line join the user's message: a reminder goes
            before it, and a note before or after it as its depth says.
        user_first: the model wants a user message first, so a window that would begin with a
            reply leaves it out.
        judge: the persona's judge, by which `auto:` decides.
        note: what a note says; by default the system message's `note`, else the system prompt.

    Raises:
        ControlError: `auto:` has no judge, or one that needs a model.
    """
    chat, note = _without_note(chat, note)
    if control.system == "dropped" or not _persona_is_on(control, chat):
        chat = _without_system(chat)
    head = chat[:1] if chat and chat[0]["role"] == "system" else ()
    body = chat[len(head) :]
    control, acts = _resolve_auto(control, body, judge)
    if control.window is None and control.reminder is None and control.note is None:
        return chat
    first = max(0, len(body) - control.window) if control.window is not None else 0
    first = _window_start(body, first, user_first)
    note_place = _note_place(body, control.note) if head and control.note is not None else 0
    rewritten: list[Message] = [*head]
    for i in range(first, len(body)):
        # The first message follows the prompt itself and needs no reminder.
        if head and i > first and acts[i] and _reminds(control, head[0], body[: i + 1]):
            pieces = _with_reminder(head[0]["content"], body[i], system_anywhere)
        else:
            pieces = [body[i]]
        # A note where the chat begins would say the prompt twice in a row.
        if first < note_place == i:
            _add_note(rewritten, note or head[0]["content"], pieces, system_anywhere)
        rewritten += pieces
    if first < note_place == len(body):
        _add_note(rewritten, note or head[0]["content"], [], system_anywhere)
    return tuple(rewritten)


def gate_chat(chat: Chat, control: Control) -> Chat:
    """What prism's gate reads of a chat: through its first user message, or all (`gate=every`).

    It has no system prompt, window, reminder or note, since the gate learned from chats without.
    """
    part = chat if control.gate == "every" else first_turn(chat)
    return _without_system(part) or part


def _resolve_auto(
    control: Control, body: Chat, judge: Mapping[str, object] | None
) -> tuple[Control, Sequence[bool]]:
    """The control with what `auto:` adds, and before which messages a reminder may go."""
    everywhere = [True] * len(body)
    if control.auto is None:
        return control, everywhere
    acts, part = auto.find_acts(control, body, judge), control.auto
    if part.name == "reminder":
        return replace(control, reminder=part.strength), acts
    if not acts or not acts[-1]:
        return control, everywhere
    size = int(part.strength)
    is_window = part.name == "window"
    return replace(control, window=size) if is_window else replace(control, note=size), everywhere


def _without_note(chat: Chat, note: str | None) -> tuple[Chat, str | None]:
    """The chat without the field that no model sees, and what a note says."""
    if not chat or "note" not in chat[0]:
        return chat, note
    return (message("system", chat[0]["content"]), *chat[1:]), note or chat[0]["note"]


def _persona_is_on(control: Control, chat: Chat) -> bool:
    """False where the control's router wants the last message answered without the persona."""
    if control.route is None or not chat or chat[0]["role"] != "system":
        return True
    return router.read(control.route).on(chat[-1]["content"])


def _window_start(body: Chat, first: int, user_first: bool) -> int:
    """Where a window from `first` on begins: a tool's answer needs the call before it."""
    while first and body[first]["role"] == "tool":
        first -= 1
    # A chat that nothing is cut from begins as it was given, with the assistant's greeting too.
    if not first or not user_first or first == len(body) - 1 or body[first]["role"] != "assistant":
        return first
    if body[first + 1]["role"] != "tool":
        return first + 1
    while first and body[first]["role"] != "user":
        first -= 1
    return first


def _reminds(control: Control, prompt: Message, messages: Sequence[Message]) -> bool:
    if control.reminder is None or messages[-1]["role"] != "user":
        return False
    texts = (m["content"] for m in messages[:-1])
    return seed_of("reminder", prompt["content"], *texts) < control.reminder * 2**63


def _without_system(chat: Chat) -> Chat:
    return chat[1:] if chat and chat[0]["role"] == "system" else chat


def _with_reminder(prompt: str, user: Message, system_anywhere: bool) -> list[Message]:
    if system_anywhere:
        return [message("system", prompt), user]
    return [message("user", f"{prompt}\n\n{user['content']}")]


def _note_place(body: Chat, depth: int) -> int:
    """Before which message a note goes, so that a user's message is beside it; 0 for none."""
    place = len(body) - depth
    while place > 0 and not any(one["role"] == "user" for one in body[place - 1 : place + 1]):
        place -= 1
    return max(0, place)


def _add_note(
    before: list[Message], note: str, after: list[Message], system_anywhere: bool
) -> None:
    """Put a note between messages, or into the user's message beside it."""
    if system_anywhere:
        before.append(message("system", note))
    elif before[-1]["role"] == "user":
        before[-1] = {**before[-1], "content": f"{before[-1]['content']}\n\n{note}"}
    else:
        after[0] = {**after[0], "content": f"{note}\n\n{after[0]['content']}"}
