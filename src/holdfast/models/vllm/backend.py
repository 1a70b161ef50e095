"""`--model vllm:NAME`: a backend over vLLM in this process, with the plugin.

Chats are rendered, and personas found, as by the local backend; vLLM continues the token ids,
all of a call at once, on the prefixes that it has kept. Its workers measure the prompt share.

This module knows chats and vLLM's offline class. It knows no personas, judges or rounds.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import psutil
import vllm
from vllm.exceptions import VLLMValidationError
from vllm.platforms import current_platform

from holdfast.core.backend import Ask, Reply, Sampling, Share, find_stop
from holdfast.core.chat import has_prompt
from holdfast.core.control import Control, parse
from holdfast.core.errors import ControlError, HoldfastError, ModelError, first_line
from holdfast.models.engine.request import Request, Spans
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.files import ModelSource, hash_source
from holdfast.models.local.load import outline
from holdfast.models.local.turns import turns_refusal
from holdfast.models.thinking import ThoughtDecoder
from holdfast.models.vllm.admission import CONTROL, MEASURE, PLACE
from holdfast.models.vllm.folder import dense_folder
from holdfast.models.vllm.prompt_share import merge_shares, share_of
from holdfast.models.vllm.refusals import why_not
from holdfast.models.vllm.row_table import WORKER

OPTIONS = "HOLDFAST_VLLM_OPTIONS"  # the environment's arguments of `vllm.LLM`, as JSON
LEAST_TOKENS = 2048  # of prompts in one step


def load(
    name: str,
    *,
    dtype: str = "auto",
    options: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> VllmBackend:
    """Load a model into vLLM.

    Args:
        name: `mini`, a short name, a folder, a GGUF file or a hub id, without `vllm:`.
        dtype: as vLLM takes it.
        options: options of the chat template (`enable_thinking`, for instance).
        **arguments: further arguments of `vllm.LLM` (`tensor_parallel_size`, for instance), over
            those in HOLDFAST_VLLM_OPTIONS.

    Raises:
        ModelError: there is no such model, vLLM cannot load it, or HOLDFAST_VLLM_OPTIONS is no JSON
            object.
    """
    text = os.environ.get(OPTIONS) or "{}"
    try:
        common: dict[str, Any] = {**json.loads(text)}
    except (ValueError, TypeError) as error:
        raise ModelError(f"{OPTIONS} must be a JSON object, not {text!r}.") from error
    folder = dense_folder(name)
    chats = outline(folder, options=options)
    arguments = {"worker_extension_cls": WORKER, **_choose_arguments(chats), **common, **arguments}
    try:
        llm = vllm.LLM(folder, dtype=dtype, **arguments)
    except (RuntimeError, ValueError) as error:
        raise ModelError(
            f"vLLM cannot load {name}: {first_line(error)}. Its log above says more; arguments of"
            f" vLLM go into {OPTIONS}."
        ) from error
    return VllmBackend(llm, chats, name, folder)


def _choose_arguments(chats: LocalBackend) -> dict[str, Any]:
    """What vLLM needs on a CPU; nothing elsewhere.

    A prompt is read whole: vLLM 0.32 ends there where it reads a part of one whose request has a
    seed, since a CPU's generator has no offset. Of the memory that is free a quarter is for keys
    and values: by default vLLM asks for nearly all that the machine has, used or not.
    """
    if not current_platform.is_cpu():
        return {}
    return {
        "enable_chunked_prefill": False,
        "max_num_batched_tokens": max(LEAST_TOKENS, chats.context or 0),
        "kv_cache_memory_bytes": psutil.virtual_memory().available // 4,
    }


class _VllmRow(NamedTuple):
    """A prompt of a call that fits the context."""

    place: int
    """The ask's place in the call."""
    room: int
    """Tokens that fit behind the prompt."""
    request: Request
    parameters: Any
    """vLLM's sampling parameters."""


