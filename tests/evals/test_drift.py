"""The measurement as a whole: what it finds on actors whose behaviour is known."""

from __future__ import annotations

import errno
import hashlib
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from actors import Actor, obey, persona, rewrite_summary, suite
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.errors import ContextError, HoldfastError, RunError, ServiceError
from holdfast.core.progress import Progress
from holdfast.core.records import as_record
from holdfast.evals.compare.compare import compare
from holdfast.evals.drift import DriftSettings, drift
from holdfast.models.fact_check import FactCheckedBackend
from holdfast.models.load import load
from holdfast.persona.suite import Persona, Suite, load_suite
from holdfast.report import transcript

SMALL = suite()
KIND = {"name": "rubric", "criteria": "kind"}
RUBRIC_SUITE = Suite("own", (Persona("graded", "character", "Be kind", ("How?",), KIND),))


def slipping(ask: Ask) -> Reply:
    """Keeps its word for two rounds and forgets it afterwards."""
    reply = obey(ask)
    return reply if len(ask.chat) < 7 else Reply("forgotten")


def test_a_persona_that_is_always_obeyed_is_flat_at_one() -> None:
    summary = as_record(drift(Actor(), suite=SMALL, pairs=6, rounds=3).summary)
    assert summary["stability"] == [1.0] * 4 and summary["floor"] == 0.0
    assert summary["ceiling"] == 1.0 and summary["normalised"] == [1.0] * 4
    assert summary["change"]["value"] == 0.0
    assert all(low < 1.0 == high for low, high in summary["interval"])


def test_a_persona_that_slips_is_seen_to_slip_when_it_does() -> None:
    summary = as_record(drift(Actor(slipping), suite=SMALL, pairs=6, rounds=4).summary)
    assert summary["stability"] == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert summary["change"]["interval"][1] < 0
    assert summary["by_category"]["memory"]["stability"][-1] == 0.0


def test_every_list_has_a_number_for_each_round_from_zero() -> None:
    summary = as_record(drift(Actor(share=True), suite=SMALL, pairs=6, rounds=5).summary)
    for name in ("stability", "interval", "normalised", "user_persona", "prompt_share", "filler"):
        assert len(summary[name]) == 6
    assert summary["prompt_share"] == [0.3] * 6
    assert summary["share_detail"]["template"] == [0.4] * 6
    assert summary["share_detail"]["dilution"] == [0.25] * 6
    assert len(summary["share_detail"]["turns"]["within"]) == 5


def test_a_low_start_is_laid_to_replies_that_could_not_be_had_and_to_a_mute_judge() -> None:
    filtered = Actor(lambda ask: Reply("", "error", error="a content filter"))
    note = str(drift(filtered, suite=SMALL, pairs=2, rounds=1).summary.note)
    assert re.match(r"\d+% of actor's replies could not be had", note)
    assert "does not hold the personas" not in note
    mute = Actor(lambda ask: Reply("no idea"), name="mute")
    both: dict[str, Any] = {"suite": SMALL, "persona": RUBRIC_SUITE, "pairs": 2, "rounds": 1}
    judged = drift(Actor(), judge_model=mute, **both).summary
    assert judged.verdicts is not None and judged.verdicts.failures
    assert f"{judged.verdicts.failures} calls of the judge mute gave no score" in str(judged.note)


@pytest.mark.parametrize(
    "command",
    [
        partial(drift, suite=SMALL, persona=RUBRIC_SUITE, pairs=2, rounds=1),
        partial(drift, suite=SMALL, persona=RUBRIC_SUITE, pairs=2, rounds=1, screen=True),
        partial(compare, suite=SMALL, persona=RUBRIC_SUITE, pairs=2, rounds=1, controls=["none"]),
    ],
)
def test_a_judge_that_refuses_is_found_out_before_the_agent_is_asked(
    command: Any, tmp_path: Path
) -> None:
    def refuse(ask: Ask) -> Reply:
        raise ServiceError("no such model")

    agent, misspelt = Actor(), Actor(refuse, name="jugde")
    with pytest.raises(ServiceError, match="no such model"):
        command(agent, judge_model=misspelt, out=tmp_path / "run")
    assert not agent.calls
    judge = Actor(lambda ask: Reply('{"reason": "", "score": 5}'), name="judge")
    command(agent, judge_model=judge, out=tmp_path / "run")


def test_without_weights_there_is_no_prompt_share() -> None:
    summary = as_record(drift(Actor(), suite=SMALL, pairs=2, rounds=1).summary)
    assert summary["prompt_share"] is None and summary["share_detail"] is None


