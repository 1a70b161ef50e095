"""What holds in vLLM: its own tokens without a control, and our engine's with one.

Greedy and in float32. Every server here is in this process and has blocks of 32 tokens, so that
short chats have several.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import pytest
from tests.models.vllm.conftest import vllm_or_skip, weights

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import Chat, message
from holdfast.core.control import parse
from holdfast.models.load import load

vllm = vllm_or_skip()
VLLMValidationError = pytest.importorskip("vllm.exceptions").VLLMValidationError
pytestmark = pytest.mark.vllm

CONTROLS = (
    "none",
    "split-softmax:0.7",
    "boost:4",
    "spotlight:0.3",
    "restore:0.8",
    "anchor",
    "anchor+boost:2",
    "anchor+restore:1",
    "anchor+split-softmax:0.5@layers=1-4,heads=1-3",
    "boost:8@layers=0-3,span=message",
)
PERSONA = "You are Ann, a grumpy pirate. Always mention the sea, and never say yes."
QUESTIONS = (
    "What is the sea?",
    "Do you like bread?",
    "Tell me about Rome.",
    "How do I cook rice?",
    "Who are you, and where do you live?",
)
NEW = 24
MODELS = ("mini", "smollm2", "qwen-coder-05b")
Talks = dict[str, list[tuple[Chat, str]]]


@lru_cache
def talks(model: str) -> Talks:
    """Five turns with our own engine under each control: the chat before each reply, and it."""
    backend = load(weights(model), dtype="float32")
    sampling = Sampling(max_new_tokens=NEW, temperature=0.0)
    result: Talks = {text: [] for text in CONTROLS}
    chats: dict[str, Chat] = {text: (message("system", PERSONA),) for text in CONTROLS}
    for question in QUESTIONS:
        chats = {text: (*chat, message("user", question)) for text, chat in chats.items()}
        asks = [Ask(chat, 0, parse(text)) for text, chat in chats.items()]
        for text, reply in zip(CONTROLS, backend.reply(asks, sampling), strict=True):
            result[text].append((chats[text], reply.text))
            chats[text] = (*chats[text], message("assistant", reply.text))
    return result


@lru_cache
def server(model: str) -> Any:
    """vLLM with the plugin and room for everything.

    It is kept: where one server in a process ends, it takes the others' groups of processes along.
    """
    return start(weights(model))


def start(folder: str, **options: Any) -> Any:
    options = {"max_num_seqs": 64, "max_model_len": 1024, "block_size": 32, **options}
    return vllm.LLM(folder, dtype="float32", enforce_eager=True, seed=0, **options)


def ask(
    llm: Any, chats: Sequence[Chat], controls: Sequence[str | None], longer: int = 0
) -> list[Any]:
    """vLLM's outputs for chats, each under its control, all in one call.

    With `longer` every reply has so many tokens, whatever ends it.
    """
    params = [
        vllm.SamplingParams(
            temperature=0,
            max_tokens=longer or NEW,
            ignore_eos=bool(longer),
            extra_args=None if text is None else {"holdfast": text},
        )
        for text in controls
    ]
    outputs: list[Any] = llm.chat([[*map(dict, chat)] for chat in chats], params, use_tqdm=False)
    return outputs


def texts(outputs: Sequence[Any]) -> list[str]:
    return [output.outputs[0].text for output in outputs]


def tokens(outputs: Sequence[Any]) -> list[list[int]]:
    return [[*output.outputs[0].token_ids] for output in outputs]


def mix(model: str, turns: Sequence[int] = (0, 2, 4)) -> tuple[list[Chat], list[str], list[str]]:
    """Chats of several lengths under all controls, with what our engine replied."""
    rows = [(talks(model)[text][turn], text) for turn in turns for text in CONTROLS]
    return [chat for (chat, _), _ in rows], [text for _, text in rows], [r for (_, r), _ in rows]


@pytest.mark.parametrize("model", MODELS)
def test_five_turns_are_those_of_our_own_engine(model: str) -> None:
    for text in CONTROLS:
        rows = talks(model)[text]
        answers = texts(ask(server(model), [chat for chat, _ in rows], [text] * len(rows)))
        assert answers == [reply for _, reply in rows], text
    chats = [chat for chat, _ in talks(model)["none"]]
    assert texts(ask(server(model), chats, [None] * len(chats))) == [
        reply for _, reply in talks(model)["none"]
    ]


PLAIN = """
import json, sys, vllm
folder, chats = json.load(sys.stdin)
llm = vllm.LLM(folder, dtype="float32", enforce_eager=True, seed=0, max_num_seqs=64,
               max_model_len=1024, block_size=32)
