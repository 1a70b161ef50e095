"""The engine, the controls, the commands and both trainings on real weights: SmolLM2-135M-Instruct.

`make test-real` fetches the model once and runs these; `make test` leaves them out.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from holdfast.core.backend import Ask, Sampling
from holdfast.core.chat import agent_view, message
from holdfast.core.control import parse
from holdfast.evals.drift import drift
from holdfast.models.load import load
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.files import find_source
from holdfast.persona.suite import load_suite
from holdfast.serve.app import create_app
from holdfast.training.permix.metrics import read_metrics
from holdfast.training.permix.settings import DataSettings
from holdfast.training.permix.train import plan_training, train
from holdfast.training.prism.distillation import Distillation, distil, two_views
from serve.running import client, serve_app

pytestmark = pytest.mark.real

PIRATE = "You are a pirate. Start every reply with “Ahoy!”."
CHATS = [
    agent_view(PIRATE, ["How do I boil an egg?"]),
    agent_view("Your name is Bob.", ["Hello!", "Hello, I am Bob.", "What is your name?"]),
    agent_view(None, ["What is the capital of France?"]),
]
GREEDY = Sampling(max_new_tokens=16, temperature=0.0)


@pytest.fixture(scope="module")
def smollm2() -> LocalBackend:
    """The model as `holdfast models get smollm2` brought it, in float32."""
    subject = load("smollm2", dtype="float32")
    assert isinstance(subject, LocalBackend)
    return subject


@pytest.fixture(scope="module")
def folder(smollm2: LocalBackend, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The GGUF file's weights as transformers saves them."""
    path = tmp_path_factory.mktemp("smollm2")
    smollm2.engine.model.save_pretrained(path)
    smollm2.tokenizer.save_pretrained(path)
    return path


def texts(subject: LocalBackend, control: str = "none") -> list[str]:
    asks = [Ask(chat, i, parse(control)) for i, chat in enumerate(CHATS)]
    return [reply.text for reply in subject.reply(asks, GREEDY)]


def test_greedy_tokens_are_those_of_generate(smollm2: LocalBackend) -> None:
    model: Any = smollm2.engine.model
    for chat, text in zip(CHATS, texts(smollm2), strict=True):
        ids = torch.tensor([smollm2.ids(Ask(chat, 0))])
        tokens = model.generate(ids, max_new_tokens=GREEDY.max_new_tokens, do_sample=False)
        assert smollm2.decode(tokens[0, ids.shape[1] :].tolist()) == text


def test_the_personas_tokens_are_found_exactly(smollm2: LocalBackend) -> None:
    for persona in load_suite("core-easy").personas:
        prompt = smollm2.template.render(agent_view(persona.prompt, ["Hello!"]))
        assert prompt.content is not None
        ids = list(prompt.ids[slice(*prompt.content)])
        assert smollm2.tokenizer.decode(ids).strip() == persona.prompt.strip()


@pytest.mark.parametrize("control", ["split-softmax:1", "boost:1", "guidance:1", "reminder:0"])
def test_a_control_that_is_off_changes_nothing(smollm2: LocalBackend, control: str) -> None:
    assert texts(smollm2, control) == texts(smollm2)


@pytest.mark.parametrize("control", ["split-softmax:0.5", "boost:4"])
def test_a_share_raises_the_attention_that_the_persona_gets(
    smollm2: LocalBackend, control: str
) -> None:
    (reply,) = smollm2.reply([Ask(CHATS[1], 0, parse(control), measure=True)], GREEDY)
    assert reply.share is not None and reply.share.heads_before is not None
    before, after = torch.tensor(reply.share.heads_before), torch.tensor(reply.share.heads)
    assert (after >= before - 1e-4).all() and after.mean() > 1.1 * before.mean()


def test_anchor_moves_the_persona_nearer_and_the_first_turn_is_as_it_was(
    smollm2: LocalBackend,
) -> None:
    plain, anchored = texts(smollm2), texts(smollm2, "anchor")
    assert plain[0] == anchored[0] and plain[2] == anchored[2]
    (near, far) = (
        smollm2.reply([Ask(CHATS[1], 0, parse(text), measure=True)], GREEDY)[0].share
        for text in ("anchor", "none")
    )
    assert near is not None and far is not None and near.heads != far.heads