def test_the_users_persona_is_asked_of_the_agent_and_judged_by_its_own_judge() -> None:
    def contagious(ask: Ask) -> Reply:
        return Reply(ask.chat[-1]["content"] if len(ask.chat) > 3 else obey(ask).text)

    word = persona("amber")
    judge = {"name": "contains", "text": "pretty boy"}
    parrot = Persona("parrot", "choice", "Be a parrot", ("Say pretty boy",), judge)
    pair = Suite("pair", (word, parrot), ("Hello.",), ("It rains.",))
    result = drift(
        Actor(contagious), suite=pair, agents=[word.id], users=["parrot"], pairs=1, rounds=2
    )
    assert as_record(result.summary)["user_persona"] == [0.0, 1.0, 1.0]
    assert as_record(result.summary)["user_persona_floor"] == 0.0


def test_empty_and_failed_replies_score_zero_and_are_counted() -> None:
    def failing(ask: Ask) -> Reply:
        return Reply("", "error", error="no choices") if ask.seed % 2 else Reply("")

    result = drift(Actor(failing), suite=SMALL, pairs=4, rounds=2)
    assert (
        as_record(result.summary)["stability"] == [0.0] * 3
        and as_record(result.summary)["n"] == [4] * 3
    )
    failures = as_record(result.summary)["failures"]
    assert failures["error"] > 0 and failures["empty"] > 0
    whys = {record["why"] for record in result.records}
    assert "no choices" in whys
    assert result.summary.note and result.summary.note.endswith(
        f"Of {failures['of']} messages: {failures['empty']} empty, {failures['error']} that could "
        "not be had (an answer scores 0)."
    )


def test_a_conversation_that_overflows_leaves_the_points_it_did_not_reach() -> None:
    def short(ask: Ask) -> Reply:
        return obey(ask) if len(ask.chat) < 6 else Reply("", "overflow")

    summary = as_record(drift(Actor(short), suite=SMALL, pairs=4, rounds=4).summary)
    assert summary["n"][0] == 4 and summary["n"][-1] == 0
    assert summary["stability"][-1] is None
    assert summary["failures"]["overflow"] > 0


def test_a_probe_that_does_not_fit_is_counted_and_never_taken_for_drift() -> None:
    probes = {probe for persona in SMALL.personas for probe in persona.probes}

    def tight(ask: Ask) -> Reply:
        late = len(ask.chat) > 5 and ask.chat[-1]["content"] in probes
        return Reply("", "overflow") if late else obey(ask)

    result = drift(Actor(tight), suite=SMALL, pairs=4, rounds=4)
    summary = as_record(result.summary)
    assert summary["stability"][:3] == [1.0, 1.0, None] and summary["n"] == [4, 4, 0, 0, 0]
    assert {one["score"] for one in result.records if one["stop"] == "overflow"} == {None}
    entries = transcript.entries(result.conversations)
    assert {(one.first, one.last, one.fall) for one in entries} == {(1.0, 1.0, 0.0)}
    assert summary["failures"]["overflow"] > 0
    assert summary["note"].endswith("that did not fit the context (an answer has no score).")


def test_records_are_flat_and_one_per_answer() -> None:
    result = drift(Actor(), suite=SMALL, pairs=2, rounds=1)
    assert len(result.records) == 2 * (6 + 5)
    assert {"conversation", "round", "agent", "category", "arm", "score", "why"} <= set(
        result.records[0]
    )


def test_a_run_folder_holds_the_four_files_and_the_summary_that_was_returned(
    tmp_path: Path,
) -> None:
    result = drift(Actor(), suite=SMALL, pairs=2, rounds=1, out=str(tmp_path / "run"))
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"manifest.json", "records.jsonl", "summary.json", "report.html"}
    assert json.loads((tmp_path / "run" / "summary.json").read_text("utf-8")) == as_record(
        result.summary
    )
    assert as_record(result.summary)["report"] == str(tmp_path / "run" / "report.html")


def test_the_same_folder_with_other_settings_is_refused(tmp_path: Path) -> None:
    drift(Actor(), suite=SMALL, pairs=2, rounds=1, out=tmp_path)
    with pytest.raises(RunError, match=r"run: rounds was 1, is 2"):
        drift(Actor(), suite=SMALL, pairs=2, rounds=2, out=tmp_path)


