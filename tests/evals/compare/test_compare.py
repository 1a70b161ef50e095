"""The comparison as a whole: what it finds on actors whose behaviour is known."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from actors import Actor, obey, rewrite_summary, suite
from holdfast import ApiBackend, compare, load
from holdfast.control.rewrite import rewrite
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.control import Control, parse
from holdfast.core.errors import ControlError, HoldfastError, ModelError, RunError
from holdfast.core.records import as_record
from holdfast.evals.compare.compare import Comparison
from holdfast.evals.compare.settings import DEFAULT_CONTROLS
from holdfast.evals.tasks.answers import Question
from holdfast.results.compare import ControlRow

SMALL = suite()
TIMES = {"seconds", "report"}
SPEEDS = {"relative_ms_per_token", "relative_ms_interval"}


def test_the_default_controls_read_back_as_given_and_all_differ() -> None:
    controls = [parse(text) for text in DEFAULT_CONTROLS]
    assert [control.text for control in controls] == list(DEFAULT_CONTROLS)
    assert len({(c.state, c.window, c.reminder, c.guidance) for c in controls}) == len(controls)


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    """Two kinds: one that everybody knows, one that needs what the user said before."""
    rows = [
        {"question": "What is 2 + 2?", "answer": "4", "kind": "sum"},
        {"question": "My cat?", "answer": "Ilva", "plant": "My cat is Ilva.", "back": 1},
    ]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def slipping(ask: Ask) -> Reply:
    """Forgets its word after two rounds unless anchored; recalls what it can see."""
    view = rewrite(ask.chat, ask.control)
    words = " ".join(m["content"] for m in view)
    question = view[-1]["content"]
    text = obey(ask).text
    if question == "What is 2 + 2?":
        text = "4"
    elif question == "My cat?":
        text = "Ilva" if "My cat is Ilva." in words else "unknown"
    elif len(view) >= 7 and "anchor" not in ask.control.text:
        text = "forgotten"
    return Reply(text, prompt_tokens=len(words.split()), completion_tokens=len(text.split()))


def compare_small(actor: Actor | None = None, **options: Any) -> Comparison:
    settings: dict[str, Any] = {
        "controls": ["none", "window:1", "anchor"],
        "suite": SMALL,
        "pairs": 4,
        "rounds": 4,
        "questions": "none",
    }
    return compare(actor or Actor(slipping), **settings | options)


def row(comparison: Comparison, control: str) -> ControlRow:
    return next(row for row in comparison.rows if row.control == control)


def test_each_control_is_measured_for_what_it_holds_and_loses(questions: Path) -> None:
    comparison = compare_small(questions=questions, pairs=12)
    assert [r.control for r in comparison.rows] == ["none", "window:1", "anchor"]
    none, window, anchor = comparison.rows
    assert none.curve == [1, 1, 1, 0, 0] and none.stability == 0.5
    assert none.late_stability == 0 and anchor.late_stability == window.late_delta == 1
    assert none.capability == anchor.capability == 1
    assert window.capability_by_kind == {"sum": 1, "recall": 0}
    assert window.capability_delta == -0.5 and window.capability_delta_interval[1] < 0
    assert [r.pareto for r in comparison.rows] == [False, False, True]
    assert window.tokens_per_reply < none.tokens_per_reply <= anchor.tokens_per_reply
    assert comparison.summary.recommended == "anchor"
    assert comparison.recommendation.startswith("Use anchor: ")


def test_every_control_meets_the_same_users_probes_and_questions_with_the_same_seeds(
    questions: Path,
) -> None:
    actor = Actor(lambda ask: Reply("the same", completion_tokens=1))
    compare_small(actor, questions=questions)
    asks: dict[str, set[tuple[str, int]]] = {}
    for call in actor.calls:
        for ask in call:
            system = ask.chat[0]["content"] if ask.chat[0]["role"] == "system" else ""
            if system:  # the floor is asked once
                asks.setdefault(ask.control.text, set()).add((str(ask.chat), ask.seed))
    users = {(chat, seed) for chat, seed in asks["none"] if "'assistant'" in chat}
    assert asks["window:1"] == asks["anchor"] and asks["anchor"] < asks["none"]
    assert users


def test_controls_take_turns_within_a_batch_and_none_is_always_first_by_turns() -> None:
    actor = Actor(slipping)
    compare_small(actor, batch=2, rounds=3)
    agents = [call[0].control.text for call in actor.calls if all(a.keep for a in call)]
    # two batches of three rounds, each of which another control opens
    assert (
        agents
        == [
            *("window:1", "anchor", "none"),
            *("anchor", "none", "window:1"),
            *("none", "window:1", "anchor"),
        ]
        * 2
    )
    assert {len(call) for call in actor.calls if all(a.keep for a in call)} == {2}
    assert actor.forgotten == 2


def test_only_own_probes_are_asked_and_the_floor_once() -> None:
    comparison = compare_small(rounds=1)
    arms = [(r["control"], r["round"], r["arm"]) for r in comparison.records]
    assert set(arms) == {(c, r, "own") for c in ("none", "window:1", "anchor") for r in (0, 1)} | {
        ("none", 0, "floor")
    }
    assert comparison.summary.floor == 0


def test_questions_are_greedy_and_asked_where_they_were_wanted(questions: Path) -> None:
    comparison = compare_small(questions=questions, rounds=(2, 4))
    assert comparison.summary.capability_rounds == comparison.summary.lengths == [2, 4]
    assert comparison.summary.questions == {"sum": 8, "recall": 8}
    answers = comparison.conversations[0].controls["window:1"].questions
    assert [(q.round, q.kind, q.right) for q in answers[::2]] == [
        *((2, "sum", True), (2, "recall", False)),
        *((4, "sum", True), (4, "recall", False)),
    ]
    assert answers[2].plant == "My cat is Ilva." and answers[2].answer == "unknown"
    other = compare_small(questions=questions, rounds=(2, 4), question_rounds=[1, 3], each=1)
    assert other.summary.capability_rounds == [1, 3]
    assert other.summary.questions == {"sum": 8, "recall": 8}
    assert other.summary.by_rounds["2"][0].capability == 1


def test_every_length_has_rows_from_the_first_rounds_of_one_run(questions: Path) -> None:
    comparison = compare_small(questions=questions, rounds=[4, 2])
    assert (
        list(comparison.summary.by_rounds) == ["2", "4"] and comparison.summary.setting.rounds == 4
    )
    assert comparison.summary.by_rounds["4"] == comparison.rows
    short = comparison.summary.by_rounds["2"][0]
    assert short.curve == [1, 1, 1] and short.late_stability == 1
    assert short.tokens_per_reply < comparison.rows[0].tokens_per_reply


def test_none_is_run_though_it_was_not_named_and_controls_are_echoed_as_given() -> None:
    comparison = compare_small(controls=["reminder:1.0", "window:01", "reminder:1.0"], rounds=1)
    assert [r.control for r in comparison.rows] == ["none", "reminder:1.0", "window:01"]


class Refusing(Actor):
    """Cannot be steered, as an API cannot."""

    def refusal(self, control: Control) -> str | None:
        return f"`{control}` needs the weights." if control.needs_weights else None


def test_what_a_model_refuses_is_left_out_of_the_default_set_with_its_sentence() -> None:
    comparison = compare_small(Refusing(slipping), controls=None, rounds=1, pairs=2)
    ran = [r.control for r in comparison.rows]
    assert [c for c in DEFAULT_CONTROLS if not parse(c).needs_weights] == ran
    assert set(comparison.summary.refused) == set(DEFAULT_CONTROLS) - set(ran)
    assert comparison.summary.refused["anchor"] == "`anchor` needs the weights."


def test_a_control_that_was_named_and_is_refused_is_left_out_and_named(tmp_path: Path) -> None:
    comparison = compare_small(
        Refusing(slipping), controls=["window:1", "anchor"], rounds=1, out=tmp_path
    )
    assert [row.control for row in comparison.rows] == ["none", "window:1"]
    assert comparison.summary.refused == {"anchor": "`anchor` needs the weights."}
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Left out, since the model refuses it: anchor." in page


@pytest.mark.parametrize("error", [ControlError, ModelError])
def test_a_control_that_is_refused_on_the_way_is_left_out_and_the_rest_goes_on(
    error: type[HoldfastError], tmp_path: Path
) -> None:
    def refuse_late(ask: Ask) -> Reply:
        if ask.control.window and len(ask.chat) > 4:
            raise error("no window here")
        return slipping(ask)

    settings: dict[str, Any] = {
        "controls": ["window:1", "reminder:1"],
        "rounds": 3,
        "out": tmp_path,
    }
    comparison = compare_small(Actor(refuse_late), **settings)
    assert [row.control for row in comparison.rows] == ["none", "reminder:1"]
    assert comparison.summary.refused == {"window:1": "no window here"}
    assert all(len(c.controls["none"].rounds) == 4 for c in comparison.conversations)
    again = compare_small(Actor(slipping), **settings)
    assert again.rows == comparison.rows and again.summary.refused == comparison.summary.refused


def test_what_fails_without_a_control_ends_the_run() -> None:
    def fail(ask: Ask) -> Reply:
        raise ModelError("the template refuses this chat")

    with pytest.raises(ModelError, match="template"):
        compare_small(Actor(fail), rounds=1)


def test_two_conversations_have_no_interval_and_no_nan() -> None:
    comparison = compare_small(pairs=2, rounds=1, controls=["window:1"])
    assert "nan" not in comparison.recommendation
    assert "too few conversations for an interval" in comparison.recommendation


def test_a_misspelt_control_is_an_error() -> None:
    actor = Refusing(slipping)
    with pytest.raises(ControlError, match="there is no control"):
        compare_small(actor, controls=["ancor"])
    assert actor.calls == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rounds": ()}, "`rounds` is 1 or more"),
        ({"rounds": (0, 4)}, "`rounds` is 1 or more, not 0"),
        ({"question_rounds": [5]}, "from 1 to 4, not 5"),
        ({"question_rounds": [0], "questions": "core"}, "from 1 to 4, not 0"),
        ({"questions": "core", "each": 0}, "at least 1 question"),
        ({"batch": 0}, "`batch` is 1 or more"),
        ({"pairs": 0}, "choose `pairs`"),
    ],
)
def test_what_cannot_be_run_is_refused_before_anything_is(
    options: dict[str, Any], message: str
) -> None:
    actor = Actor(slipping)
    with pytest.raises(HoldfastError, match=message):
        compare_small(actor, **options)
    assert actor.calls == []


def test_failures_are_counted_for_the_control_they_happened_under(questions: Path) -> None:
    def failing(ask: Ask) -> Reply:
        broken = ask.control.text == "anchor" and ask.chat[-1]["content"] == "My cat?"
        return Reply("", "error", error="gone") if broken else slipping(ask)

    comparison = compare_small(Actor(failing), questions=questions)
    assert [r.failures["error"] for r in comparison.rows] == [0, 0, 8]
    assert row(comparison, "anchor").capability_by_kind["recall"] == 0


def test_conversations_that_overflow_under_one_control_stop_there_alone() -> None:
    def narrow(ask: Ask) -> Reply:
        view = rewrite(ask.chat, ask.control)
        return Reply("", "overflow") if len(view) > 6 else slipping(ask)

    comparison = compare_small(Actor(narrow), user_model=Actor())
    assert row(comparison, "none").curve[3:] == [None, None]
    assert row(comparison, "window:1").curve[3:] == [1, 1]
    assert row(comparison, "none").late_stability is row(comparison, "window:1").late_delta is None
    assert row(comparison, "none").failures["overflow"] > 0
    assert comparison.recommendation.startswith("Nothing to recommend")


def strip_times(summary: dict[str, Any]) -> dict[str, Any]:
    """A summary without what depends on the clock."""
    plain = {k: v for k, v in summary.items() if k not in TIMES}
    for rows in (plain["rows"], *plain["by_rounds"].values()):
        for one in rows:
            for name in SPEEDS:
                one.pop(name, None)
    plain["recommendation"] = plain["recommendation"].partition(" times the tokens")[0]
    return plain


def test_a_run_folder_holds_records_times_summary_and_page(tmp_path: Path, questions: Path) -> None:
    comparison = compare_small(questions=questions, out=tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {
        *("manifest.json", "records.jsonl", "timing.jsonl", "summary.json", "report.html")
    }
    assert json.loads((tmp_path / "run" / "summary.json").read_text("utf-8")) == as_record(
        comparison.summary
    )
    assert "seconds" not in (tmp_path / "run" / "records.jsonl").read_text("utf-8")
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "window:1" in page and "My cat is Ilva." in page


@pytest.mark.parametrize("local", [True, False])
def test_a_run_cut_anywhere_goes_on_to_the_same_bytes(
    tmp_path: Path, questions: Path, local: bool
) -> None:
    def run(folder: str) -> Comparison:
        actor = Actor(slipping, local=local)
        return compare_small(actor, questions=questions, batch=2, out=tmp_path / folder)

    whole = run("a")
    records = (tmp_path / "a" / "records.jsonl").read_bytes()
    for cut in (700, len(records) // 2, len(records) - 9):
        run("b")
        for name in ("records.jsonl", "timing.jsonl"):
            path = tmp_path / "b" / name
            path.write_bytes(path.read_bytes()[: cut if name == "records.jsonl" else cut // 9])
        again = run("b")
        assert (tmp_path / "b" / "records.jsonl").read_bytes() == records
        assert strip_times(as_record(again.summary)) == strip_times(as_record(whole.summary))


def test_a_finished_run_is_read_again_without_asking_anything(tmp_path: Path) -> None:
    first = compare_small(out=tmp_path)
    rewrite_summary(tmp_path, seconds=99.5)
    actor = Actor(slipping)
    again = compare_small(actor, out=tmp_path)
    assert actor.calls == [] and again.summary.seconds == 99.5
    assert again.rows == first.rows and again.conversations == first.conversations


@pytest.mark.parametrize(
    "change",
    [
        lambda q: {"controls": ["none", "anchor"]},
        lambda q: {"questions": q},
        lambda q: {"batch": 1},
        lambda q: {"rounds": 3},
    ],
)
def test_another_comparison_in_the_same_folder_is_refused(
    tmp_path: Path, questions: Path, change: Callable[[Path], dict[str, Any]]
) -> None:
    compare_small(out=tmp_path / "run")
    with pytest.raises(RunError, match="holds another run"):
        compare_small(out=tmp_path / "run", **change(questions))


def test_another_model_can_play_the_user_and_is_not_timed(tmp_path: Path) -> None:
    user = Actor(name="other")
    comparison = compare_small(user_model=user, out=tmp_path)
    assert comparison.summary.setting.user_model == "other" and {
        ask.control.text for call in user.calls for ask in call
    } == {"none"}
    times = [json.loads(line) for line in (tmp_path / "timing.jsonl").read_text().splitlines()]
    assert len(times) == 3 * 4 and {t["control"] for t in times} == {"none", "window:1", "anchor"}


def test_records_are_flat_and_questions_are_an_arm_of_them(questions: Path) -> None:
    comparison = compare_small(questions=questions, rounds=1)
    answers = [r for r in comparison.records if r["arm"] == "question"]
    assert len(answers) == 3 * 4 * 4 and {r["kind"] for r in answers} == {"sum", "recall"}
    assert {r["score"] for r in answers if r["control"] == "window:1"} == {0.0, 1.0}
    assert not any(
        isinstance(value, dict | list) for r in comparison.records for value in r.values()
    )


def test_choices_are_shown_with_their_letters(tmp_path: Path) -> None:
    prompt = Question("choice", "Which?", "B", ("red", "blue")).prompt
    path = tmp_path / "choices.jsonl"
    line = {"question": "Which?", "answer": "blue", "choices": ["red", "blue"]}
    path.write_text(json.dumps(line) + "\n")
    comparison = compare_small(Actor(lambda ask: Reply("B.")), questions=path, rounds=1, each=1)
    answer = comparison.conversations[0].controls["anchor"].questions[0]
    assert answer.question == prompt and answer.right is True


class Letters(Actor):
    """Says C, and finds the first letter likeliest."""

    def likelihoods(self, asks: Sequence[Ask], options: Sequence[str]) -> list[list[float]]:
        return [[-float(i) for i in range(len(each))] for each in options]


def test_choices_can_be_scored_by_likelihood_where_the_model_says_it(tmp_path: Path) -> None:
    path = tmp_path / "choices.jsonl"
    lines = [
        {"question": "Which?", "answer": "red", "choices": ["red", "blue"]},
        {"question": "How many?", "answer": 3, "kind": "sum"},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    options: dict[str, Any] = {"questions": path, "rounds": 1, "out": tmp_path / "run"}
    comparison = compare_small(Letters(lambda ask: Reply("3")), scoring="likelihood", **options)
    assert comparison.rows[0].capability_by_kind == {"choice": 1, "sum": 1}
    with pytest.raises(RunError, match="scoring was"):
        compare_small(Letters(lambda ask: Reply("3")), **options)
    api = ApiBackend("some", base_url="http://localhost:1", api_key="none")
    with pytest.raises(HoldfastError, match="score by generation"):
        compare_small(api, controls=["none"], scoring="likelihood", pairs=1)
    with pytest.raises(HoldfastError, match="generation or likelihood, not 'guess'"):
        compare_small(scoring="guess")


def test_mini_is_compared_end_to_end(tmp_path: Path) -> None:
    controls = ["none", "window:1", "guidance:1.5", "anchor"]
    settings: dict[str, Any] = {"runs": 1, "each": 1, "sampling": Sampling(max_new_tokens=20)}
    comparison = compare(
        load("mini"), controls=controls, pairs=4, rounds=2, out=tmp_path, **settings
    )
    assert [r.control for r in comparison.rows] == controls
    for one in comparison.rows:
        assert one.n == 4 and 0 <= one.stability <= 1 and 0 < one.capability <= 1
        assert one.relative_ms_per_token > 0 and one.tokens_per_reply > 10
        assert one.failures["error"] == one.failures["overflow"] == 0
    plain = row(comparison, "none").tokens_per_reply
    assert row(comparison, "window:1").tokens_per_reply < plain
    assert row(comparison, "guidance:1.5").tokens_per_reply > 1.2 * plain
    assert set(comparison.summary.questions) == set(comparison.rows[0].capability_by_kind)
    assert Path(comparison.summary.report).stat().st_size > 10_000
