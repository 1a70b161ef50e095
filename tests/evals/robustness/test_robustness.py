"""Accuracy under every persona, with models made of functions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from actors import Actor, rewrite_summary
from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError, RunError
from holdfast.evals.robustness.persona_lottery import expected_best
from holdfast.evals.robustness.robustness import Robustness, estimate_robustness, robustness
from holdfast.evals.tasks.tasks import Task, load_items
from holdfast.report.robustness import remarks, render
from holdfast.results.robustness import PersonaAccuracy, PoolPersona

PEOPLE = (
    PoolPersona("counter", "helpful", "train", "You count."),
    PoolPersona("baker", "irrelevant", "train", "You bake."),
    PoolPersona("guesser", "harmful", "held-out", "You guess."),
    PoolPersona("shouter", "harmful", "held-out", "You SHOUT."),
)


def answer(ask: Ask) -> Reply:
    """Right under who counts, wrong under who guesses; who shouts is right in another form."""
    text = " ".join(m["content"] for m in ask.chat)
    number = int(ask.chat[-1]["content"].splitlines()[-1].split()[0])
    if "guess" in text:
        return Reply("It is 7.")
    right = number % 2 == 0 or "count" in text
    reply = f"It is {number if right else 999}."
    return Reply(reply.upper() if "SHOUT" in text else reply)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    rows = [
        {"question": f"{i} and nothing?", "answer": i, "kind": "even" if i % 2 == 0 else "odd"}
        for i in range(20, 40)
    ]
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def row(result: Robustness, id_: str) -> PersonaAccuracy:
    (one,) = [r for r in result.rows if r.id == id_]
    return one


def test_the_summary_has_what_the_contract_names_and_it_fits_together(tasks: Path) -> None:
    result = robustness(Actor(answer), tasks=tasks, personas=PEOPLE)
    s = result.summary.numbers
    assert (s.personas, s.items) == (4, 20)
    assert [row(result, p.id).accuracy for p in PEOPLE] == [1, 0.5, 0, 0.5]
    assert (s.mean, s.worst, s.best, s.ratio, s.pss) == (0.5, 0, 1, 0, 0)
    assert s.all_correct == 0
    assert s.std == pytest.approx(0.3536)
    assert s.lottery == pytest.approx(expected_best([1, 0.5, 0, 0.5]), abs=1e-4)
    assert (s.lottery[0], s.lottery[-1]) == (s.mean, s.best)
    assert set(s.intervals) == {"mean", "worst", "best", "ratio", "std", "all_correct", "pss"}
    intervals = [s.intervals[name] for name in ("mean", "all_correct", "pss")]
    intervals += [one.interval for one in (*s.halves.values(), *s.spread.values())]
    assert all(low <= high for low, high in intervals)
    assert {s.intervals[name] for name in ("worst", "best", "ratio", "std")} == {None}
    assert "biased" in s.interval_note
    assert result.summary.verifiers == {"numeric": 20}
    assert set(s.permuted) == {"worst", "best", "ratio", "std"}
    assert s.p_value < 0.01


def test_a_reply_that_the_limit_of_tokens_cut_is_wrong_by_the_final_reading(tasks: Path) -> None:
    """As PerMix pays it."""

    def cut(ask: Ask) -> Reply:
        reply = answer(ask)
        return Reply(reply.text, stop="length") if "bake" in str(ask.chat) else reply

    final, lenient = (
        robustness(Actor(cut), tasks=tasks, personas=PEOPLE, reading=reading)
        for reading in ("final", "lenient")
    )
    assert (row(final, "baker").accuracy, row(lenient, "baker").accuracy) == (0, 0.5)
    assert row(final, "counter").accuracy == 1


def test_items_in_nearly_the_same_words_are_drawn_together_and_said(
    tasks: Path, tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in tasks.read_text(encoding="utf-8").splitlines()]
    again = [{**row, "question": row["question"].replace("?", ", please?")} for row in rows]
    path = tmp_path / "twice.jsonl"
    path.write_text("\n".join(map(json.dumps, rows + again)), encoding="utf-8")
    once = robustness(Actor(answer), tasks=tasks, personas=PEOPLE)
    twice = robustness(Actor(answer), tasks=path, personas=PEOPLE)
    one, two = once.summary.numbers, twice.summary.numbers
    assert ((one.items, one.texts), (two.items, two.texts)) == ((20, 20), (40, 20))
    assert two.halves["worst"].interval == one.halves["worst"].interval
    for shorter, longer in ((row(once, "baker"), row(twice, "baker")), (one.none, two.none)):
        width, again_width = (ends[1] - ends[0] for ends in (shorter.interval, longer.interval))
        assert again_width == pytest.approx(width, rel=0.06)
    notes = " ".join(remarks(twice.summary))
    assert "20 of the 40 items differ" in notes
    assert "near-duplicates" not in " ".join(remarks(once.summary))
    assert "; a persona changes that by 0.00 on average (" in notes
    page = render(once.summary)
    assert "No interval for worst, best, their ratio and the standard deviation" in page


def test_a_change_of_phrasing_is_not_a_loss_of_reasoning(tasks: Path) -> None:
    result = robustness(Actor(answer), tasks=tasks, personas=PEOPLE)
    loud = row(result, "shouter")
    assert (loud.lenient, loud.strict, loud.strict_failures) == (0.5, 0, 1)
    assert loud.lenient_failures == 0
    assert result.summary.numbers.extraction_failures == {
        "counter": 0,
        "baker": 0,
        "guesser": 0,
        "shouter": 1,
    }
    strict = robustness(Actor(answer), tasks=tasks, personas=PEOPLE, reading="strict")
    assert row(strict, "shouter").accuracy == 0
    assert strict.summary.numbers.mean == result.summary.numbers.strict.mean


def test_the_final_reading_wants_an_answer_that_commits_itself(tasks: Path) -> None:
    def hedge(ask: Ask) -> Reply:
        text = answer(ask).text
        return Reply(f"Maybe {text}" if "SHOUT" in str(ask.chat) else text)

    lenient, final = (
        robustness(Actor(hedge), tasks=tasks, personas=PEOPLE, reading=reading)
        for reading in ("lenient", "final")
    )
    assert (row(lenient, "shouter").accuracy, row(final, "shouter").accuracy) == (0.5, 0)
    assert row(lenient, "baker").accuracy == row(final, "baker").accuracy == 0.5
    assert final.answers.shares["final"].shape == (5, 20)


def test_a_seed_below_zero_is_a_seed(tasks: Path) -> None:
    result = robustness(Actor(answer), tasks=tasks, personas=PEOPLE, seed=-1)
    assert result.summary.seed == -1 and result.summary.numbers.items == 20


def test_every_persona_is_compared_with_none_on_the_same_items(tasks: Path) -> None:
    result = robustness(Actor(answer), tasks=tasks, personas=PEOPLE)
    assert result.summary.numbers.none.accuracy == 0.5
    helps = row(result, "counter")
    assert helps.delta == 0.5
    assert helps.delta_interval[0] > 0
    assert helps.by_category == {"even": 1, "odd": 1}
    kinds = {one.kind: one.mean for one in result.summary.numbers.kinds}
    assert kinds == {"helpful": 1, "irrelevant": 0.5, "harmful": 0.25, "all": 0.5}


def test_all_personas_draw_from_one_seed_and_differ_in_the_persona_alone(tasks: Path) -> None:
    model = Actor(answer)
    robustness(model, tasks=tasks, personas=PEOPLE, samples=2)
    asks = [ask for call in model.calls for ask in call if "20 and" in str(ask.chat)]
    assert len(asks) == 10
    assert len({ask.seed for ask in asks}) == 2
    assert {ask.chat[-1]["content"] for ask in asks} == {"20 and nothing?"}


def test_what_the_worst_persona_loses_is_shown_with_both_replies(tasks: Path) -> None:
    items = robustness(Actor(answer), tasks=tasks, personas=PEOPLE).summary.lost
    assert len(items) == 6
    first = items[0]
    assert (first.persona, first.gold, first.without) == (
        "guesser",
        ("20",),
        ("It is 20.",),
    )
    assert first.with_persona == ("It is 7.",)


def test_of_several_samples_one_that_the_worst_persona_loses_is_shown(tasks: Path) -> None:
    def lucky(ask: Ask) -> Reply:
        """Right without a persona; who guesses is right in some samples."""
        number = ask.chat[-1]["content"].split()[0]
        guesses = len(ask.chat) > 1 and "guess" in ask.chat[0]["content"]
        return Reply(f"It is {7 if guesses and ask.seed % 3 else number}.")

    items = robustness(Actor(lucky), tasks=tasks, personas=PEOPLE, samples=4).summary.lost
    assert items and {one.with_persona for one in items} == {("It is 7.",)}


def test_a_search_finds_who_counts_on_half_of_the_items(tasks: Path) -> None:
    s = robustness(Actor(answer), tasks=tasks, personas=PEOPLE, search=True).summary.numbers.search
    assert s is not None
    assert (s.persona, s.accuracy, s.none, s.gain) == ("counter", 1, 0.5, 0.5)
    assert s.development_items + s.items == 20
    assert s.asked == 4 * s.development_items
    assert len(s.curve) == 4


def test_personas_that_cannot_be_told_apart_are_refused_before_a_reply(tasks: Path) -> None:
    model = Actor(answer)
    with pytest.raises(HoldfastError, match="two personas have the id baker"):
        robustness(model, tasks=tasks, personas=(*PEOPLE, PEOPLE[1]))
    with pytest.raises(HoldfastError, match="at least 2 personas and 2 tasks are needed, not 0"):
        robustness(model, tasks=tasks, personas=())
    assert model.calls == []


def test_an_item_that_one_persona_could_not_be_asked_is_left_out_for_all(tasks: Path) -> None:
    def full(ask: Ask) -> Reply:
        over = "count" in str(ask.chat) and "21 and" in str(ask.chat)
        return Reply("", "overflow") if over else answer(ask)

    s = robustness(Actor(full), tasks=tasks, personas=PEOPLE).summary.numbers
    assert (s.items, s.missing) == (19, ("line-2",))
    with pytest.raises(HoldfastError, match="only 0 of 20 items were answered"):
        robustness(Actor(lambda ask: Reply("", "error")), tasks=tasks, personas=PEOPLE)


def test_a_run_goes_on_where_it_stopped_and_another_is_refused(tasks: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    whole = robustness(Actor(answer), tasks=tasks, personas=PEOPLE, out=out)
    records = out / "records.jsonl"
    before = records.read_bytes()
    lines = before.splitlines(keepends=True)
    records.write_bytes(b"".join(lines[:5]) + lines[5][:20])
    model = Actor(answer)
    again = robustness(model, tasks=tasks, personas=PEOPLE, out=out)
    assert again.rows == whole.rows
    assert records.read_bytes() == before
    # A batch that was cut off is asked again whole, as its arithmetic may depend on it.
    assert sum(map(len, model.calls)) == 20 * 5
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "The persona lottery" in page
    assert "not that paper’s number" in page
    with pytest.raises(RunError):
        robustness(Actor(answer), tasks=tasks, personas=PEOPLE, samples=2, out=out)


def test_a_plan_is_made_without_comparing_tasks_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    comparisons: list[object] = []
    monkeypatch.setattr(Task, "__eq__", lambda one, other: bool(comparisons.append(one)))
    estimate_robustness(Actor(), tasks="mini", personas=PEOPLE, tasks_per_category=2)
    assert comparisons == []


def test_another_reading_or_search_needs_no_new_replies(tasks: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    robustness(Actor(answer), tasks=tasks, personas=PEOPLE, out=out)
    rewrite_summary(out, seconds=99.5)
    model = Actor(answer)
    result = robustness(
        model, tasks=tasks, personas=PEOPLE, reading="strict", pss="worst", search=True, out=out
    )
    assert model.calls == [] and result.summary.seconds == 99.5
    assert result.summary.numbers.pss == result.summary.numbers.worst


def test_the_persona_can_stand_before_the_users_message(tasks: Path) -> None:
    model = Actor(answer)
    robustness(model, tasks=tasks, personas=PEOPLE, placement="user")
    roles = {message["role"] for call in model.calls for ask in call for message in ask.chat}
    assert roles == {"user"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"samples": 0}, "at least 1 sample"),
        ({"placement": "sky"}, "no placement 'sky'"),
        ({"reading": "kind"}, "no reading 'kind'"),
        ({"pss": "paper"}, "no PSS 'paper'"),
        ({"verifier": "math2"}, "no verifier 'math2'"),
        ({"personas": PEOPLE[:1]}, "at least 2 personas"),
        ({"personas": "nothing.toml"}, "no personas in"),
        ({"tasks": "nothing.jsonl"}, "no tasks in"),
        ({"personas": "core", "split": "half"}, "no split 'half'"),
    ],
)
def test_what_cannot_be_asked_is_refused(tasks: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(HoldfastError, match=message):
        robustness(Actor(answer), **{"tasks": tasks, "personas": PEOPLE, **wrong})


def test_a_task_without_a_gold_answer_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"category": "a", "turns": ["?"], "rubric": "Nice?"}\n', encoding="utf-8")
    model = Actor(answer)
    with pytest.raises(HoldfastError, match="no gold answer and no judge"):
        robustness(model, tasks=path, personas=PEOPLE)
    assert model.calls == []


@pytest.mark.parametrize(
    ("name", "rows", "kind", "ends"),
    [
        (
            "gsm8k",
            [{"question": f"{i} + 1?", "answer": f"Well.\n#### {i + 1}"} for i in range(4)],
            "numeric",
            "and the number alone.",
        ),
        (
            "math-500",
            [
                {
                    "problem": f"{i} + 1?",
                    "answer": str(i + 1),
                    "subject": "Algebra",
                    "solution": "-",
                }
                for i in range(4)
            ],
            "math",
            "in \\boxed{}.",
        ),
    ],
)
def test_hub_tasks_say_where_the_answer_is_to_stand(
    name: str, rows: list[dict[str, str]], kind: str, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets", reason="the extra `tasks` is not installed")
    dataset = datasets.Dataset.from_list(rows)
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: dataset)
    items = load_items(name, n=4)
    assert len(items) == 4
    assert all(task.turns[0].endswith(ends) for task in items)
    assert load_items(name, n=4, form="")[0].turns[0].endswith("+ 1?")

    def solve(ask: Ask) -> Reply:
        number = int(ask.chat[-1]["content"].split()[0]) + 1
        return Reply(f"Sure. \\boxed{{{number}}}" if kind == "math" else f"Sure.\n#### {number}")

    s = robustness(Actor(solve), tasks=name, tasks_per_category=4, personas=PEOPLE).summary
    assert (s.verifiers, s.numbers.mean, s.numbers.strict.mean) == ({kind: 4}, 1, 1)
    assert s.numbers.none.by_category == {"math-500 algebra" if kind == "math" else name: 1}


def test_minis_tasks_are_those_with_one_right_answer() -> None:
    items = load_items("mini", n=2)
    assert {task.category for task in items} == {"math", "recall", "extraction", "safety"}


def test_a_page_shows_markup_in_a_persona_as_text(tasks: Path, tmp_path: Path) -> None:
    people = (*PEOPLE, PoolPersona("evil", "harmful", "train", "<script>alert(1)</script>"))
    robustness(Actor(answer), tasks=tasks, personas=people, search=True, out=tmp_path / "run")
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_halves_whose_worst_is_the_better_say_why_their_ratio_is_one(tasks: Path) -> None:
    summary = robustness(Actor(answer), tasks=tasks, personas=PEOPLE).summary
    assert "is then taken as 1" not in " ".join(remarks(summary))
    halves = dict(summary.numbers.halves)
    halves |= {
        name: replace(halves[name], value=v) for name, v in (("worst", 0.57), ("best", 0.46))
    }
    numbers = replace(summary.numbers, halves=halves)
    text = "the worst has 0.57 and the best 0.46, as happens where personas do not differ"
    assert text in " ".join(remarks(replace(summary, numbers=numbers)))


def test_fewer_than_three_different_items_have_no_interval_and_a_sentence(tmp_path: Path) -> None:
    rows = [{"question": f"{i} and nothing?", "answer": i} for i in (20, 21)]
    path = tmp_path / "two.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    result = robustness(Actor(answer), tasks=path, personas=PEOPLE)
    note = "No interval: fewer than 3 different items."
    assert result.summary.numbers.interval_note == note
    assert note in remarks(result.summary) and note in render(result.summary)
    assert result.summary.numbers.intervals["mean"] == [None, None]