def test_a_resumed_run_gives_the_summary_of_an_uninterrupted_one(tmp_path: Path) -> None:
    whole = drift(Actor(slipping), suite=SMALL, pairs=6, rounds=3, batch=2, out=tmp_path / "a")
    drift(Actor(slipping), suite=SMALL, pairs=6, rounds=3, batch=2, out=tmp_path / "b")
    records = tmp_path / "b" / "records.jsonl"
    records.write_bytes(records.read_bytes()[:4000])
    again = drift(Actor(slipping), suite=SMALL, pairs=6, rounds=3, batch=2, out=tmp_path / "b")
    times = {"seconds", "replies_per_second", "report"}
    assert {k: v for k, v in as_record(whole.summary).items() if k not in times} == {
        k: v for k, v in as_record(again.summary).items() if k not in times
    }


def test_the_cost_of_a_run_is_that_of_all_its_models_each_counted_once() -> None:
    class Priced(Actor):
        def __init__(self, cost: float) -> None:
            super().__init__()
            self.cost = cost

    agent, user, judge_model = Priced(0.1), Priced(0.02), Priced(0.003)
    small: dict[str, Any] = {"suite": SMALL, "pairs": 2, "rounds": 1}
    all_three = drift(agent, user_model=user, judge_model=judge_model, **small)
    assert all_three.summary.cost == 0.123
    checked = drift(FactCheckedBackend(agent), user_model=agent, **small)
    assert checked.summary.cost == 0.1
    assert drift(Actor(), user_model=Actor(), **small).summary.cost is None


def test_a_finished_run_that_is_read_again_keeps_its_time_and_its_price(tmp_path: Path) -> None:
    class Priced(Actor):
        cost = 0.25

    options: dict[str, Any] = {"suite": SMALL, "pairs": 2, "rounds": 1, "out": tmp_path}
    first = drift(Priced(slipping), progress=Progress(enabled=False), **options).summary
    rewrite_summary(tmp_path, seconds=99.5)
    again = drift(Actor(slipping), progress=Progress(enabled=False), **options).summary
    assert (again.seconds, again.cost) == (99.5, 0.25)
    assert again.replies_per_second == first.replies_per_second is not None
    assert "100 seconds" in (tmp_path / "report.html").read_text("utf-8")


def test_a_finished_run_on_a_read_only_disk_gives_its_result_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path, *args: Any, **more: Any) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    options: dict[str, Any] = {"suite": SMALL, "pairs": 2, "rounds": 1, "out": tmp_path}
    first = drift(Actor(slipping), **options).summary
    monkeypatch.setattr(Path, "write_text", refuse)
    assert drift(Actor(slipping), **options).summary.curves == first.curves
    assert "could not be written there (Read-only file system)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pairs": 2}, "the number of conversations (`pairs` or `history`) was 4, is 2; choose"),
        ({"rounds": 1}, "rounds was 2, is 1; choose"),
        ({"seed": 3}, "seed was 0, is 3; choose"),
        ({"sampling": Sampling(temperature=0.5)}, "temperature was 1.0, is 0.5; choose"),
        ({"control": "window:3"}, 'control was "none", is "window:3"; choose'),
        ({"topic": "Hello."}, "conversations.0.3 was"),
    ],
)
def test_a_kept_folder_names_the_setting_that_differs(
    change: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"suite": SMALL, "pairs": 4, "rounds": 2, "out": tmp_path}
    drift(Actor(slipping), **options)
    with pytest.raises(RunError) as error:
        drift(Actor(slipping), **{**options, **change})
    assert f"holds another run: {sentence}" in str(error.value)


def test_a_context_that_cannot_hold_the_rounds_is_refused_with_numbers() -> None:
    actor = Actor(context=60)
    with pytest.raises(ContextError, match=r"sees 60 tokens, and 8 rounds .* need at least 1\d\d"):
        drift(actor, suite=SMALL, pairs=2, rounds=8)
    assert actor.calls == []


def test_a_rubric_without_a_judge_model_is_refused_before_anything_runs() -> None:
    actor = Actor()
    with pytest.raises(HoldfastError, match="`judge_model`"):
        drift(actor, suite=SMALL, persona=RUBRIC_SUITE, pairs=1, rounds=1)
    assert actor.calls == []


def test_a_judge_model_is_asked_once_for_each_answer(tmp_path: Path) -> None:

    def grade(ask: Ask) -> Reply:
        return Reply('{"reason": "kind enough", "score": 5}')

    judge = Actor(grade, name="judge")
    settings: dict[str, Any] = {"suite": SMALL, "persona": RUBRIC_SUITE, "pairs": 2, "rounds": 1}
    result = drift(Actor(), **settings, judge_model=judge, out=tmp_path)
    assert result.stability == [1.0, 1.0] and as_record(result.summary)["verdicts"]["failures"] == 0
    count = len(judge.calls)
    drift(Actor(), **settings, judge_model=judge, out=tmp_path)
    assert len(judge.calls) == count


