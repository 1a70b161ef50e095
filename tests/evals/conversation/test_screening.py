"""Screening: who is kept, on which seeds, and what every shard reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from actors import Actor, obey, suite
from holdfast.core.backend import Ask, Reply
from holdfast.core.errors import HoldfastError, RunError
from holdfast.core.records import as_record
from holdfast.core.shards import Shard, ShardDone
from holdfast.evals.compare.compare import compare
from holdfast.evals.conversation.screening import screen
from holdfast.evals.drift import DriftSettings, drift
from holdfast.report.drift import headline

SMALL = suite()
HELD_PERSONAS = {"memory-amber", "pattern-birch", "memory-delta"}


def capable(ask: Ask) -> Reply:
    """Keeps to three of the six personas, and knows no others."""
    words = [id_.partition("-")[2] for id_ in HELD_PERSONAS]
    return obey(ask) if any(word in ask.chat[0]["content"] for word in words) else Reply("no")


def unsteady(ask: Ask) -> Reply:
    """Keeps to its persona in half of its replies, by the seed."""
    return obey(ask) if ask.seed % 2 else Reply("no")


def test_only_personas_that_the_model_holds_are_agents() -> None:
    result = drift(Actor(capable), suite=SMALL, pairs=12, rounds=1, screen=True)
    assert {c.agent.id for c in result.conversations} == HELD_PERSONAS
    assert len({c.user.id for c in result.conversations}) > len(HELD_PERSONAS)
    assert result.stability == [1.0, 1.0]


def test_the_summary_and_the_page_say_how_many_of_which_category(tmp_path: Path) -> None:
    result = drift(Actor(capable), suite=SMALL, pairs=4, rounds=1, screen=True, out=tmp_path)
    counts = as_record(result.summary)["screened"]
    assert (counts["kept"], counts["of"], counts["at_least"]) == (3, 6, 0.75)
    assert counts["by_category"]["memory"] == {"kept": 2, "of": 2}
    assert counts["by_category"]["choice"] == {"kept": 0, "of": 2}
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "3 of 6 score 0.75 or more there" in page and "choice 0 of 2" in page


def test_the_draws_that_choose_are_not_those_of_the_run() -> None:
    actor = Actor(unsteady)
    drift(actor, suite=SMALL, pairs=12, rounds=1, screen=True, screen_at=0.5)
    screening, run = actor.calls[:2], actor.calls[2:]
    assert all(len(ask.chat) == 2 for call in screening for ask in call)
    seeds = {ask.seed for call in screening for ask in call}
    assert not seeds & {ask.seed for call in run for ask in call}


def test_a_persona_that_fails_outright_is_not_asked_again() -> None:
    actor = Actor(capable)
    screen(DriftSettings(suite=SMALL, screen=True), actor)
    assert [len(call) for call in actor.calls] == [6, 3 * 3]


def test_a_persona_that_is_named_twice_is_asked_and_counted_once() -> None:
    ids = [one.id for one in SMALL.personas]
    once, twice = (
        screen(DriftSettings(suite=SMALL, agents=tuple(agents), screen=True, screen_at=0.5), actor)
        for agents, actor in ((ids, Actor(unsteady)), (ids * 2, Actor(unsteady)))
    )
    assert once == twice


def test_who_is_kept_depends_on_the_seed_and_not_on_the_pairs_or_the_control() -> None:
    def choose(**changes: object) -> tuple[str, ...]:
        settings = DriftSettings(suite=suite(8), screen=True, screen_at=0.5, **changes)  # type: ignore[arg-type]
        screening = screen(settings, Actor(unsteady))
        assert screening
        return screening.summary.personas

    assert choose() == choose(pairs=3, rounds=2, control="window:1")
    assert len({choose(seed=seed) for seed in range(5)}) > 1


def test_a_model_that_holds_none_is_told_so() -> None:
    with pytest.raises(HoldfastError, match="holds none of the 6 personas of small"):
        drift(Actor(lambda ask: Reply("no")), suite=SMALL, pairs=2, screen=True)


def test_a_second_call_reads_the_outcome_and_asks_nothing(tmp_path: Path) -> None:
    first = drift(Actor(capable), suite=SMALL, pairs=4, rounds=1, screen=True, out=tmp_path)
    actor = Actor(capable)
    again = drift(actor, suite=SMALL, pairs=4, rounds=1, screen=True, out=tmp_path)
    assert actor.calls == [] and again.records == first.records


def test_an_interrupted_screening_goes_on_from_its_batches(tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    many = suite(8)
    actor = Actor()

    def stop(ask: Ask) -> Reply:
        if len(actor.calls) == 2:
            raise Stopped
        return obey(ask)

    actor.answer = stop
    settings = DriftSettings(suite=many, screen=True)
    with pytest.raises(Stopped):
        screen(settings, actor, out=tmp_path)
    again = Actor()
    screening = screen(settings, again, out=tmp_path)
    assert screening and screening.summary.kept == 8 and len(again.calls) == 1


def test_another_screening_or_none_in_the_folder_is_refused(tmp_path: Path) -> None:
    drift(Actor(capable), suite=SMALL, pairs=4, rounds=1, screen=True, out=tmp_path / "a")
    with pytest.raises(RunError, match="seed"):
        drift(
            Actor(capable), suite=SMALL, pairs=4, rounds=1, seed=1, screen=True, out=tmp_path / "a"
        )
    drift(Actor(capable), suite=SMALL, pairs=4, rounds=1, out=tmp_path / "b")
    with pytest.raises(RunError, match="without a screening"):
        drift(Actor(capable), suite=SMALL, pairs=4, rounds=1, screen=True, out=tmp_path / "b")


def test_the_outcome_under_another_threshold_is_refused_not_read(tmp_path: Path) -> None:
    hopeless = Actor(lambda ask: Reply("no"))
    with pytest.raises(HoldfastError, match="a lower `screen_at`"):
        drift(hopeless, suite=SMALL, pairs=4, rounds=1, screen=True, out=tmp_path)
    with pytest.raises(RunError, match=r"screen_at was 0\.75, is 0\.25; choose another `out`"):
        drift(
            Actor(capable),
            suite=SMALL,
            pairs=4,
            rounds=1,
            screen=True,
            screen_at=0.25,
            out=tmp_path,
        )


def test_shards_of_a_model_that_answers_differently_agree_on_who_takes_part(tmp_path: Path) -> None:
    def fickle(n: int) -> Actor:
        return Actor(lambda ask: obey(ask) if (ask.seed + n) % 2 else Reply("no"), local=False)

    settings = {"suite": suite(8), "pairs": 4, "rounds": 1, "screen": True, "screen_at": 0.5}
    for n in (1, 2):
        with pytest.raises(ShardDone):
            drift(fickle(n), batch=2, out=tmp_path, where=Shard(n, 2), **settings)
    manifests = [
        json.loads((tmp_path / f"shard-{n}-of-2" / "manifest.json").read_text()) for n in (1, 2)
    ]
    assert manifests[0] == manifests[1]
    result = drift(fickle(3), batch=2, out=tmp_path, **settings)
    assert result.summary.setting.screened is not None
    assert result.summary.setting.conversations == 4


def test_two_processes_with_one_id_agree_on_the_first_outcome(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, link = DriftSettings(suite=SMALL, screen=True, screen_at=0.5), Path.hardlink_to
    outcomes: list[object] = []

    def come_second(path: Path, draft: Path) -> None:
        monkeypatch.setattr(Path, "hardlink_to", link)
        outcomes.append(screen(settings, Actor(capable, local=False), out=tmp_path))
        path.hardlink_to(draft)

    monkeypatch.setattr(Path, "hardlink_to", come_second)
    monkeypatch.setattr("os.getpid", lambda: 1)
    outcomes.append(screen(settings, Actor(obey, local=False), out=tmp_path))
    assert outcomes[0] == outcomes[1] and not list(tmp_path.glob("*.part"))


def test_a_file_system_without_links_has_the_outcome_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, draft: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    settings = DriftSettings(suite=SMALL, screen=True)
    outcome = screen(settings, Actor(capable), out=tmp_path)
    actor = Actor(capable)
    assert screen(settings, actor, out=tmp_path) == outcome and actor.calls == []


SHORT: dict[str, Any] = {
    "suite": SMALL, "pairs": 6, "rounds": 1, "controls": ["window:1"], "questions": "none"
}  # fmt: skip


def test_compare_screens_too() -> None:
    comparison = compare(Actor(capable), **SHORT, screen=True)
    assert {c.agent.id for c in comparison.conversations} == HELD_PERSONAS
    assert as_record(comparison.summary)["screened"]["kept"] == 3


def test_a_low_start_is_the_headline_and_a_note_unless_personas_were_screened(
    tmp_path: Path,
) -> None:
    low = drift(Actor(lambda ask: Reply("no")), suite=SMALL, pairs=6, rounds=1)
    assert low.headline.startswith("Too low to say: 0.00 at the start")
    assert "--screen" in (low.summary.note or "")
    comparison = compare(Actor(lambda ask: Reply("no")), **SHORT, out=tmp_path)
    assert "--screen" in (comparison.summary.note or "")
    assert comparison.summary.recommended is None
    assert comparison.recommendation.startswith("Too low to say: without control stability is 0.00")
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "<h1>Too low to say" in page and "<small>recommended" not in page
    high = drift(Actor(capable), suite=SMALL, pairs=4, rounds=1, screen=True).summary
    assert high.note is None and headline.verdict(high) != "low"


def test_a_threshold_outside_of_the_scores_is_refused() -> None:
    with pytest.raises(HoldfastError, match="`screen_at`"):
        DriftSettings(screen_at=1.5)