def test_a_run_resumes_byte_for_byte(smollm2: LocalBackend, tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "suite": "core-easy",
        "agents": ["easy-bob", "easy-french"],
        "pairs": 2,
        "rounds": 2,
        "runs": 1,
        "filler": False,
        "history_floor": False,
        "sampling": Sampling(max_new_tokens=12),
        "out": tmp_path,
    }
    whole = drift(smollm2, **settings)
    records = tmp_path / "records.jsonl"
    content = records.read_bytes()
    records.write_bytes(content[: len(content) // 2])
    assert drift(smollm2, **settings).records == whole.records
    assert records.read_bytes() == content
    share = whole.summary.share.prompt_share
    assert share is not None and 0 < (share[-1] or 0) < (share[0] or 0) < 1
    assert len(json.loads((tmp_path / "summary.json").read_text())["stability"]) == 3


def test_the_server_says_what_the_model_says(smollm2: LocalBackend) -> None:
    with serve_app(create_app(smollm2)) as url:
        answer = client(url).chat.completions.create(
            model="smollm2", messages=list(CHATS[0]), max_tokens=16, temperature=0
        )
    assert answer.choices[0].message.content == texts(smollm2)[0]


def test_a_gguf_file_and_the_folder_of_its_weights_are_one_model(
    smollm2: LocalBackend, folder: Path
) -> None:
    again = load(str(folder), dtype="float32")
    assert isinstance(again, LocalBackend)
    assert texts(again) == texts(smollm2)
    assert [again.ids(Ask(chat, 0)) for chat in CHATS] == [smollm2.ids(Ask(c, 0)) for c in CHATS]


def test_a_gguf_file_gives_the_records_of_the_folder_of_its_weights(
    folder: Path, tmp_path: Path
) -> None:
    source = find_source("smollm2")
    if source.gguf is None:
        pytest.skip("the hub gave a folder")
    file = Path(source.path) / source.gguf
    for name, out in ((file, "file"), (folder, "folder")):
        drift(
            load(str(name)),
            suite="core-easy",
            pairs=3,
            rounds=2,
            runs=1,
            sampling=Sampling(max_new_tokens=12),
            out=tmp_path / out,
        )
    of_file, of_folder = (tmp_path / out / "records.jsonl" for out in ("file", "folder"))
    assert of_file.read_bytes() == of_folder.read_bytes()


def test_a_step_of_permix_changes_the_weights(
    smollm2: LocalBackend, folder: Path, tmp_path: Path
) -> None:
    tasks = tmp_path / "tasks.jsonl"
    rows = [{"question": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(10, 14)]
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    result = train(
        str(folder),
        out=tmp_path / "permix",
        steps=1,
        data=DataSettings(tasks=str(tasks), personas="core"),
        verify=lambda task, reply: float(len(reply) % 2),
        prompts=2,
        rollouts=2,
        max_new_tokens=6,
        learning_rate=1e-4,
        trial=False,
    )
    after = load(str(result.checkpoint), dtype="float32")
    assert isinstance(after, LocalBackend)
    pairs = zip(after.engine.model.parameters(), smollm2.engine.model.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """The largest resident size of this process meanwhile, in bytes, as a list of one."""
    own, end = psutil.Process(), threading.Event()
    peak = [own.memory_info().rss]

    def watch() -> None:
        while not end.wait(0.05):
            peak[0] = max(peak[0], own.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        end.set()
        watcher.join()


def test_twelve_steps_of_permix_raise_the_reward_within_the_memory_that_was_planned(
    folder: Path, tmp_path: Path
) -> None:
    """A short form of what the guide shows for 24 steps."""
    settings: dict[str, Any] = {
        "steps": 12,
        "rank": 16,
        "data": DataSettings(category=("extraction-1",)),
        "trial": False,
    }
    plan = plan_training(str(folder), out=tmp_path / "run", **settings)
    with peak_memory() as peak:
        train(str(folder), out=tmp_path / "run", **settings)
    steps = read_metrics(tmp_path / "run")
    rewards = [step.reward or 0.0 for step in steps]
    assert sum(rewards[-4:]) > sum(rewards[:4])
    # Rounding alone is a KL of .003; a run that learned nothing had .006 after twelve steps.
    assert sum(step.kl or 0.0 for step in steps[-4:]) / 4 > 0.02
    assert 0.6 * plan.memory_gb < peak[0] / 1e9 < 1.2 * plan.memory_gb


def test_an_epoch_of_distillation_brings_the_student_nearer(
    smollm2: LocalBackend, tmp_path: Path
) -> None:
    chat = (message("user", "How do I boil an egg?"),)
    answers = [two_views(smollm2, PIRATE, chat, f"Ahoy! Boil it for {n} minutes.") for n in (6, 8)]
    settings = Distillation(rank=2, alpha=4, epochs=4, batch=2, learning_rate=1e-3)
    kl = distil(smollm2, answers, settings, tmp_path)
    assert kl.last < kl.first