def test_a_judge_model_that_never_parses_is_counted_not_dropped() -> None:
    judge = Actor(lambda ask: Reply("I would rather not say."), name="judge")
    result = drift(Actor(), suite=SMALL, persona=RUBRIC_SUITE, pairs=2, rounds=1, judge_model=judge)
    assert result.stability == [0.0, 0.0]
    assert as_record(result.summary)["verdicts"]["failures"] > 0


def test_one_persona_has_an_interval_over_its_conversations() -> None:
    def coin(ask: Ask) -> Reply:
        return obey(ask) if ask.seed % 2 else Reply("no")

    own = Suite("own", (persona("zebra"),))
    summary = as_record(drift(Actor(coin), suite=suite(8), persona=own, pairs=8, rounds=1).summary)
    low, high = summary["interval"][1]
    assert high - low > 0.2


def test_another_judge_model_is_another_run(tmp_path: Path) -> None:
    settings = {"suite": SMALL, "persona": RUBRIC_SUITE, "pairs": 2, "rounds": 1, "out": tmp_path}

    def five(ask: Ask) -> Reply:
        return Reply('{"reason": "kind", "score": 5}')

    drift(Actor(), judge_model=Actor(five, name="one"), **settings)
    with pytest.raises(RunError, match="judge_model"):
        drift(Actor(), judge_model=Actor(five, name="other"), **settings)


def test_a_run_of_no_rounds_is_refused() -> None:
    with pytest.raises(HoldfastError, match="`rounds` is 1 or more"):
        drift(Actor(), suite=SMALL, pairs=1, rounds=0)


def test_unknown_persona_ids_are_refused() -> None:
    with pytest.raises(HoldfastError, match="memory-amber"):
        drift(Actor(), suite=SMALL, agents=["memory-ambre"], pairs=1)


def test_a_suite_of_personas_alone_talks_as_core_does() -> None:
    actor = Actor()
    drift(actor, suite=Suite("bare", SMALL.personas), pairs=1, rounds=1)
    texts = {m["content"] for call in actor.calls for a in call for m in a.chat}
    assert texts & set(load_suite("core").starters)


def test_the_reference_option_reports_the_papers_turns() -> None:
    summary = as_record(drift(Actor(), suite=SMALL, pairs=2, rounds=3, reference=True).summary)
    assert summary["reference"] == {"turns": [2, 4, 6], "stability": [1.0, 1.0, 1.0]}


def test_another_model_can_play_the_user() -> None:
    agent, user = Actor(), Actor(name="other")
    summary = as_record(drift(agent, user_model=user, suite=SMALL, pairs=2, rounds=2).summary)
    assert summary["user_model"] == "other"
    assert {m["role"] for call in user.calls for a in call for m in a.chat[1:2]} == {"assistant"}


QUESTIONS_HASH = "a4a60f2b5918b59cd7f18c2f1de28a10e29bea04dfc988476a0097e894b474c7"
"""SHA-256 of what `mini` is asked, by record. Replies are left out: sums are rounded otherwise on
another processor, and a draw that is close may fall the other way."""


def test_mini_is_asked_what_it_was_and_answers_the_same_byte_for_byte(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for name in ("once", "again"):
        drift(load("mini"), pairs=6, rounds=2, seed=0, out=tmp_path / name)
    once, again = ((tmp_path / n / "records.jsonl").read_bytes() for n in ("once", "again"))
    assert once == again
    digest = hashlib.sha256()
    for line in once.decode().split("\n")[:-1]:
        record = json.loads(line)
        places = [(one["arm"], one["run"], one["probe"]) for one in record["answers"]]
        digest.update(json.dumps([record["conversation"], record["round"], places]).encode())
    assert digest.hexdigest() == QUESTIONS_HASH


def test_a_local_model_that_goes_on_after_a_round_draws_the_words_of_an_uninterrupted_run(
    tmp_path: Path,
) -> None:
    pytest.importorskip("torch")

    def words(line: str) -> tuple[object, ...]:
        record = json.loads(line)
        turns = [record.get(side, {}).get("text") for side in ("user", "agent")]
        return record["round"], *turns, *(answer["text"] for answer in record["answers"])

    setting = {"pairs": 3, "rounds": 3, "runs": 1, "seed": 3, "out": tmp_path}
    model = load("mini", dtype="float32")
    drift(model, **setting)  # type: ignore[arg-type]
    file = tmp_path / "records.jsonl"
    whole = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in whole if json.loads(line)["round"] <= 1))
    model.forget()
    drift(model, **setting, resume="round")  # type: ignore[arg-type]
    assert [*map(words, file.read_text().splitlines())] == [*map(words, whole)]


