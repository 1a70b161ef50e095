"""A backend's reply as a run records it."""

from __future__ import annotations

from holdfast.core.backend import Reply
from holdfast.results.conversation import Arm, ProbeAnswer, TokenUse, Turn, TurnShare


def turn_of(reply: Reply) -> Turn:
    """A message of a conversation; of its prompt share, the course within the turn."""
    share = None
    if reply.share:
        share = TurnShare(reply.share.tokens, reply.share.span, reply.share.length)
    return Turn(reply.text, reply.stop, _tokens(reply), reply.error or None, share, reply.thought)


def probe_answer(arm: Arm, run: int, question: str, reply: Reply) -> ProbeAnswer:
    """The answer to a probe, with its whole prompt share."""
    tokens, error = _tokens(reply), reply.error or None
    return ProbeAnswer(
        arm, run, question, reply.text, reply.stop, tokens, error, reply.share, reply.thought
    )


def _tokens(reply: Reply) -> TokenUse:
    return reply.prompt_tokens, reply.cached_tokens, reply.completion_tokens