params = vllm.SamplingParams(temperature=0, max_tokens=%d, logprobs=0)
out = llm.chat(chats, params, use_tqdm=False)
rows = [[[*o.outputs[0].token_ids], o.outputs[0].cumulative_logprob] for o in out]
from vllm.v1.attention.backends.registry import AttentionBackendEnum
print(json.dumps([AttentionBackendEnum.CPU_ATTN.is_overridden(), rows]))
"""


def test_without_a_control_vllm_says_what_it_says_without_the_plugin() -> None:
    chats = [[*map(dict, chat)] for chat, _ in talks("mini")["none"]]
    process = subprocess.run(
        [sys.executable, "-c", PLAIN % NEW],
        input=json.dumps([weights("mini"), chats]),
        env={**os.environ, "VLLM_PLUGINS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    registered, plain = json.loads(process.stdout.splitlines()[-1])
    assert not registered
    llm = server("mini")
    llm.reset_prefix_cache()
    params = vllm.SamplingParams(temperature=0, max_tokens=NEW, logprobs=0)
    outputs = llm.chat(chats, params, use_tqdm=False)
    sums = [output.outputs[0].cumulative_logprob for output in outputs]
    assert [list(row) for row in zip(tokens(outputs), sums, strict=True)] == plain


def test_rows_of_one_batch_do_not_know_of_each_other() -> None:
    chats, controls, replies = mix("mini")
    together = ask(server("mini"), chats, controls)
    assert texts(together) == replies
    alone = [ask(server("mini"), [c], [t])[0] for c, t in zip(chats[:9], controls[:9], strict=True)]
    assert tokens(alone) == tokens(together[:9])


def test_a_prefix_is_reused_under_its_own_control_only() -> None:
    llm = server("mini")
    llm.reset_prefix_cache()
    chat = talks("mini")["anchor"][4][0]
    misses = [ask(llm, [chat], [text])[0] for text in CONTROLS]
    # boost and boost on some layers leave other keys, and so does every control here.
    assert [miss.num_cached_tokens for miss in misses] == [0] * len(CONTROLS)
    hits = [ask(llm, [chat], [text])[0] for text in CONTROLS]
    assert all(hit.num_cached_tokens >= 64 for hit in hits)
    assert tokens(hits) == tokens(misses)


@lru_cache
def tight_server() -> Any:
    """vLLM that reads prompts in pieces of 48 tokens and has room for some of the rows only."""
    room = {"num_gpu_blocks_override": 36, "max_num_batched_tokens": 48, "max_num_seqs": 16}
    return start(weights("mini"), disable_log_stats=False, **room)


def preemptions(llm: Any) -> float:
    return sum(m.value for m in llm.get_metrics() if m.name == "vllm:num_preemptions")


def test_prompts_in_pieces_and_rows_that_are_stopped_and_resumed_change_nothing() -> None:
    chats, controls, _ = mix("mini", turns=(0, 4))
    want = tokens(ask(server("mini"), chats, controls, longer=90))
    llm = tight_server()
    assert tokens(ask(llm, chats, controls, longer=90)) == want
    assert preemptions(llm) > 0


@pytest.mark.parametrize(
    ("text", "names"),
    [("gibberish:1", "no control"), ("window:3", "gateway"), ("boost:4@layers=7", "layers 0 to 5")],
)
def test_a_bad_control_is_refused_and_others_go_on(text: str, names: str) -> None:
    llm = server("mini")
    chats, controls, replies = mix("mini", turns=(2,))
    with pytest.raises(VLLMValidationError, match=names):
        ask(llm, chats[:1], [text])
    assert texts(ask(llm, chats, controls)) == replies


def test_the_persona_may_be_named_and_may_be_elsewhere() -> None:
    llm, chat = server("mini"), talks("mini")["boost:4"][2][0]
    want = tokens(ask(llm, [chat], ["boost:4"]))
    arguments = {"holdfast": "boost:4", "holdfast_persona": PERSONA}
    params = vllm.SamplingParams(temperature=0, max_tokens=NEW, extra_args=arguments)
    assert tokens(llm.chat([[*map(dict, chat)]], params, use_tqdm=False)) == want
    without = chat[1:]
    plain = tokens(ask(llm, [without], [None]))
    assert tokens(ask(llm, [without], ["boost:4"])) == plain


@pytest.mark.parametrize(
    "arguments",
    [
        {"holdfast": 3},
        {"holdfast": "boost:4", "holdfast_persona": ""},
        {"holdfast": "boost:4", "holdfast_place": [9, 3, 0, 12]},
        {"holdfast": "boost:4", "holdfast_place": [1, 2, 0, 100000]},
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict[str, Any]) -> None:
    params = vllm.SamplingParams(max_tokens=1, extra_args=arguments)
    chat = [dict(message("user", "Hello"))]
    with pytest.raises(VLLMValidationError, match="holdfast"):
        server("mini").chat(chat, params, use_tqdm=False)


def test_a_client_cannot_name_the_workers_own_argument() -> None:
    llm, chat = server("mini"), talks("mini")["none"][1][0]
    row = {"control": "boost:9", "content": [0, 5], "message": [0, 5], "turns": []}
    params = vllm.SamplingParams(temperature=0, max_tokens=NEW, extra_args={"holdfast_row": row})
    answers = tokens(llm.chat([[*map(dict, chat)]], params, use_tqdm=False))
    assert answers == tokens(ask(llm, [chat], [None]))