def test_recorded_chats_are_not_screened() -> None:
    with pytest.raises(HoldfastError, match="`screen` chooses who holds conversations"):
        DriftSettings(history="log.jsonl", screen=True)


def write_log(path: Path, *chats: list[bool]) -> Path:
    """A log of chats; of each reply, whether it keeps the persona."""
    lines = []
    for number, replies in enumerate(chats):
        turns = [
            {"role": role, "content": text}
            for r, kept in enumerate(replies)
            for role, text in (
                ("user", f"{number}, {r}?"),
                ("assistant", "zebra" if kept else "no"),
            )
        ]
        lines.append(json.dumps({"messages": turns}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


OWN = Suite("own", (persona("zebra"),))


def test_start_and_end_are_of_the_conversations_that_reach_the_last_round(tmp_path: Path) -> None:
    # Short chats that never kept the persona hide that most of the long ones lose it.
    chats = [[False]] * 24 + [[True, True] + [False] * 4] * 10 + [[True] * 6] * 6
    result = drift(None, suite=OWN, history=write_log(tmp_path / "log", *chats))
    assert result.summary.curves.stability[1] == 0.4
    start = "The persona gives way: from 1.00 at round 1 to 0.38 over six rounds (−0.62, "
    assert result.headline.startswith(start)
    assert result.headline.endswith(", over the 16 of 40 conversations that reach round six")


def test_chats_of_two_lengths_that_never_change_are_not_shown_to_grow(tmp_path: Path) -> None:
    chats = [[False] * 2] * 12 + [[True] * 6] * 6
    out = tmp_path / "run"
    result = drift(None, suite=OWN, history=write_log(tmp_path / "log", *chats), out=out)
    record = as_record(result.summary)
    assert record["full_length"]["n"] == 6 and record["stability"][1] == pytest.approx(1 / 3, 1e-3)
    assert "1.00 at round 1, 1.00 after six rounds (0.00, " in result.headline
    page = (out / "report.html").read_text("utf-8")
    assert "At the start and at the end, of the 6 of 18 conversations that reach round six" in page
    assert "1.00 → 1.00, 6 of 18 conversations" in page
    assert "0.33 → 1.00" not in page


def test_self_chat_that_fills_the_context_compares_the_same_conversations() -> None:
    def overflow(ask: Ask) -> Reply:
        long = SMALL.personas[0].prompt in ask.chat[0]["content"]
        return Reply("", "overflow") if long and len(ask.chat) >= 6 else obey(ask)

    result = drift(Actor(overflow), suite=SMALL, pairs=6, rounds=3)
    curves, part = result.summary.curves, result.summary.full_length
    assert part is not None and part.n == curves.n[-1] < curves.n[0]
    assert part.curves.n == [part.n] * 4
    assert f"over the {part.n} of 6 conversations" in result.headline


def test_conversations_that_all_reach_the_last_round_are_summed_up_once() -> None:
    summary = drift(Actor(), suite=SMALL, pairs=2, rounds=1).summary
    assert summary.full_length is None and "full_length" not in as_record(summary)


def test_what_is_left_at_a_round_is_of_the_conversations_measured_there() -> None:
    held = SMALL.personas[0].prompt

    def lose_or_overflow(ask: Ask) -> Reply:
        # The persona that is never held fills the context, so that only those that hold are left.
        if held not in ask.chat[0]["content"]:
            return obey(ask)
        return Reply("", "overflow") if len(ask.chat) >= 6 else Reply("no")

    curves = drift(Actor(lose_or_overflow), suite=SMALL, pairs=6, rounds=3).summary.curves
    assert (curves.ceiling or 0) < 1 == curves.stability[-1]
    assert curves.normalised[-1] == 1.0


def test_a_models_name_or_no_model_in_its_place_is_one_sentence() -> None:
    for measure in (drift, compare):
        with pytest.raises(HoldfastError, match="'mini' is no model: load it"):
            measure("mini", pairs=1, rounds=1)  # type: ignore[operator]
    with pytest.raises(HoldfastError, match="conversations need a `model`"):
        drift(None, pairs=1, rounds=1)


def test_a_persona_without_probes_is_named_before_anything_is_asked() -> None:
    mute = Suite("own", (Persona("mute", "character", "Be kind", (), {"name": "speaker"}),))
    with pytest.raises(HoldfastError, match="the persona mute has no probes"):
        drift(Actor(), suite=SMALL, persona=mute, pairs=1, rounds=1)
