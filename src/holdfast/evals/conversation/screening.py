"""Screening: which personas does a model hold at all, before anybody talks to it?

A curve from a low start says nothing about drift. Screening asks each candidate's probes on the
empty history, without a control, and keeps the personas whose mean score reaches a threshold. Its
draws have seeds of their own, so that the run's round 0 measures the kept personas afresh and is
not raised by the choice. Every candidate is asked once, and those that do not fail outright
another three times; the mean of the four decides.

    OUT/screen-1/, OUT/screen-2/   the two stages, runs without rounds, resumed like any run
    OUT/screened.json              the outcome, which every shard of the run reads

A control never changes who is kept. The outcome depends on the model, the candidates, the
sampling, the threshold and the seed alone; an API's replies are drawn once and then read from the
file. The threshold decides who is asked again, so a folder with another's outcome is refused.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import numpy as np

from holdfast.core.backend import Backend
from holdfast.core.errors import HoldfastError, RunError
from holdfast.core.folder import writing
from holdfast.core.progress import Progress
from holdfast.core.records import Record, as_record, dumps
from holdfast.core.run import refuse_another_run, refuse_other_files
from holdfast.core.seeds import seed_of
from holdfast.core.shards import Shard, Where, open_run
from holdfast.evals.conversation.batches import converse
from holdfast.evals.conversation.costs import costs
from holdfast.evals.conversation.judging import judge_conversations, reach_judge_of, scores
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.rounds import SelfChat
from holdfast.evals.conversation.settings import (
    ConversationProtocol,
    ConversationSettings,
    own_probes,
)
from holdfast.evals.conversation.setup import Cast, Screening, agents_of, manifest, refuse_unjudged
from holdfast.persona.suite import Persona, Suite
from holdfast.report.words import lack_of_replies
from holdfast.results.conversation import CategoryCount, RoundRecord, Screened
from holdfast.results.verdict import JudgeVerdict

DRAWS = (1, 3)
"""Answers of a persona in each stage."""
BATCH = 256
"""Answers asked side by side."""


def screen(
    settings: ConversationSettings,
    model: Backend | None,
    *,
    judge_model: Backend | None = None,
    out: Path | str | None = None,
    progress: Progress | None = None,
    where: Where = None,
) -> Screening | None:
    """Keep the personas that a model holds at round 0; None where the settings ask for no screen.

    Args:
        settings: who may take part, the sampling, the seed and the threshold.
        model: the agents' model.
        judge_model: scores the answers of personas that a rubric judges.
        out: the run's folder; None keeps nothing.
        progress: shows batches of personas.
        where: a pool that asks, or the shard that this process is.

    Raises:
        HoldfastError: the model holds none of them.
        RunError: the folder holds another run.
    """
    if not settings.screen:
        return None
    if model is None:
        raise HoldfastError("`screen` asks a model: name one with `model`, or leave it out")
    candidates, suite = agents_of(settings, model)
    plan = _plan(candidates, settings.seed, 0)
    refuse_unjudged(candidates, judge_model)
    chat = SelfChat(model, model, _protocol(settings, DRAWS[0]))
    protocol = as_record(manifest("screen", chat, Cast(plan, suite), judge_model))
    protocol["screen_at"] = settings.screen_at
    place = Path(out) if out is not None else None
    means = _read(place, protocol) if place else None
    if means is None:
        means = _ask(model, candidates, settings, suite, judge_model, place, progress, where)
        if place:
            means = _publish(place, protocol, means)
    return _choose(candidates, means, settings.screen_at, model.name, suite.name)


def _protocol(settings: ConversationSettings, draws: int) -> ConversationProtocol:
    return replace(own_probes(settings, 0, BATCH // draws), runs=draws)


def _plan(candidates: Sequence[Persona], seed: int, stage: int) -> list[Conversation]:
    """One conversation for each candidate, which ends before it begins; nobody is its user."""
    return [
        Conversation(i, one, one, "", seed_of(seed, "screen", stage, one.id), floor=False)
        for i, one in enumerate(candidates)
    ]


def _ask(
    model: Backend,
    candidates: Sequence[Persona],
    settings: ConversationSettings,
    suite: Suite,
    judge_model: Backend | None,
    place: Path | None,
    progress: Progress | None,
    where: Where,
) -> dict[str, float]:
    """Mean score of each candidate; one that fails in the first stage keeps its score there.

    Raises `HoldfastError` where no candidate passes since the token limit cuts the thoughts.
    """
    folder = place
    if isinstance(where, Shard):
        if place is None:
            raise RunError("a shard needs a folder for its records: name one with `out`.")
        folder, where = where.folder(place), None
    sums, means = dict.fromkeys((one.id for one in candidates), 0.0), dict[str, float]()
    going, draws_so_far = list(candidates), 0
    for stage, draws in enumerate(DRAWS):
        chat = SelfChat(model, model, _protocol(settings, draws))
        plan = _plan(going, settings.seed, stage)
        protocol = manifest("screen", chat, Cast(plan, suite), judge_model)
        run = open_run(
            folder / f"screen-{stage + 1}" if folder else None, protocol, RoundRecord, JudgeVerdict
        )
        reach_judge_of(run, plan, judge_model)
        converse(
            chat,
            plan,
            run,
            progress or Progress(enabled=False),
            where=where,
            stage=f"screening, {stage + 1} of {len(DRAWS)}",
        )
        results, draws_so_far = judge_conversations(run, plan, judge_model), draws_so_far + draws
        for one, mean in zip(going, scores(results, "own", 1)[:, 0], strict=True):
            sums[one.id] += draws * (0.0 if np.isnan(mean) else float(mean))
            means[one.id] = round(sums[one.id] / draws_so_far, 4)
        going = [one for one in going if means[one.id] >= settings.screen_at / 2]
        if not going:
            if sentence := lack_of_replies(model.name, costs(run.records).failures):
                raise HoldfastError(sentence)
            break
    return means


def _choose(
    candidates: Sequence[Persona],
    means: dict[str, float],
    at_least: float,
    model: str,
    suite: str,
) -> Screening:
    holders = tuple(one for one in candidates if means[one.id] >= at_least)
    if not holders:
        easier = "" if suite == "core-easy" else "an easier suite (core-easy), "
        raise HoldfastError(
            f"{model} holds none of the {len(candidates)} personas of {suite} at {at_least:g} "
            f"before the conversation begins, the best at {max(means.values()):.2f}: choose "
            f"{easier}a lower `screen_at` or a stronger model, and another `out` if you gave one."
        )
    categories = dict.fromkeys(one.category for one in candidates)
    by_category = {
        category: CategoryCount(
            sum(one.category == category for one in holders),
            sum(one.category == category for one in candidates),
        )
        for category in categories
    }
    ids = tuple(one.id for one in holders)
    summary = Screened(len(holders), len(candidates), at_least, sum(DRAWS), by_category, ids)
    return Screening(holders, summary)


def _read(place: Path, protocol: Record) -> dict[str, float] | None:
    """The outcome that the run's folder has, if it has one; refuses that of another screening."""
    path = place / "screened.json"
    if not path.exists():
        if (place / "manifest.json").exists():
            raise RunError(f"{place} holds a run without a screening; choose another `out`")
        refuse_other_files(place)
        return None
    outcome = json.loads(path.read_text(encoding="utf-8"))
    refuse_another_run(outcome["manifest"], json.loads(dumps(protocol)), place)
    return dict(outcome["means"])


def _publish(place: Path, protocol: Record, means: dict[str, float]) -> dict[str, float]:
    """Put the outcome into the run's folder, unless another process was first, and read it."""
    path = place / "screened.json"
    draft = place / f"screened-{uuid4().hex}.part"  # pods of a cluster share process ids
    with writing(path):
        place.mkdir(parents=True, exist_ok=True)
        draft.write_text(dumps({"manifest": protocol, "means": means}, indent=1) + "\n", "utf-8")
        try:
            path.hardlink_to(draft)  # fails where the file exists, unlike a rename
        except FileExistsError:
            pass
        except OSError:
            draft.replace(path)  # a file system without links
        finally:
            draft.unlink(missing_ok=True)
    outcome = _read(place, protocol)
    assert outcome is not None
    return outcome
