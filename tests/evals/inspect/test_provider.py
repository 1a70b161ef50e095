"""Our models as Inspect's: calls gathered into batches, settings mapped, the rest refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

pytest.importorskip("inspect_ai")

from inspect_ai._util.error import PrerequisiteError
from inspect_ai.model import (
    ChatMessage,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentImage,
    GenerateConfig,
    ModelOutput,
    get_model,
)
from inspect_ai.tool import ToolInfo

from actors import Actor
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.errors import HoldfastError, ModelError
from holdfast.evals.inspect import provider, registry
from holdfast.evals.inspect.provider import MAX_TOKENS, HoldfastAPI

HELLO: list[ChatMessage] = [ChatMessageSystem(content="Be amber"), ChatMessageUser(content="Hello")]


class Watched(Actor):
    """An actor that keeps the samplings too."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.samplings: list[Sampling] = []

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        self.samplings.append(sampling)
        return super().reply(asks, sampling)


def open_api(
    monkeypatch: pytest.MonkeyPatch, actor: Actor | None = None, **options: Any
) -> tuple[HoldfastAPI, Actor]:
    backend = actor or Watched()
    monkeypatch.setattr(provider, "load", lambda name, **more: backend)
    return HoldfastAPI("one", **options), backend


def generate(api: HoldfastAPI, chat: list[ChatMessage] = HELLO, **config: Any) -> Any:
    return api.generate(chat, [], "auto", GenerateConfig(**config))


def test_calls_that_come_together_are_answered_in_one_batch_and_the_next_gathers_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, actor = open_api(monkeypatch)

    async def both() -> list[ModelOutput]:
        return list(await asyncio.gather(*(generate(api, seed=seed) for seed in range(40))))

    outputs = asyncio.run(both())
    assert [output.completion for output in outputs] == [f"amber 2 {seed}" for seed in range(40)]
    assert [len(call) for call in actor.calls] == [40]


def test_calls_with_other_sampling_or_another_control_keep_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, actor = open_api(monkeypatch, control="anchor")
    assert isinstance(actor, Watched)

    async def several() -> None:
        body = {"holdfast": {"control": "window:1"}}
        await asyncio.gather(
            generate(api, temperature=0.0, stop_seqs=["."], top_k=3, max_tokens=7),
            generate(api, top_p=0.5),
            generate(api, top_p=0.5, extra_body=body),
        )

    asyncio.run(several())
    assert actor.samplings == [
        Sampling(7, 0.0, 0.9, 3, (".",)),
        Sampling(MAX_TOKENS, 1.0, 0.5),
    ]
    assert [[ask.control.text for ask in call] for call in actor.calls] == [
        ["anchor"],
        ["anchor", "window:1"],
    ]


def test_stops_and_tokens_are_inspects_and_choices_differ_in_their_seed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stops = iter(["length", "overflow"])
    api, actor = open_api(
        monkeypatch,
        Actor(lambda ask: Reply("text", next(stops), 10, 4, 3)),  # type: ignore[arg-type]
    )
    output = asyncio.run(generate(api, num_choices=2, seed=5))
    assert [choice.stop_reason for choice in output.choices] == ["max_tokens", "model_length"]
    assert [ask.seed for ask in actor.calls[0]] == [5, 6]
    assert output.usage is not None
    usage = output.usage
    assert (usage.input_tokens, usage.input_tokens_cache_read) == (12, 8)
    assert (usage.output_tokens, usage.total_tokens) == (6, 26)


def test_calls_without_a_seed_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    api, actor = open_api(monkeypatch)

    async def two() -> None:
        await asyncio.gather(generate(api), generate(api))

    asyncio.run(two())
    first, second = actor.calls[0]
    assert first.seed != second.seed


def test_a_prompt_share_that_is_asked_for_comes_with_the_reply(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, _ = open_api(monkeypatch, Actor(share=True), measure=True)
    output = asyncio.run(generate(api))
    assert output.metadata == {"control": "none", "prompt_share": [0.3]}


def test_one_bad_chat_does_not_hurt_those_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(ask: Ask) -> Reply:
        if ask.seed == 3:
            raise ModelError("the template refuses this chat.")
        return Reply(f"fine {ask.seed}")

    api, _ = open_api(monkeypatch, Actor(answer))

    async def all_of_them() -> list[Any]:
        calls = (generate(api, seed=seed) for seed in range(5))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    outputs = asyncio.run(all_of_them())
    assert [str(getattr(one, "completion", one)) for one in outputs] == [
        "fine 0",
        "fine 1",
        "fine 2",
        "the template refuses this chat.",
        "fine 4",
    ]


def test_calls_of_a_batch_that_breaks_all_name_what_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(ask: Ask) -> Reply:
        raise RuntimeError("out of memory")

    api, _ = open_api(monkeypatch, Actor(answer))

    async def three() -> list[Any]:
        calls = (generate(api, seed=seed) for seed in range(3))
        return list(await asyncio.gather(*calls, return_exceptions=True))

    assert [repr(error) for error in asyncio.run(three())] == ["RuntimeError('out of memory')"] * 3


def test_a_call_that_is_given_up_is_not_answered_and_the_others_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api, actor = open_api(monkeypatch)

    async def one_leaves() -> str:
        leaving = asyncio.create_task(generate(api, seed=1))
        staying = asyncio.create_task(generate(api, seed=2))
        await asyncio.sleep(0)  # both wait for company
        leaving.cancel()
        return str((await staying).completion)

    assert asyncio.run(one_leaves()) == "amber 2 2"
    assert [[ask.seed for ask in call] for call in actor.calls] == [[2]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"logprobs": True}, "no setting logprobs"),
        ({"frequency_penalty": 0.5}, "no setting frequency_penalty"),
        ({"best_of": 2}, "no setting best_of"),
    ],
)
def test_a_setting_that_cannot_be_followed_is_refused(
    config: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api, actor = open_api(monkeypatch)
    with pytest.raises(HoldfastError, match=message):
        asyncio.run(generate(api, **config))
    assert actor.calls == []


def test_tools_and_anything_but_text_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    api, _ = open_api(monkeypatch)
    tool = ToolInfo(name="add", description="Adds.")
    with pytest.raises(HoldfastError, match="calls no tools"):
        asyncio.run(api.generate(HELLO, [tool], "auto", GenerateConfig()))
    with pytest.raises(HoldfastError, match="no tool's message"):
        asyncio.run(generate(api, [*HELLO, ChatMessageTool(content="4")]))
    picture = ChatMessageUser(content=[ContentImage(image="data:image/png;base64,AAAA")])
    with pytest.raises(HoldfastError, match="reads text, not image"):
        asyncio.run(generate(api, [picture]))


def test_tokens_are_counted_by_the_model_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    api, _ = open_api(monkeypatch)
    assert asyncio.run(api.count_tokens("three words here")) == 3


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"control": "nonsense:1"}, "nonsense"),
        ({"dtype": "float99"}, "float99"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_wrong_argument_ends_in_one_sentence(args: dict[str, Any], message: str) -> None:
    assert registry.holdfast  # registers the provider
    with pytest.raises(PrerequisiteError) as error:
        get_model("holdfast/mini", memoize=False, **args)
    assert message in str(error.value.message) and "\n" not in str(error.value.message)
