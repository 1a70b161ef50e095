"""What is asked in each round, what is recorded, and that a run can be cut anywhere."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from actors import Actor, obey, suite
from holdfast.core.backend import Ask, Reply, Sampling
from holdfast.core.chat import agent_view, user_view
from holdfast.core.errors import HoldfastError, ServiceError
from holdfast.core.progress import Progress
from holdfast.core.records import as_record
from holdfast.core.run import Run
from holdfast.evals.conversation.batches import converse
from holdfast.evals.conversation.plan import Conversation, plan
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.evals.conversation.settings import ConversationProtocol, Resume
from holdfast.results.conversation import RoundRecord
from holdfast.results.verdict import JudgeVerdict

SMALL = suite()
QUIET = Progress(enabled=False)


def draw_plan(pairs: int = 5) -> Sequence[Conversation]:
    return plan(SMALL.personas, SMALL.personas, SMALL, pairs=pairs, seed=3)


def hold(
    actor: Actor,
    pairs: int = 5,
    folder: Path | None = None,
    resume: Resume = "batch",
    **protocol: object,
) -> Run:
    p = ConversationProtocol(**{"rounds": 3, "batch": 2, **protocol})  # type: ignore[arg-type]
    run = Run(folder, {"protocol": str(p)}, RoundRecord, JudgeVerdict)
    converse(SelfChat(actor, actor, p, SMALL.fillers), draw_plan(pairs), run, QUIET, resume=resume)
    return run


def by_arm(record: RoundRecord) -> dict[str, list[str]]:
    arms: dict[str, list[str]] = {}
    for answer in record.answers:
        arms.setdefault(answer.arm, []).append(answer.text)
    return arms


def test_every_conversation_has_a_record_for_every_round_in_order() -> None:
    run = hold(Actor())
    places = [(r.conversation, r.round) for r in run.records]
    batches = [(0, 1), (2, 3), (4,)]
    assert places == [(c, r) for batch in batches for r in range(4) for c in batch]


def test_round_zero_asks_the_probe_with_and_without_the_persona() -> None:
    first = hold(Actor()).records[0]
    assert first.user is None
    assert {arm: len(texts) for arm, texts in by_arm(first).items()} == {
        "own": 2,
        "floor": 2,
        "user": 1,
        "user_floor": 1,
    }
    word = draw_plan()[0].agent.prompt.split()[-1]
    assert all(text.startswith(word) for text in by_arm(first)["own"])
    assert all(text.startswith("nothing") for text in by_arm(first)["floor"])


def test_later_rounds_probe_on_the_history_and_on_its_controls() -> None:
    last = hold(Actor()).records[6]
    assert last.round == 3
    arms = by_arm(last)
    assert {arm: len(texts) for arm, texts in arms.items()} == {
        "own": 2,
        "user": 1,
        "history_floor": 1,
        "filler": 1,
    }
    # system prompt, six turns, the probe; without the system prompt one less
    assert arms["own"][0].split()[1] == "8"
    assert arms["history_floor"][0].split()[:2] == ["nothing", "7"]


def test_probes_never_enter_the_conversation() -> None:
    actor = Actor()
    hold(actor, pairs=1)
    probes = {probe for persona in SMALL.personas for probe in persona.probes}
    for call in actor.calls:
        for ask in call:
            assert not probes & {m["content"] for m in ask.chat[:-1]}


def test_the_user_model_speaks_from_its_own_side_under_its_own_prompt() -> None:
    actor = Actor()
    run = hold(actor, pairs=1)
    conversation = draw_plan(1)[0]
    views = [a.chat for call in actor.calls for a in call]
    view = next(v for v in views if [m["role"] for m in v[:2]] == ["system", "assistant"])
    assert view[0]["content"] == conversation.user.prompt
    assert view[1]["content"] == conversation.starter
    assert view[2] == {"role": "user", "content": run.records[1].agent.text}


def test_templates_that_want_a_user_first_get_a_folded_opening() -> None:
    actor = Actor(user_first=True)
    hold(actor, pairs=1)
    conversation = draw_plan(1)[0]
    views = [a.chat for call in actor.calls for a in call]
    openings = [v[1] for v in views if v[1:] and v[1]["content"].startswith("You opened by asking")]
    assert openings and all(message["role"] == "user" for message in openings)
    assert conversation.starter in openings[0]["content"]


def test_the_twin_hears_neutral_messages_as_long_as_the_users() -> None:
    for record in hold(Actor()).records:
        if record.filled:
            original, neutral = record.filled.tokens
            assert original == neutral
            assert record.filled.user != record.user.text


def test_probes_are_branches_that_need_not_be_kept() -> None:
    actor = Actor()
    hold(actor, pairs=1, history_floor=False)
    prompt = draw_plan(1)[0].agent.prompt
    probes = {probe for persona in SMALL.personas for probe in persona.probes}
    for ask in (a for call in actor.calls for a in call):
        starts_a_chain = len(ask.chat) == 2 and ask.chat[0]["content"] == prompt
        assert ask.keep or (ask.chat[-1]["content"] in probes)
        assert not ask.keep or starts_a_chain or ask.chat[-1]["content"] not in probes


def test_no_two_asks_share_a_seed() -> None:
    actor = Actor()
    hold(actor)
    seeds = [(ask.seed, len(ask.chat)) for call in actor.calls for ask in call]
    assert len(seeds) == len(set(seeds))


def test_share_is_asked_for_on_the_first_run_of_the_own_probe_and_on_replies() -> None:
    run = hold(Actor(share=True), pairs=1)
    for record in run.records:
        with_share = [a for a in record.answers if a.share]
        assert [(a.arm, a.run) for a in with_share] == [("own", 0)]
        if record.round:
            assert set(as_record(record.agent.share)) == {"tokens", "span", "length"}


def test_what_is_left_out_is_not_asked() -> None:
    run = hold(Actor(), filler=False, history_floor=False, user_persona=False, runs=1)
    assert {a.arm for r in run.records for a in r.answers} == {"own", "floor"}
    assert not any(r.filled for r in run.records)


def test_the_reference_protocol_folds_newlines_before_feeding_them_back() -> None:
    def answer(ask: Ask) -> Reply:
        assert not any("\n" in m["content"] for m in ask.chat)
        return Reply("two\nlines")

    run = hold(Actor(answer), reference=True)
    assert {a.text for r in run.records for a in r.answers} == {"two lines"}


def test_an_overflow_stops_its_conversation_and_no_other() -> None:
    def answer(ask: Ask) -> Reply:
        if ask.chat[0]["content"] == draw_plan()[0].agent.prompt and len(ask.chat) == 4:
            return Reply("", "overflow")
        return obey(ask)

    run = hold(Actor(answer))
    rounds = {c: [r.round for r in run.records if r.conversation == c] for c in range(5)}
    assert rounds[0] == [0, 1, 2] and rounds[1] == [0, 1, 2, 3]
    assert run.records[4].stopped and run.records[4].answers == ()


def test_an_empty_reply_is_recorded_and_the_conversation_goes_on() -> None:
    run = hold(Actor(lambda ask: Reply("")))
    assert len(run.records) == 20
    assert {a.text for r in run.records for a in r.answers} == {""}


@pytest.mark.parametrize("seed", range(12))
def test_a_run_cut_at_any_byte_resumes_to_the_same_records(tmp_path: Path, seed: int) -> None:
    whole = tmp_path / "whole"
    hold(Actor(), folder=whole)
    full = (whole / "records.jsonl").read_bytes()
    cut = tmp_path / "cut"
    hold(Actor(), folder=cut)
    (cut / "records.jsonl").write_bytes(full[: random.Random(seed).randrange(len(full))])
    hold(Actor(), folder=cut)
    assert (cut / "records.jsonl").read_bytes() == full


def test_a_local_model_runs_an_unfinished_batch_again_whole(tmp_path: Path) -> None:
    hold(Actor(), folder=tmp_path)
    lines = (tmp_path / "records.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "records.jsonl").write_bytes(b"".join(lines[:13]))  # four rounds, then two
    actor = Actor()
    hold(actor, folder=tmp_path)
    starts = [call for call in actor.calls if any(len(a.chat) == 1 for a in call)]
    assert len(starts) == 2  # the second batch and the third, from their empty histories
    assert actor.forgotten > 0


@pytest.mark.parametrize(("local", "resume"), [(False, "batch"), (True, "round")])
def test_an_api_or_a_model_told_to_goes_on_after_the_last_complete_round(
    local: bool, resume: Resume, tmp_path: Path
) -> None:
    hold(Actor(local=local), folder=tmp_path)
    whole = (tmp_path / "records.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    (tmp_path / "records.jsonl").write_bytes(b"".join(lines[:13]))
    actor = Actor(local=local)
    hold(actor, folder=tmp_path, resume=resume)
    assert (tmp_path / "records.jsonl").read_bytes() == whole
    starts = [call for call in actor.calls if any(len(a.chat) == 1 for a in call)]
    assert len(starts) == 1


def test_a_finished_run_asks_nothing(tmp_path: Path) -> None:
    hold(Actor(), folder=tmp_path)
    actor = Actor()
    hold(actor, folder=tmp_path)
    assert actor.calls == []


def test_a_server_that_goes_away_half_way_loses_no_finished_round(tmp_path: Path) -> None:
    calls = 0

    def answer(ask: Ask) -> Reply:
        nonlocal calls
        calls += 1
        if calls > 60:
            raise ServiceError("the server went away")
        return obey(ask)

    with pytest.raises(ServiceError):
        hold(Actor(answer, local=False), folder=tmp_path)
    before = (tmp_path / "records.jsonl").read_bytes()
    assert before
    hold(Actor(local=False), folder=tmp_path)
    assert (tmp_path / "records.jsonl").read_bytes().startswith(before)


@pytest.mark.parametrize(
    ("setting", "value"), [("rounds", -1), ("runs", 0), ("runs", -1), ("batch", 0)]
)
def test_settings_below_their_least_are_refused(setting: str, value: int) -> None:
    with pytest.raises(HoldfastError, match=setting):
        ConversationProtocol(**{setting: value})  # type: ignore[arg-type]


def test_views_refuse_a_history_that_does_not_end_on_the_other_side() -> None:
    with pytest.raises(ValueError, match="odd"):
        agent_view(None, ["one", "two"])
    with pytest.raises(ValueError, match="even"):
        user_view(None, ["one"])


def test_all_that_the_agent_is_asked_carries_its_personas_judge() -> None:
    class Judged(Actor):
        def __init__(self) -> None:
            super().__init__()
            self.without: list[str] = []

        def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
            self.without += [ask.chat[-1]["content"] for ask in asks if ask.judge is None]
            return super().reply(asks, sampling)

    agent = Judged()
    protocol = ConversationProtocol(rounds=2, control="none")
    run = Run(None, {}, RoundRecord, JudgeVerdict)
    converse(SelfChat(agent, Actor(), protocol, SMALL.fillers), draw_plan(2), run, QUIET)
    assert agent.without == []