class VllmBackend:
    """A `Backend` over vLLM.

    Args:
        llm: vLLM's offline class.
        chats: the same model without its weights, which reads chats.
        name: the model as the user named it, without `vllm:`.
        folder: where its files are.
    """

    local = False  # a batch's size changes the last bits of a sum, and vLLM chooses it

    def __init__(self, llm: Any, chats: LocalBackend, name: str, folder: str) -> None:
        self.llm, self.chats, self.name, self._folder = llm, chats, f"vllm:{name}", folder
        self._config = llm.llm_engine.vllm_config
        self._numbers = itertools.count()  # of requests whose share is measured

    @property
    def context(self) -> int:
        """Tokens the model can see, prompt and reply together."""
        tokens: int = self._config.model_config.max_model_len
        return tokens

    @property
    def user_first(self) -> bool:
        """Whether a chat must open with a user message."""
        return self.chats.user_first

    @property
    def folds_system(self) -> bool:
        """Whether the template has no system role, so that the prompt joins the first message."""
        return self.chats.folds_system

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        """One reply per ask, in order.

        Raises:
            ControlError: this model cannot be put under an ask's control.
            ModelError: the template refuses a chat.
        """
        requests = [self._make_request(ask) for ask in asks]
        replies: list[Reply | None] = [None] * len(asks)
        rows = []
        for i, (ask, request) in enumerate(zip(asks, requests, strict=True)):
            room = self.context - len(request.ids)
            if room < 1:
                replies[i] = Reply("", "overflow", prompt_tokens=len(request.ids))
                continue
            new = min(room, sampling.max_new_tokens)
            parameters = self._make_parameters(ask, request, sampling, new)
            rows.append(_VllmRow(i, room, request, parameters))
        prompts = [{"prompt_token_ids": [*row.request.ids]} for row in rows]
        outputs = self._generate(prompts, [row.parameters for row in rows])
        shares = self._fetch_shares(rows, outputs)
        for row, output, share in zip(rows, outputs, shares, strict=True):
            full = row.room < sampling.max_new_tokens
            reply = _read_reply(row.request, output, full, self.chats.thoughts, sampling.stop)
            replies[row.place] = replace(reply, share=share)
        return [reply for reply in replies if reply is not None]

    def likelihoods(
        self, asks: Sequence[Ask], options: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """Log-likelihood of each ask's options as its reply.

        -inf for all of an ask's options if one of them and a token more do not fit the context.
        """
        scores: list[list[float]] = [[float("-inf")] * len(each) for each in options]
        prompts, parameters, places = [], [], []
        for i, (ask, each) in enumerate(zip(asks, options, strict=True)):
            request = self._make_request(ask).with_prompts(self.chats.thoughts.close)
            tails = [self.chats.encode(option) for option in each]
            if max(map(len, tails), default=0) + len(request.ids) >= self.context:
                continue
            for j, tail in enumerate(tails):
                # At its construction, where it also says that no prefix is read from the cache.
                row = self._make_parameters(ask, request, Sampling(), 1, prompt_logprobs=0)
                prompts.append({"prompt_token_ids": [*request.ids, *tail]})
                parameters.append(row)
                places.append((i, j, tail))
        outputs = self._generate(prompts, parameters)
        for (i, j, tail), output in zip(places, outputs, strict=True):
            steps = output.prompt_logprobs[len(output.prompt_token_ids) - len(tail) :]
            scores[i][j] = sum(step[token].logprob for step, token in zip(steps, tail, strict=True))
        return scores

    @property
    def share_refusal(self) -> str | None:
        """Why prompt share cannot be measured on this model, or None."""
        if self._config.parallel_config.worker_extension_cls != WORKER:
            return "its workers have another extension (worker_extension_cls)."
        return why_not(parse("boost:1"), self._config)

    def refusal(self, control: Control) -> str | None:
        """Why this model cannot be put under a control, in one sentence, or None where it can."""
        if control.guidance is not None or control.prism is not None:
            return f"{self.name} cannot be put under `{control.text}`: vLLM has no such rows."
        if not control.steers:
            return None
        why = why_not(parse(control.state), self._config)
        if why is None and (
            turns := turns_refusal(control, self.chats.template, self.chats.reply_ids)
        ):
            why = f"`{control.text}` cannot be applied: {turns}."
        return None if why is None else f"{self.name}: {why}"

    def count(self, text: str) -> int:
        """Count the tokens in a text, without a template's."""
        return self.chats.count(text)

    def prompt_tokens(self, ask: Ask) -> int:
        """Count the tokens of an ask's chat as the model sees it, template included."""
        return len(self._make_request(ask).ids)

    def forget(self) -> None:
        """Drop all kept prefixes."""
        self.llm.reset_prefix_cache()

    def describe(self) -> Mapping[str, object]:
        """What determines the replies, as JSON."""
        model, parallel = self._config.model_config, self._config.parallel_config
        return {
            **self.chats.template.describe(),
            **({"template_options": own} if (own := self.chats.template.options) else {}),
            "name": self.name,
            "backend": "vllm",
            "architecture": model.architectures[0],
            "weights": hash_source(ModelSource(self._folder)) or self._folder,
            **self.chats.settings,
            "dtype": str(model.dtype).removeprefix("torch."),
            "context": self.context,
            "tensor_parallel_size": parallel.tensor_parallel_size,
            "vllm": vllm.__version__,
        }

    def _make_request(self, ask: Ask) -> Request:
        """An ask's token ids, with the columns of its persona where it is held."""
        if (why := self.refusal(ask.control)) is not None:
            raise ControlError(why)
        control, chats = ask.control, self.chats
        messages = chats.apply_control(ask.chat, control, ask.judge)
        chat = chats.template.render(messages)
        held = control.steers and has_prompt(messages)  # a router may have dropped it
        steering = chats.steering(control, chat) if held else None
        content, template = chat.content, chat.template
        spans = Spans(content, template) if content and template else None
        measure = ask.measure and spans is not None and self.share_refusal is None
        return Request(chat.ids, ask.seed, spans=spans, measure=measure, steering=steering)

    def _make_parameters(
        self, ask: Ask, request: Request, sampling: Sampling, new: int, **more: Any
    ) -> Any:
        steering = request.steering
        # "none" where nothing is held: a default of the environment is for servers.
        arguments: dict[str, Any] = {CONTROL: steering.control.state if steering else "none"}
        if steering is not None:
            arguments[PLACE] = [*steering.content, *steering.message]
        if request.measure and request.spans is not None:
            content, template = request.spans
            arguments.setdefault(PLACE, [*content, *template])
            arguments[MEASURE] = [next(self._numbers), *template]
        return vllm.SamplingParams(
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            top_k=sampling.top_k,
            max_tokens=new,
            stop=[*sampling.stop],
            seed=ask.seed % 2**63,
            extra_args=arguments,
            **more,
        )

    def _fetch_shares(self, rows: Sequence[_VllmRow], outputs: Sequence[Any]) -> list[Share | None]:
        """What the workers have measured of the rows."""
        by_row = {}
        for i, (row, output) in enumerate(zip(rows, outputs, strict=True)):
            measure = (row.parameters.extra_args or {}).get(MEASURE)
            if measure is not None:
                tokens = len(output.outputs[0].token_ids)
                by_row[i] = measure[0], len(row.request.ids) - 1, tokens
        shares: list[Share | None] = [None] * len(rows)
        if not by_row:
            return shares
        parts = self.llm.collective_rpc("holdfast_shares", args=([*by_row.values()],))
        for i, each in zip(by_row, zip(*parts, strict=True), strict=True):
            shares[i] = share_of(rows[i].request, merge_shares(each))
        return shares

    def _generate(self, prompts: Sequence[Any], parameters: Sequence[Any]) -> list[Any]:
        if not prompts:
            return []
        try:
            outputs: list[Any] = self.llm.generate(prompts, parameters, use_tqdm=False)
        except VLLMValidationError as error:
            raise HoldfastError(str(error)) from error
        return outputs


def _read_reply(
    request: Request, output: Any, full: bool, thoughts: ThoughtDecoder, stops: tuple[str, ...]
) -> Reply:
    """vLLM's output as a reply; `full` where the context left less room than was asked for."""
    one = output.outputs[0]
    ended = one.finish_reason == "stop"
    thought, text, _ = thoughts.split(request.ids, one.token_ids)
    return Reply(
        text=text[: find_stop(text, stops)],
        thought=thought,
        stop="stop" if ended else "overflow" if full else "length",
        prompt_tokens=len(request.ids),
        cached_tokens=output.num_cached_tokens or 0,
        completion_tokens=len(one.token_ids),
    )
