"""A gateway in front of any API that speaks OpenAI's or Anthropic's protocol.

    app             the routes: which requests are rewritten, which pass, which are refused
    paths           the paths of the upstream that clients may reach
    rewriting       the chat of a request's body, under a persona and a control
    upstream        requests to the API and its answers, without its key (headers, bodies, pool)
    models          the API's list of models, with aliases
    readiness       whether the API answers
    fact_check      `--verify neutral`
    adapter_choice  which LoRA of the API answers, for `prism:PATH`

It needs no torch but for `adapter_choice`, which is imported where it is asked for.
"""

from __future__ import annotations

from holdfast.serve.gateway.app import create_gateway
from holdfast.serve.gateway.upstream import Upstream

__all__ = ["Upstream", "create_gateway"]
