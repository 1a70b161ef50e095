"""`prism:PATH` in the gateway: layer 0 decides here, and the API gets the adapter's name."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import actors
import tiny_models
from holdfast.core.backend import Ask
from holdfast.core.chat import message
from holdfast.core.control import parse
from holdfast.core.errors import ControlError, ModelError, RunError
from holdfast.models.local.gate import THRESHOLD, compute_features
from holdfast.models.local.load import load
from holdfast.serve.gateway import Upstream, adapter_choice, create_gateway
from holdfast.serve.gateway.adapter_choice import AdapterChoice
from holdfast.training.prism.gate_training import train_gate
from serve.gateway.upstreams import FakeUpstream
from serve.running import serve_app

TEXTS = [f"{kind} {i}?" for kind in ("Sing of", "Count to") for i in range(12)]


@dataclass(frozen=True)
class Adapter:
    """A gate on a random model, and where it is on."""

    base: Path
    folder: Path
    on: dict[str, bool]

    def one(self, on: bool) -> str:
        """A text for which the gate is on, or off."""
        return next(text for text, value in self.on.items() if value == on)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Adapter:
    base, folder = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("singer")
    tiny_models.model().save_pretrained(base)
    tiny_models.tokenizer().save_pretrained(base)
    whole = load(str(base))
    h = compute_features(whole.engine.model, [prompt(whole, text) for text in TEXTS])
    gate = train_gate(h, [text.startswith("Sing") for text in TEXTS], seed=0)
    gate.save(folder)
    about = {"model": str(base), "base": {"name": str(base), "weights": whole.digest}}
    (folder / "prism.json").write_text(json.dumps(about), encoding="utf-8")
    on = [bool(p >= THRESHOLD) for p in gate.probabilities(h)]
    assert any(on) and not all(on)
    return Adapter(base, folder, dict(zip(TEXTS, on, strict=True)))


def prompt(model: Any, *texts: str) -> tuple[int, ...]:
    roles = ("user", "assistant")
    chat = tuple(message(roles[i % 2], text) for i, text in enumerate(texts))  # type: ignore[arg-type]
    ids: tuple[int, ...] = model.ids(Ask(chat, 0))
    return ids


def whole_gate(choice: AdapterChoice, model: Any, ids: tuple[int, ...]) -> bool:
    """Whether the gate is on by the whole model's own features."""
    h = compute_features(model.engine.model, [ids])
    return bool(choice._gate.probabilities(h)[0] >= THRESHOLD)


def test_embeddings_and_layer_0_alone_decide_as_the_whole_model_does(adapter: Adapter) -> None:
    choice = AdapterChoice(adapter.folder)
    layer, whole = choice._layer.model, load(str(adapter.base)).engine.model
    names = {name.removeprefix("model.") for name, _ in whole.named_parameters()}
    read = {name for name, _ in layer.named_parameters()}
    assert read < names and not any(".1." in name for name in read)
    control = parse(f"prism:{adapter.folder}")
    for text, on in adapter.on.items():
        chat = (message("system", "You sing."), message("user", text))
        assert choice.choose(chat, control) == (adapter.folder.name if on else None)


def test_the_first_user_message_decides_for_the_conversation_unless_every_one_is_to(
    adapter: Adapter,
) -> None:
    choice, whole = AdapterChoice(adapter.folder, lora="singer"), load(str(adapter.base))
    once, every = (parse(f"prism:{adapter.folder}{end}") for end in ("", "@gate=every"))
    for on in (True, False):
        texts = (adapter.one(on), "Well.", adapter.one(not on))
        chat = (
            message("user", texts[0]),
            message("assistant", texts[1]),
            message("user", texts[2]),
        )
        assert choice.choose(chat, once) == ("singer" if on else None)
        on_gate = whole_gate(choice, whole, prompt(whole, *texts))
        assert choice.choose(chat, every) == ("singer" if on_gate else None)


@pytest.mark.parametrize("path", ["chat/completions", "messages", "responses"])
def test_the_api_gets_the_adapters_name_and_no_system_prompt(adapter: Adapter, path: str) -> None:
    upstream, choice = FakeUpstream(), AdapterChoice(adapter.folder, lora="singer")
    app = create_gateway(
        Upstream("http://api.example/v1", "key"),
        control=f"prism:{adapter.folder}",
        choose=choice.choose,
        transport=httpx.MockTransport(upstream),
    )
    field = "input" if path == "responses" else "messages"
    with serve_app(app) as url:
        for on in (True, False):
            chat = [{"role": "user", "content": adapter.one(on)}]
            if path == "chat/completions":
                chat.insert(0, {"role": "system", "content": "You sing."})
            body = {"model": "base", field: chat}
            assert httpx.post(f"{url}/{path}", json=body).status_code == 200
            outgoing = upstream.body
            assert outgoing["model"] == ("singer" if on else "base")
            assert [one["role"] for one in outgoing[field]] == ["user"]
        # A client may not name files of the gateway's machine.
        body["holdfast"] = {"control": "prism:/etc"}
        assert httpx.post(f"{url}/{path}", json=body).status_code == 400


@pytest.mark.parametrize("part", ["auto:reminder", "auto:note:2", "note:2", "window:2"])
@pytest.mark.parametrize("gate", ["", "gate=every,"])
def test_the_gate_reads_a_chat_as_in_training_without_a_prompt_and_what_controls_add(
    adapter: Adapter, part: str, gate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choice, whole = AdapterChoice(adapter.folder, lora="singer"), load(str(adapter.base))
    persona = replace(actors.persona("amber"), authors_note="Sing.")
    upstream, text = FakeUpstream(), f"prism:{adapter.folder}@{gate}system=stays+{part}"
    prompts: list[tuple[int, ...]] = []

    def note_prompts(model: Any, some: Any, name: str) -> Any:
        prompts.extend(some)
        return compute_features(model, some, name)

    monkeypatch.setattr(adapter_choice, "compute_features", note_prompts)
    app = create_gateway(
        Upstream("http://api.example/v1", "key"),
        persona=persona,
        control=text,
        choose=choice.choose,
        transport=httpx.MockTransport(upstream),
    )
    texts = [adapter.one(True), "amber", "And you?", "amber", "And now?", "nothing", "So?"]
    roles = ("user", "assistant")
    chat = [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]
    with serve_app(app) as url:
        body = {"model": "base", "messages": chat}
        assert httpx.post(f"{url}/chat/completions", json=body).status_code == 200
    ids = prompt(whole, *(texts if gate else texts[:1]))
    assert prompts == [ids]
    assert upstream.body["model"] == ("singer" if whole_gate(choice, whole, ids) else "base")


def test_what_cannot_decide_is_refused_in_a_sentence(adapter: Adapter, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="holds no trained PRISM"):
        AdapterChoice(tmp_path)
    other = tmp_path / "other"
    tiny_models.model(seed=1).save_pretrained(other)
    tiny_models.tokenizer().save_pretrained(other)
    with pytest.raises(ModelError, match=r"whose weights are not those of .*`model`"):
        AdapterChoice(adapter.folder, base=str(other))
    upstream, choice = Upstream("http://api.example/v1"), AdapterChoice(adapter.folder)
    control = f"prism:{adapter.folder}"
    with pytest.raises(ControlError, match="needs its weights"):
        create_gateway(upstream, control=control)
    with pytest.raises(ControlError, match="needs its weights"):
        create_gateway(
            upstream, control=f"{control}@system=stays+split-softmax:0.5", choose=choice.choose
        )
