"""Two runs of drift are paired conversation by conversation, or refused with what differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.actors import Actor, obey, suite

from holdfast.core.backend import Ask, Backend, Reply
from holdfast.core.errors import HoldfastError
from holdfast.core.records import as_record
from holdfast.evals.drift import drift
from holdfast.evals.gate.gate import gate
from holdfast.persona.suite import Suite
from holdfast.results.gate import GateSummary

Hold = Callable[..., Path]


def forgetful(share: int) -> Callable[[Ask], Reply]:
    """Obeys, but in `share` of a hundred answers after the first round."""

    def answer(ask: Ask) -> Reply:
        late = len(ask.chat) > 3
        return Reply("I forgot.") if late and ask.seed % 100 < share else obey(ask)

    return answer


@pytest.fixture
def hold(tmp_path: Path) -> Hold:
    def hold_run(name: str, share: int = 0, **changes: Any) -> Path:
        settings: dict[str, Any] = {"suite": suite(), "pairs": 30, "rounds": 2} | changes
        answer = settings.pop("answer", forgetful(share))
        model: Backend = Actor(answer)  # type: ignore[assignment]
        judge_model = settings.pop("judge_model", None)
        drift(
            model,
            out=tmp_path / name,
            judge_model=judge_model,
            filler=False,
            history_floor=False,
            user_persona=False,
            measure=False,
            **settings,
        )
        return tmp_path / name

    return hold_run


def test_a_weaker_candidate_slips(hold: Hold) -> None:
    summary = gate(hold("before"), hold("after", 60))
    assert summary.decision.verdict == "slips"
    assert summary.decision.n == 30 and summary.rounds == (1, 2)
    assert summary.baseline.stability == 1.0
    assert summary.candidate.stability == pytest.approx(1 + (summary.decision.change or 0))
    assert summary.sentence.startswith("Slips: stability 0.")


def test_a_candidate_that_is_better_holds(hold: Hold) -> None:
    assert gate(hold("before", 60), hold("after")).decision.verdict == "holds"


def test_a_small_run_cannot_tell_and_says_how_many_could(hold: Hold) -> None:
    summary = gate(hold("before", 10, pairs=6), hold("after", 30, pairs=6))
    assert summary.decision.verdict == "cannot tell"
    count = summary.decision.power.needed
    assert count is not None and count > 6
    power = f"To see a fall of 0.10 four times in five takes {count} conversations; 6 show one of"
    assert power in summary.sentence


def test_a_run_is_as_good_as_itself(hold: Hold) -> None:
    summary = gate(run := hold("before", 30, pairs=6), run)
    assert summary.decision.verdict == "holds" and summary.decision.same
    assert "nothing differs" in summary.sentence


def test_the_same_answers_under_another_control_are_no_proof(hold: Hold) -> None:
    summary = gate(hold("before", pairs=6), hold("after", pairs=6, control="window:9"))
    assert summary.decision.verdict == "cannot tell"
    assert summary.differences == ["control (none, window:9)"]


def test_the_largest_falls_come_first_with_an_answer_each(hold: Hold) -> None:
    summary = gate(hold("before"), hold("after", 60))
    changes = [one.change for one in summary.personas]
    assert changes == sorted(changes) and len(changes) == 6
    loss = summary.losses[0]
    assert loss.scores == (1.0, 0.0) and loss.candidate == "I forgot." and loss.round == 2
    assert len({one.persona for one in summary.losses}) == 3


def test_a_persona_that_gains_is_shown_with_no_loss(hold: Hold) -> None:
    def answer(ask: Ask) -> Reply:
        late = len(ask.chat) > 3
        return Reply("I forgot.") if late and ask.seed % 100 >= 85 else obey(ask)

    summary = gate(hold("before", 60), hold("after", answer=answer))
    falling = {one.persona for one in summary.personas if one.change < 0}
    assert (summary.decision.change or 0) > 0
    assert {one.persona for one in summary.losses} <= falling


def test_late_compares_the_last_quarter(hold: Hold) -> None:
    summary = gate(hold("before"), hold("after", 60), late=True)
    assert summary.rounds == (2, 2)


def test_conversations_that_one_run_lacks_are_left_out(hold: Hold) -> None:
    summary = gate(hold("before"), hold("after", pairs=12, rounds=1))
    assert (summary.decision.n, summary.baseline.unpaired, summary.candidate.unpaired) == (
        12,
        18,
        0,
    )
    assert summary.rounds == (1, 1)


def test_a_changed_prompt_is_compared_and_named(hold: Hold) -> None:
    before = suite()
    weak = tuple(
        replace(one, prompt=f"Perhaps {one.prompt}") if one.category == "memory" else one
        for one in before.personas
    )
    summary = gate(hold("before"), hold("after", 60, suite=replace(before, personas=weak)))
    assert summary.decision.verdict == "slips"
    assert summary.differences == ["prompt of memory-delta, memory-amber"]


def test_answers_that_could_not_be_had_are_no_fall(hold: Hold) -> None:
    def unreachable(ask: Ask) -> Reply:
        gone = ask.seed % 100 < 60 and len(ask.chat) > 3
        return (
            Reply("", "error", error="503")
            if gone and ask.chat[-1]["content"][0] == "W"
            else obey(ask)
        )

    summary = gate(hold("before"), hold("after", answer=unreachable))
    assert summary.candidate.errors > 10
    assert summary.decision.change == 0.0 and summary.decision.verdict != "slips"


def judge_chats(folder: Path, questions: Sequence[str], model: Backend | None = None) -> Path:
    """A run over recorded chats, one for each of some first messages."""
    lines = []
    for question in questions:
        pairs = ((question, "fjord"), ("Again?", "no"))
        messages = [
            {"role": role, "content": text}
            for pair in pairs
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]
        lines.append(json.dumps({"messages": messages}) + "\n")
    log = folder.with_suffix(".jsonl")
    log.write_text("".join(lines), encoding="utf-8")
    drift(model, out=folder, history=log, suite=suite(), agents=[suite().personas[0].id])
    return folder


def test_replies_that_were_judged_are_not_held_against_answers_to_probes(tmp_path: Path) -> None:
    judged = judge_chats(tmp_path / "judged", ["Which word?"])
    probed = judge_chats(tmp_path / "probed", ["Which word?"], Actor(obey))  # type: ignore[arg-type]
    with pytest.raises(HoldfastError, match=r"probed asked a model probes, .*judged judged"):
        gate(judged, probed)


def test_recorded_chats_are_paired_by_what_the_user_said_wherever_they_are(tmp_path: Path) -> None:
    before = judge_chats(tmp_path / "before", ["A?", "Hi", "B?", "Hi", "C?"])
    summary = gate(before, judge_chats(tmp_path / "after", ["C?", "Hi", "Hi", "B?"]))
    assert (summary.decision.n, summary.baseline.unpaired) == (4, 1)


def other(**changes: Any) -> Suite:
    """The suite with another first persona."""
    first, *rest = suite().personas
    return replace(suite(), personas=(replace(first, **changes), *rest))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"seed": 1}, "seed was 0 .* is 1"),
        ({"runs": 1}, "runs was 2 .* is 1"),
        ({"suite": replace(suite(8), name="other")}, r"suites differ \(small and other, with 6"),
        ({"suite": suite(8)}, r"personas differ \(memory-grain is in one"),
        ({"topic": "Hello?"}, "conversations differ"),
        ({"suite": other(judge={"name": "contains", "text": "x"})}, "judge of .* memory-amber"),
        ({"suite": other(probes=("Why?",))}, "probes of the persona memory-amber differ"),
        ({"screen": True}, "screenings kept different personas"),
    ],
)
def test_runs_measured_otherwise_are_refused_by_name(
    hold: Hold, changes: dict[str, Any], sentence: str
) -> None:
    before, after = hold("before"), hold("after", **changes)
    with pytest.raises(HoldfastError, match=sentence):
        gate(before, after)


def test_other_judge_models_are_refused(hold: Hold) -> None:
    rubric_suite = suite()
    rubric = {"name": "rubric", "criteria": "It says its word."}
    rubric_suite = replace(
        rubric_suite, personas=tuple(replace(p, judge=rubric) for p in rubric_suite.personas)
    )
    judges = [Actor(lambda ask: Reply("5"), name=name) for name in ("one", "two")]
    before, after = (
        hold(one.name, suite=rubric_suite, pairs=3, rounds=1, judge_model=one) for one in judges
    )
    with pytest.raises(HoldfastError, match="judge models differ \\(one and two\\)"):
        gate(before, after)
    assert gate(before, before).decision.same
    (before / "verdicts.jsonl").unlink()
    with pytest.raises(HoldfastError, match="lacks verdicts"):
        gate(before, before)


def test_an_unfinished_run_is_refused(hold: Hold) -> None:
    before, after = hold("before"), hold("after")
    lines = (after / "records.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (after / "records.jsonl").write_text("".join(lines[:-5]), encoding="utf-8")
    with pytest.raises(HoldfastError, match=r"not finished \(5 of 30"):
        gate(before, after)


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        (None, "holds no run"),
        ("[]", "is a run of None"),
        ('{"command": "compare"}', "is a run of compare"),
        ('{"command": "drift", "personas": 1}', "repeat the run"),
    ],
)
def test_a_folder_of_something_else_is_refused(
    tmp_path: Path, hold: Hold, manifest: str | None, sentence: str
) -> None:
    before, folder = hold("before", pairs=3), tmp_path / "folder"
    folder.mkdir()
    if manifest:
        (folder / "manifest.json").write_text(manifest, encoding="utf-8")
        (folder / "records.jsonl").write_text('{"conversation": 0, "round": 0}\n')
    with pytest.raises(HoldfastError, match=sentence):
        gate(before, folder)


def test_recorded_chats_are_paired_by_what_their_users_said(tmp_path: Path) -> None:
    runs = []
    for name, reply in (("before", "amber"), ("after", "nothing")):
        chats = tmp_path / f"{name}.jsonl"
        lines = [
            {"persona": "memory-amber", "messages": [
                {"role": "user", "content": f"Question {i}?"},
                {"role": "assistant", "content": reply}]}
            for i in range(12)
        ]  # fmt: skip
        chats.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        drift(None, history=chats, suite=suite(), out=tmp_path / name)
        runs.append(tmp_path / name)
    summary = gate(*runs)
    assert (summary.decision.verdict, summary.decision.change) == ("slips", -1.0)
    assert summary.losses[0].candidate == "nothing"


@pytest.mark.parametrize("margin", [0.0, 1.0, -0.1, float("nan")])
def test_a_margin_lies_between_0_and_1(margin: float) -> None:
    with pytest.raises(HoldfastError, match="`margin`"):
        gate("a", "b", margin=margin)


def test_the_summary_is_one_flat_object(hold: Hold) -> None:
    summary = gate(run := hold("before", pairs=3), run)
    assert isinstance(summary, GateSummary)
    record = as_record(summary)
    assert {"verdict", "change", "interval", "margin", "n", "power", "sentence"} <= record.keys()
