"""The sampling parameters of a request, in the form that a server accepts.

Servers refuse parameters that they do not know. A refused one is left out of all later requests,
and OpenAI's newer name replaces `max_tokens`. This module knows sampling and names.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from holdfast.core.backend import Ask, Sampling

_STOPS = 4  # stop strings that OpenAI takes; we cut replies at the others ourselves


class Parameters:
    """Writes sampling parameters, without those that the server refused.

    Attributes:
        extra: goes into every request and overrides what we put there.
        template: options of the chat template, which most servers of open models take.
        dropped: the parameters that the server refused, and what was done about each.
    """

    def __init__(self, extra: Mapping[str, Any], template: Mapping[str, Any]) -> None:
        self.extra, self.template = dict(extra), dict(template)
        self.dropped: dict[str, str] = {}

    def write(self, ask: Ask, sampling: Sampling) -> dict[str, Any]:
        """Return a request's sampling parameters."""
        body: dict[str, Any] = {
            "max_tokens": sampling.max_new_tokens,
            "temperature": sampling.temperature,
            "seed": ask.seed & 0x7FFF_FFFF,  # some servers keep it in 32 bits
        }
        if sampling.temperature > 0:
            body["top_p"] = sampling.top_p
            if sampling.top_k > 0:
                body["top_k"] = sampling.top_k
        if sampling.stop:
            body["stop"] = list(sampling.stop[:_STOPS])
        if self.template:
            body["chat_template_kwargs"] = self.template
        if "max_tokens" in self.dropped:
            body["max_completion_tokens"] = body["max_tokens"]
        parameters = {name: value for name, value in body.items() if name not in self.dropped}
        return parameters | self.extra

    def drop(self, name: str, value: object, model: str, url: str) -> bool:
        """Stop sending a parameter and say so once; False if we cannot do without it."""
        if name == "max_completion_tokens":
            return False  # replies would have no limit
        outcome = "sent as max_completion_tokens" if name == "max_tokens" else "not sent"
        if name not in self.dropped:
            self.dropped[name] = outcome
            print(
                f"{model}: {url} does not take {name}={value!r}, which is {outcome} from now on",
                file=sys.stderr,
            )
        return True
