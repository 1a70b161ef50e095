"""A control: what is done at inference time so that a model keeps its persona.

    none                  nothing
    window:N              the model sees the system prompt and the last N messages
    reminder:p            repeats the system prompt before a user turn, with probability p
    note:d                repeats the system prompt d messages before the end of the chat
    auto:CONTROL          reminder, window:N or note:d, only while the scores of the replies fall
    guidance:α            log p = log p₀ + α (log p₁ - log p₀), p₀ without the persona
    split-softmax:k       the persona's share π of the attention becomes π^k        (2402.10962)
    boost:M               … becomes Mπ / (Mπ + 1 - π)                               (2506.13734)
    spotlight:τ           … is raised where its mean over heads is below τ           (2505.12025)
    restore:ρ             … is at least ρ times what it would be without the earlier turns,
                          taken from the model's own earlier replies (or `@from=all`)
    anchor                moves the persona to just before every turn (rotary positions)
    route:PATH            leaves the system prompt out of turns whose last message a router
                          (`control.router`) says no to
    prism:PATH            an adapter with personas in it, on where its gate says so of the first
                          user message (@gate=every: of the last one); drops the system prompt,
                          unless it is prism:PATH@system=stays

They are joined with `+`: at most one of each, and one of the four shares. Attention controls
take options, as in `split-softmax:0.7@layers=8-24,heads=0-3,span=message`. `span` says which
tokens are the persona: its content alone (the default of the shares), or the system message as
rendered without BOS (the default of anchor). Where a share and anchor are joined, anchor's span
serves both. `auto:` measures the last replies against the first two (@drop=0.1,last=1) or a score
(@below=0.5). A comparison of several models also takes `also:NAME` and `also:NAME+CONTROL`.

`parse` reads the text once, where it comes in; everything else takes a `Control`. Window, reminder,
note, auto and route rewrite the chat and work on any model. The others need the weights.

This module knows text. It knows no chats, no files and no models.
"""

from holdfast.core.control.parsing import parse
from holdfast.core.control.types import ALSO, NONE, AttentionControl, AutoControl, Control, Range

__all__ = ["ALSO", "NONE", "AttentionControl", "AutoControl", "Control", "Range", "parse"]
