"""The five stages and the evaluation as a whole, on a small random model."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from actors import Actor, persona
from commands import run_command
from holdfast.cli.prism import _arm_lines, _training_lines
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.chat import agent_view, message
from holdfast.core.control import NONE, parse
from holdfast.core.errors import ControlError, HoldfastError, ModelError, RunError
from holdfast.core.records import as_record
from holdfast.core.seeds import seed_of
from holdfast.core.stats import auc
from holdfast.evals.compare.compare import compare
from holdfast.evals.drift import drift
from holdfast.evals.tasks.tasks import load_tasks_with_form
from holdfast.models import load as models
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.gated_adapter import ABOUT, GatedAdapter, read_about
from holdfast.models.local.hold.hold import hold
from holdfast.models.notes import NOTES
from holdfast.persona.experts import Expert
from holdfast.persona.suite import Suite
from holdfast.report.words import notes
from holdfast.results.training.prism import DroppedTasks
from holdfast.serve.app import create_app
from holdfast.training.prism import deciders, pipeline, stages
from holdfast.training.prism.deciders import held_out_probabilities
from holdfast.training.prism.distillation import Distillation, distil, two_views
from holdfast.training.prism.evaluation import decide, evaluate
from holdfast.training.prism.settings import ARMS
from serve.running import client, serve_app
from tiny_models import model, tokenizer

ANN = Expert("ann", ("talk",), "You are Ann.", "You are Ann.", "You are Ann, who says: xyz xyz.")
BOB = Expert("bob", ("other",), "You are Bob.", "You are Bob.", "You are Bob the builder, zyx.")
SHORT = Sampling(max_new_tokens=6, temperature=0.0)
BRIEF: dict[str, Any] = {"max_new_tokens": 6, "temperature": 0.0}
# A random model never ends an answer, so that the trial would refuse it.
FEW: dict[str, Any] = {"rank": 2, "epochs": 8, "batch": 8, "learning_rate": 1e-2, "trial": False}
SMALL = Distillation(rank=2, alpha=4, epochs=8, batch=8, learning_rate=1e-2)


def backend(seed: int = 0) -> LocalBackend:
    return LocalBackend(model("llama", seed), tokenizer(), "small", batch_size=16)


def open_adapter(subject: LocalBackend, folder: Path) -> GatedAdapter:
    return GatedAdapter(subject.engine, subject.name, subject.digest, folder)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tasks with a judge under which a random model's replies differ."""
    path = tmp_path_factory.mktemp("tasks") / "tasks.jsonl"
    rows = [
        {
            "category": category,
            "id": f"{category}{i}",
            "turns": [f"{category} number {i}?"],
            "judge": {"name": "regex", "pattern": "[aeiou]"},
        }
        for category in ("talk", "other")
        for i in range(16)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def other_tasks(tasks: Path, folder: Path) -> Path:
    """The same categories and judges, and questions that training does not have."""
    path = folder / "others.jsonl"
    text = tasks.read_text(encoding="utf-8").replace(" number ", " letter ")
    path.write_text(text, encoding="utf-8")
    return path


def train_with_wins(
    out: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> pipeline.PrismResult:
    """Every second query is won, whatever was said: a random model has no better."""
    even = lambda pair: lambda text: float(pair.query.number % 2 and text == pair.persona)  # noqa: E731
    monkeypatch.setattr(stages, "find_scorers", lambda own, tasks: even)
    return pipeline.train(backend(), out=out, experts=[ANN, BOB], tasks=str(tasks), **BRIEF, **FEW)


def test_the_stages_leave_a_gate_and_a_stock_adapter_and_say_what_they_are_worth(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "prism"
    monkeypatch.setitem(NOTES, "small", "It is a toy.")
    result = train_with_wins(out, tasks, monkeypatch)
    summary = result.summary
    assert summary.queries == 32 == summary.wins + summary.losses + summary.ties
    assert 0 < summary.wins < 32
    assert summary.cut == {"none": 1, "ann": 1, "bob": 1}
    assert summary.kl_last < summary.kl_first
    assert summary.kl_first > 10 * summary.kl_same
    assert {"auc", "accuracy", "majority"} <= as_record(summary)["gate"].keys()
    assert summary.note == notes("It is a toy.", deciders.gate_warning(summary.gate))
    noted = replace(result, summary=replace(summary, note="The gate is no use."))
    assert list(_training_lines(noted))[-2:] == ["The gate is no use.", str(out)]
    ((pair, comparison),) = result.examples(count=1)
    assert comparison.verdict == "win"
    assert pair.persona != pair.plain
    stock = PeftModel.from_pretrained(model("llama"), str(out))
    assert any("lora_A" in name for name, _ in stock.named_parameters())
    assert not any(".layers.0." in name and "lora" in name for name, _ in stock.named_parameters())
    stock.unload()  # the random model is shared
    card = (out / "README.md").read_text("utf-8")
    assert "# Adapter for small\n" in card and "Model ID" not in card
    assert f"won {summary.wins} of 32 queries" in card and "8 epochs" in card
    assert "(rank 2)" in card and "without a system prompt: ann, bob." in card
    assert "--model small --control prism:FOLDER" in card and "holdfast prism eval" in card
    weights = out / "adapter_model.safetensors"
    before = weights.stat().st_mtime_ns
    assert train_with_wins(out, tasks, monkeypatch) == result
    monkeypatch.setitem(FEW, "rank", 3)
    with pytest.raises(RunError, match=r"another run: recipe\.rank was 2, is 3, and recipe\.alpha"):
        train_with_wins(out, tasks, monkeypatch)
    assert weights.stat().st_mtime_ns == before


def test_the_gate_decides_once_for_a_conversation_or_at_every_turn(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "prism"
    train_with_wins(folder, tasks, monkeypatch)
    subject = backend()
    with open_adapter(subject, folder) as adapter:
        first = [Ask((message("user", f"talk number {i}?"),), i) for i in range(16)]
        on = decide(subject, adapter, first)
        assert any(on) and not all(on)
        chosen_chats = (first[on.index(True)], first[on.index(False)])
        later = [
            replace(yes, chat=(*yes.chat, message("assistant", "Well."), *no.chat))
            for yes, no in (chosen_chats, chosen_chats[::-1])
        ]
        assert decide(subject, adapter, later) == [True, False]
        every = decide(subject, adapter, later, "every turn")
        assert every == adapter.ask_gate([subject.ids(ask) for ask in later])
        for option, decisions in (("", [True, False]), ("@gate=every", every)):
            names = [adapter.name if one else "" for one in decisions]
            texts = [reply.text for reply in subject.reply(later, SHORT, names)]
            asks = [replace(ask, control=parse(f"prism:{folder}{option}")) for ask in later]
            assert texts == [reply.text for reply in backend().reply(asks, SHORT)]


@pytest.mark.parametrize("rate", [0, 0.05, 0.3, 1])
def test_the_random_arm_has_the_adapter_on_as_often_as_the_gate(rate: float) -> None:
    asks = [Ask((message("user", "Hello?"),), seed) for seed in range(20)]
    on: list[bool] = decide(None, None, asks, "random", rate)  # type: ignore[arg-type]
    assert sum(on) == round(20 * rate)
    assert on == decide(None, None, asks, "random", rate)  # type: ignore[arg-type]


def test_the_gate_learns_from_what_it_reads_as_a_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tasks.jsonl"
    rows = [
        {
            "category": "talk",
            "history": [f"I have {i} parrots.", "I see."],
            "turns": [f"What do {i} parrots say?"],
            "judge": {"name": "regex", "pattern": "[aeiou]"},
        }
        for i in range(8)
    ]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    prompts_of_gates: list[tuple[int, ...]] = []
    compute_features = deciders.gate.compute_features

    def note_prompts(model: Any, prompts: Any, name: str) -> torch.Tensor:
        prompts_of_gates.extend(prompts)
        return compute_features(model, prompts, name)

    monkeypatch.setattr(deciders.gate, "compute_features", note_prompts)
    summary = train_with_wins(tmp_path / "prism", path, monkeypatch).summary
    assert summary.queries == 8
    subject = backend()
    chats = [task.chat(()) for task in load_tasks_with_form(str(path))]
    for option, read in (("", chats[0][:1]), ("@gate=every", chats[0])):
        control = parse(f"prism:{tmp_path / 'prism'}{option}")
        assert subject.request(Ask(chats[0], 0, control)).gate_ids in prompts_of_gates
        assert subject.ids(Ask(read, 0)) in prompts_of_gates
    assert len(prompts_of_gates) == 16


def test_as_a_control_every_turn_is_answered_as_its_gate_says(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "prism"
    train_with_wins(folder, tasks, monkeypatch)
    texts = [f"{kind} number {i}?" for kind in ("talk", "other") for i in range(16)]
    bare = [Ask((message("user", text),), i) for i, text in enumerate(texts)]
    subject = backend()
    with open_adapter(subject, folder) as adapter:
        on = decide(subject, adapter, bare)
        names = [adapter.name if one else "" for one in on]
        texts_alone = [reply.text for reply in subject.reply(bare, SHORT, names)]
    assert any(on) and not all(on)
    own = backend()
    with_adapter = [
        Ask(agent_view(ANN.full, [], text), i, parse(f"prism:{folder}"))
        for i, text in enumerate(texts)
    ]
    plain = [replace(ask, control=NONE) for ask in with_adapter]
    together = [reply.text for reply in own.reply([*with_adapter, *plain], SHORT)]
    assert together[: len(with_adapter)] == texts_alone
    assert together[len(with_adapter) :] == [reply.text for reply in backend().reply(plain, SHORT)]
    stays = f"prism:{folder}@system=stays"
    request = own.request(replace(with_adapter[0], control=parse(stays)))
    assert request.ids == own.ids(plain[0])
    assert request.gate_ids == own.ids(bare[0])
    with pytest.raises(ControlError, match="without an adapter"):
        own.likelihoods(with_adapter[:1], [["a"]])
    # Value vectors are those with the adapter, of layers after the first.
    for ask in (with_adapter[on.index(True)], with_adapter[on.index(False)]):
        pairs = zip(own.values(ask), own.values(bare_of(ask)), strict=True)
        same = [torch.allclose(a, b, atol=1e-5) for a, b in pairs]
        assert same[0] and all(same) != (ask is with_adapter[on.index(True)])


def bare_of(ask: Ask) -> Ask:
    """What the adapter's rows see: the chat without its persona."""
    return replace(ask, chat=ask.chat[1:], control=NONE)


def test_a_server_answers_every_request_as_the_gate_says(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "prism"
    train_with_wins(folder, tasks, monkeypatch)
    texts = [f"{kind} number {i}?" for kind in ("talk", "other") for i in range(8)]
    control = f"prism:{folder}"
    own = [Ask(agent_view(ANN.full, [], text), 5, parse(control)) for text in texts]
    plain_texts = [reply.text for reply in backend().reply(own, SHORT)]
    with serve_app(create_app(backend(), control=control)) as url, client(url) as ai:
        control_texts = [
            ai.chat.completions.create(
                model="small",
                messages=[
                    {"role": "system", "content": ANN.full},
                    {"role": "user", "content": text},
                ],
                seed=5,
                temperature=0,
                max_tokens=6,
            )
            for text in texts
        ]
    assert [one.choices[0].message.content for one in control_texts] == plain_texts
    assert control_texts[0].holdfast["control"] == control


def test_compare_scores_it_on_the_personas_it_was_trained_on(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "prism"
    train_with_wins(folder, tasks, monkeypatch)
    ann = replace(persona("xyz"), prompt=ANN.full)
    both = Suite("two", (ann, persona("birch")), ("Hello.",), ("So it is.",))
    control = f"prism:{folder}"
    out = tmp_path / "run"
    settings = {"pairs": 2, "rounds": 1, "sampling": SHORT, "questions": "none", "out": out}
    comparison = compare(backend(), controls=[control], suite=both, **settings)
    none, prism = comparison.rows
    assert (none.n, prism.n) == (2, 1) and prism.stability is not None
    assert (none.system_prompt, prism.system_prompt) == ("stays", "dropped")
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert any(name.endswith("gate.safetensors") for name in manifest["control_files"])
    with pytest.raises(ControlError, match="not trained on the persona"):
        drift(backend(), suite=both, pairs=2, rounds=1, control=control)
    about = folder / ABOUT
    about.write_text(about.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(RunError, match="holds another run"):
        compare(backend(), controls=[control], suite=both, **settings)


@pytest.mark.parametrize(
    ("control", "sentence"),
    [
        ("prism:{}+anchor", "prism:.*@system=stays"),
        ("prism:{}+reminder:1", "holds a system prompt that prism drops"),
        ("prism:{}+route:{}", "decide by message"),
        ("prism:{}@layers=1", "use system=stays"),
        ("prism:", "names no folder"),
    ],
)
def test_controls_that_prism_cannot_be_joined_with_are_refused(
    tmp_path: Path, control: str, sentence: str
) -> None:
    with pytest.raises(ControlError, match=sentence):
        parse(control.format(tmp_path, tmp_path))


def test_an_adapter_of_another_model_and_one_that_is_not_there_are_refused_as_controls(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with_wins(tmp_path / "prism", tasks, monkeypatch)
    assert "whose weights are not those" in str(
        backend(1).refusal(parse(f"prism:{tmp_path / 'prism'}"))
    )
    assert "holds no trained PRISM" in str(backend().refusal(parse(f"prism:{tmp_path}")))
    with (
        pytest.raises(ControlError, match="decides by message"),
        hold(model("llama"), f"prism:{tmp_path / 'prism'}", span=(0, 3)),
    ):
        pass
    with (
        pytest.raises(ControlError, match="rewrites the chat"),
        hold(model("llama"), f"route:{tmp_path / 'prism'}", span=(0, 3)),
    ):
        pass


def test_the_model_is_as_it_was_after_training_and_routing(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = backend()
    names = [name for name, _ in own.engine.model.named_modules()]
    train_with_wins(tmp_path / "prism", tasks, monkeypatch)
    with open_adapter(own, tmp_path / "prism"):
        pass
    assert [name for name, _ in own.engine.model.named_modules()] == names
    assert own.describe() == backend().describe()


def test_every_arm_is_scored_and_the_gate_costs_nothing_where_it_is_off(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with_wins(tmp_path / "prism", tasks, monkeypatch)
    others = other_tasks(tasks, tmp_path)
    monkeypatch.setitem(NOTES, "small", "It is a toy.")
    summary = evaluate(backend(), tmp_path / "prism", tasks=str(others), samples=1, **BRIEF).summary
    assert list(_arm_lines(summary))[-1] == summary.note == "It is a toy."
    rows = {row.arm: row for row in summary.rows}
    assert tuple(rows) == tuple(arm for arm in ARMS if arm != "every turn")
    assert rows["base"].against["base"].delta == 0
    assert list(rows["base"].against["base"].interval) == [0, 0]
    assert (rows["base"].routed, rows["always"].routed) == (0, 1)
    assert 0 <= (rows["prism"].routed or 0) <= 1
    scores = {arm: row.overall or 0 for arm, row in rows.items()}
    assert scores["oracle"] >= max(scores["base"], scores["always"])
    with pytest.raises(HoldfastError, match=r"not trained on .*dropped 32 that were trained on"):
        evaluate(backend(), tmp_path / "prism", tasks=str(tasks), samples=1, **BRIEF)
    with pytest.raises(ModelError, match="whose weights are not those"):
        evaluate(backend(seed=1), tmp_path / "prism", tasks=str(others))


def test_tasks_that_an_arm_has_no_persona_for_are_said(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_with_wins(tmp_path / "prism", tasks, monkeypatch)
    others = other_tasks(tasks, tmp_path)
    text = others.read_text("utf-8").replace('"category": "other"', '"category": "new"')
    others.write_text(text, encoding="utf-8")
    monkeypatch.setattr(models, "load", lambda name, **options: backend())
    args = ["--adapter", str(tmp_path / "prism"), "--tasks", str(others), "--samples", "1"]
    texts = {}
    for more in ([], ["--json"]):
        run_command("prism", "eval", *args, "--max-new-tokens", "4", *more)
        texts[bool(more)] = capsys.readouterr().out
    assert "matched: no persona for 16 tasks, asked as base: new 16\n" in texts[False]
    assert json.loads(texts[True])["without_persona"] == {"matched": {"new": 16}}


def test_queries_and_tasks_end_with_the_same_line_about_the_answer(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = "Answer in one word."
    monkeypatch.setitem(FEW, "form", line)
    train_with_wins(tmp_path / "prism", tasks, monkeypatch)
    about = read_about(tmp_path / "prism")
    assert len(about["trained_on"]) == 32
    assert all(text.endswith(f"?\n\n{line}") for text in about["trained_on"])
    monkeypatch.setitem(FEW, "form", "Answer in two words.")
    with pytest.raises(RunError, match=r"another run: form was .*one word.*two words"):
        train_with_wins(tmp_path / "prism", tasks, monkeypatch)
    others, out = other_tasks(tasks, tmp_path), tmp_path / "eval"
    settings = {"tasks": str(others), "samples": 1, "form": line, "out": out}
    summary = evaluate(backend(), tmp_path / "prism", **settings, **BRIEF).summary
    manifest = json.loads((out / "manifest.json").read_text("utf-8"))
    assert all(task["turns"][-1].endswith(f"?\n\n{line}") for task in manifest["tasks"])
    assert summary.tasks == 32
    cut = {row.arm: row.cut for row in summary.rows}
    assert cut.pop("oracle") is None and set(cut.values()) == {1.0}  # a random model never ends
    for form in ("Answer in two words.", ""):
        with pytest.raises(HoldfastError, match=r"dropped 32 that were trained on"):
            evaluate(backend(), tmp_path / "prism", tasks=str(tasks), form=form, **BRIEF)


def test_tasks_of_several_turns_are_asked_with_one_decision_and_with_one_for_every_turn(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with_wins(tmp_path / "prism", tasks, monkeypatch)
    others = other_tasks(tasks, tmp_path)
    rows = [json.loads(line) for line in others.read_text("utf-8").splitlines()]
    texts = [json.dumps(row | {"turns": [*row["turns"], "talk number 4?"]}) for row in rows]
    others.write_text("\n".join(texts), encoding="utf-8")
    out = tmp_path / "eval"
    summary = evaluate(
        backend(), tmp_path / "prism", tasks=str(others), samples=1, out=out, **BRIEF
    ).summary
    assert tuple(row.arm for row in summary.rows) == ARMS
    lines = (out / "records.jsonl").read_text("utf-8").splitlines()
    routing = {
        arm: [record["routed"] for record in map(json.loads, lines) if record["arm"] == arm]
        for arm in ("prism", "every turn", "random")
    }
    assert all(one[0] == one[1] for one in routing["prism"] + routing["random"])
    assert any(one[0] != one[1] for one in routing["every turn"])
    assert [one[0] for one in routing["prism"]] == [one[0] for one in routing["every turn"]]


def test_prism_s_answers_in_an_evaluation_are_those_that_the_control_gives(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are taken from base's and always', so that only the gate makes a difference."""
    folder, out = tmp_path / "prism", tmp_path / "eval"
    train_with_wins(folder, tasks, monkeypatch)
    source = str(other_tasks(tasks, tmp_path))
    evaluate(backend(), folder, tasks=source, samples=1, out=out, **BRIEF)
    lines = map(json.loads, (out / "records.jsonl").read_text("utf-8").splitlines())
    records = {one["task"]: one for one in lines if one["arm"] == "prism"}
    asks = [
        Ask(task.chat(()), seed_of("prism eval", 0, task.id, 0, 0), parse(f"prism:{folder}"))
        for task in load_tasks_with_form(source)
        if task.id in records
    ]
    texts = [reply.text for reply in backend().reply(asks, SHORT)]
    assert texts == [record["replies"][0] for record in records.values()]
    assert {record["routed"][0] for record in records.values()} == {True, False}


def test_evaluation_drops_what_was_trained_on_by_its_text_and_says_how_many(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Questions of a file are numbered by their lines, which say nothing of what they ask."""
    train, new = tmp_path / "train.jsonl", tmp_path / "new.jsonl"
    for path, word in ((train, "river"), (new, "bridge")):
        rows = [{"kind": "talk", "question": f"{word} {i}?", "answer": "3"} for i in range(20)]
        path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    train_with_wins(tmp_path / "prism", train, monkeypatch)
    settings = {"samples": 1, **BRIEF}
    summary = evaluate(backend(), tmp_path / "prism", tasks=str(new), **settings).summary
    assert summary.tasks == 20 and summary.left_out == ()
    assert summary.dropped == DroppedTasks(needs_judge=0, trained_on=0, repeated=0)
    file = tmp_path / "mixed.jsonl"
    lines = [*train.read_text("utf-8").split("\n")[:7], *new.read_text("utf-8").split("\n")]
    file.write_text("\n".join([*lines, lines[-1].replace("bridge", "BRIDGE")]), encoding="utf-8")
    summary = evaluate(backend(), tmp_path / "prism", tasks=str(file), **settings).summary
    assert summary.tasks == 20
    assert summary.dropped == DroppedTasks(needs_judge=0, trained_on=7, repeated=1)
    assert summary.left_out == (*(f"line-{i}" for i in range(1, 8)), "line-28")


def test_a_gate_is_measured_on_no_text_that_it_learned_from() -> None:
    """States are random and labels too, and every query is there four times."""
    torch.manual_seed(0)
    h = torch.randn(30, 8).repeat(4, 1)
    wins = [bool(x) for x in torch.randint(0, 2, (30,))] * 4
    texts = [*range(30)] * 4
    by_text = held_out_probabilities(h, wins, texts, texts, 0)
    assert auc(by_text, wins) < 0.7
    personas = [str(i % 5) for i in range(120)]
    assert auc(held_out_probabilities(h, wins, personas, texts, 0), wins) < 0.7


def test_a_judge_model_scores_what_no_rule_can_and_once_only(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with_wins(tmp_path / "prism", tasks, monkeypatch)
    open_ended = tmp_path / "open.jsonl"
    rows = [{"category": "talk", "turns": [f"Say {i}."], "rubric": "It is kind."} for i in range(2)]
    open_ended.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    judge = Actor(lambda ask: Reply('{"reason": "-", "score": 4}'), name="judge")
    settings = {"tasks": str(open_ended), "samples": 1, **BRIEF, "out": tmp_path / "run"}
    summary = evaluate(backend(), tmp_path / "prism", judge_model=judge, **settings).summary
    assert {row.overall for row in summary.rows} == {0.75}
    assert all("Ann" not in m["content"] for call in judge.calls for a in call for m in a.chat)
    calls = len(judge.calls)
    assert evaluate(backend(), tmp_path / "prism", judge_model=judge, **settings).summary.rows
    assert len(judge.calls) == calls
    with pytest.raises(HoldfastError, match="no task is left"):
        evaluate(backend(), tmp_path / "prism", tasks=str(open_ended), samples=1)


def test_what_cannot_be_trained_is_refused(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelError, match="needs a model on this machine"):
        pipeline.train(Actor(), out=tmp_path / "a")
    monkeypatch.setattr(stages, "find_scorers", lambda own, tasks: lambda pair: lambda text: 0.0)
    options: dict[str, Any] = {"experts": [ANN, BOB], "tasks": str(tasks), "trial": False, **BRIEF}
    with pytest.raises(ModelError, match=r"won any of 32.* cut 64 of 64 answers"):
        pipeline.train(backend(), out=tmp_path / "b", **options)
    monkeypatch.setattr(stages, "find_scorers", lambda own, tasks: None)
    with pytest.raises(ModelError, match="never said A, B or TIE"):
        pipeline.train(backend(), out=tmp_path / "c", **options)
    with pytest.raises(RunError, match="no trained PRISM"):
        read_about(tmp_path / "nothing")


def test_personas_that_win_every_query_end_a_training_with_what_to_do(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    always = lambda pair: lambda text: float(text == pair.persona)  # noqa: E731
    monkeypatch.setattr(stages, "find_scorers", lambda own, tasks: always)
    options: dict[str, Any] = {"experts": [ANN, BOB], "tasks": str(tasks), "trial": False, **BRIEF}
    with pytest.raises(ModelError, match=r"won all 32 queries.*add tasks .*\(`tasks`\)"):
        pipeline.train(backend(), out=tmp_path / "prism", **options)


def test_answers_that_the_limit_cuts_end_a_training_after_the_first_few(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "find_scorers", lambda own, tasks: lambda pair: lambda text: 0.0)
    own, out = backend(), tmp_path / "prism"
    replies: list[int] = []
    reply = own.reply

    def count(asks: Any, *rest: Any) -> Any:
        replies.append(len(asks))
        return reply(asks, *rest)

    monkeypatch.setattr(own, "reply", count)
    monkeypatch.setattr(pipeline, "_check_plan", lambda training: None)  # which measures a step
    with pytest.raises(HoldfastError, match=r"100% of 12 replies without a persona .* of 6 tokens"):
        pipeline.train(own, out=out, experts=[ANN, BOB], tasks=str(tasks), **BRIEF)
    assert replies == [2 * 2 * 6]  # six queries of each persona, with it and without
    assert not (out / "answers" / "records.jsonl").exists() and not (out / "verdicts").exists()
    # What is known to be right in spite of the limit is no reason to stop.
    once = lambda pair: lambda text: float(pair.query.number % 2)  # noqa: E731
    monkeypatch.setattr(stages, "find_scorers", lambda own, tasks: once)
    with pytest.raises(ModelError, match="no persona won any of 32 queries"):
        pipeline.train(own, out=out, experts=[ANN, BOB], tasks=str(tasks), **BRIEF)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"queries": 0}, "`queries` is 1 or more, not 0"),
        ({"epochs": 0}, "`epochs` is 1 or more, not 0"),
        ({"rank": 0}, "`rank` is 1 or more, not 0"),
        ({"top": -4}, "`top` is 0 or more, not -4"),
        ({"learning_rate": -1.0}, "`learning_rate` is above 0, not -1"),
        ({"learning_rate": float("nan")}, "`learning_rate` is above 0, not nan"),
        ({"max_new_tokens": 0}, "`max_new_tokens` must be at least 1"),
    ],
)
def test_numbers_that_cannot_be_used_are_refused_before_anything_is_asked(
    changes: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(HoldfastError, match=sentence):
        pipeline.train(backend(), out=tmp_path / "prism", **changes)
    assert not (tmp_path / "prism").exists()


def test_an_evaluation_of_no_samples_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HoldfastError, match="`samples` is 1 or more, not 0"):
        evaluate(backend(), tmp_path, samples=0)


def test_the_folder_of_another_run_is_refused_before_anything_is_asked(
    tmp_path: Path, tasks: Path
) -> None:
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunError, match="is not empty and holds another run; choose an empty"):
        pipeline.train(backend(), out=tmp_path, experts=[ANN, BOB], tasks=str(tasks), **BRIEF)
    assert [one.name for one in tmp_path.iterdir()] == ["manifest.json"]


def test_a_persona_that_the_tokenizer_would_tidy_is_seen_by_its_teacher() -> None:
    own = backend()
    own.tokenizer.clean_up_tokenization_spaces = True
    own.tokenizer.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output = True
    chat = ({"role": "user", "content": "Are you Ann?"},)
    assert two_views(own, "Soyez poli !", chat, "Oui").answer > 0


def test_a_teacher_without_the_persona_and_an_empty_set_are_refused(tmp_path: Path) -> None:
    own = backend()
    chat = ({"role": "user", "content": "Are you Ann?"},)
    with pytest.raises(ModelError, match="to the teacher alone"):
        two_views(own, "Ann", chat, "Yes.")
    with pytest.raises(ModelError, match="no persona won an answer"):
        distil(own, [], SMALL, tmp_path)
    same = two_views(own, "You are Bob.", chat, "Yes.")
    alike = same._replace(teacher=same.student)
    with pytest.raises(ModelError, match="changes nothing that could be distilled"):
        distil(own, [alike] * 4, SMALL, tmp_path)


def test_the_commands_print_what_scripts_rely_on(
    tmp_path: Path, tasks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    train_with_wins(tmp_path / "prism", tasks, monkeypatch)
    monkeypatch.setattr(models, "load", lambda name, **options: backend())
    others = other_tasks(tasks, tmp_path)
    args = ["--adapter", str(tmp_path / "prism"), "--tasks", str(others), "--samples", "1"]
    evaluate = partial(run_command, "prism", "eval", "--max-new-tokens", "4")
    assert evaluate(*args) == 0
    output = capsys.readouterr().out
    assert "32 tasks; dropped 0 that were trained on, 0 that repeat another" in output
    assert evaluate(*args, "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    fields = {"arm", "overall", "by_category", "interval", "routed"}
    assert all(fields <= row.keys() for row in rows)
    assert evaluate("--adapter", tmp_path / "nothing") == 2
    output = capsys.readouterr().err
    assert "holds no trained PRISM: name a folder" in output and "Errno" not in output


def test_without_peft_one_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    own = backend()
    chat = ({"role": "user", "content": "Are you Ann?"},)
    pair = two_views(own, "You are Bob.", chat, "Yes.")
    with pytest.raises(ModelError, match="needs peft: pip install"):
        distil(own, [pair], SMALL, tmp_path)
