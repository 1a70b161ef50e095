"""Every control on the same conversations: what holds, what it costs, which one to use.

The plan of a drift run is held once under each control, with the same personas,
starters, probes and seeds, controls taking turns round by round so that a slow machine
hits all alike. Capability questions are asked on branches after chosen rounds, under
the control, the same of every control. `lane` cuts the records into arrays, `tradeoff`
makes rows of them, and `recommendation` says which control to use.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from holdfast import report
from holdfast.control.text import ALSO, DEFAULT, trained_on
from holdfast.core.backend import Backend, Reply, Sampling
from holdfast.core.errors import ControlError, HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.run import TurnTime
from holdfast.core.seeds import seed_of
from holdfast.core.shards import Where, opened
from holdfast.core.stats import mean, numbers
from holdfast.evals.compare.by_control import Asked, Lane, answered, lanes
from holdfast.evals.compare.recommendation import advise
from holdfast.evals.compare.tradeoff import rows
from holdfast.evals.conversation.plan import Conversation, number, under
from holdfast.evals.conversation.rounds import Protocol, Stage, Talk, batches, converse
from holdfast.evals.conversation.scores import costs, judged, scores
from holdfast.evals.conversation.setup import Pairs, cast, check, default_suite, manifest, setting
from holdfast.evals.conversation.verdicts import counted, verdicts
from holdfast.evals.tasks import answers as capability
from holdfast.evals.tasks.answers import Question
from holdfast.models.notes import NOTES
from holdfast.models.together import Beside
from holdfast.persona.suite import Suite

SCORING = ("generation", "likelihood")  # of multiple choice; everything else is generated
ROWS = 384  # conversations held side by side, counted under each control


@dataclass(frozen=True)
class Comparison:
    """What a comparison found.

    `summary` is the object that `holdfast compare --json` prints; `conversations` holds
    every message, judged answer and capability question under each control.
    """

    summary: Record
    conversations: list[Record]

    @property
    def recommendation(self) -> str:
        """Which control to use, in one sentence."""
        return str(self.summary["recommendation"])

    @property
    def rows(self) -> list[Record]:
        """One row per control, over the longest conversations."""
        return list(self.summary["rows"])

    @property
    def records(self) -> list[Record]:
        """One flat record per probe answer and per question, ready for `pandas.DataFrame`."""
        return [
            {
                "conversation": talk["id"],
                "control": control,
                "agent": talk["agent"]["id"],
                "category": talk["agent"]["category"],
                "user": talk["user"]["id"],
                **answer,
            }
            for talk in self.conversations
            for control, held in talk["controls"].items()
            for answer in _flat(held)
        ]


def _flat(held: Record) -> list[Record]:
    """Probe answers, then questions as the arm `question`, scored 1 or 0."""
    probes = [{"round": at["round"], **a} for at in held["rounds"] for a in at["probes"]]
    asked = [
        {
            "round": q["round"],
            "arm": "question",
            "kind": q["kind"],
            "probe": q["question"],
            "answer": q["answer"],
            "score": float(q["right"]),
            "stop": q["stop"],
        }
        for q in held["questions"]
    ]
    return probes + asked


def compare(
    model: Backend,
    *,
    controls: Sequence[str] | None = None,
    suite: Suite | str | Path | None = None,
    persona: Suite | str | Path | None = None,
    agents: Sequence[str] = (),
    users: Sequence[str] = (),
    topic: str | None = None,
    pairs: Pairs = 24,
    rounds: int | Sequence[int] = 8,
    seed: int = 0,
    runs: int = 2,
    sampling: Sampling | None = None,
    questions: str | Path | None = None,
    each: int = 2,
    question_rounds: Sequence[int] = (),
    scoring: str = SCORING[0],
    user_model: Backend | None = None,
    judge_model: Backend | None = None,
    also: Sequence[Backend] = (),
    batch: int | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    where: Where = None,
) -> Comparison:
    """Compare controls; what the command `holdfast compare` does.

    `controls` are texts (`control.parse`), by default `control.DEFAULT` but for those that
    the model refuses; `none` is always the first. `rounds` may be several lengths: one run
    to the longest serves all. `questions` is a source of `capability.load` ("none" asks
    nothing; by default `mini` for the embedded model and `core` for others), `each` how
    many of a kind every conversation is asked at a time, and `question_rounds` after which
    rounds (by default the last of every length). `scoring` "likelihood" answers multiple
    choice with the likeliest letter. `also` are other models, trained checkpoints for
    instance: each is a row `also:NAME` of the same conversations, whose users `user_model`, by
    default the first model, speaks for. `batch` conversations are held side by side, each
    under every control. The rest is as in `drift`. Raises `ControlError` for a control
    that is named and cannot be had, and HoldfastError for what else the user can mend.
    """
    lengths = sorted({rounds} if isinstance(rounds, int) else {*rounds})
    if not lengths or lengths[0] < 1:
        raise HoldfastError(f"rounds must be at least 1, not {lengths[0] if lengths else 'none'}")
    other = user_model or model
    if also:
        model = Beside(model, also)
    wanted, refused = _wanted(model, controls, [f"{ALSO}{one.name}" for one in also])
    side_by_side = max(1, ROWS // len(wanted)) if batch is None else batch
    p = Protocol(
        rounds=lengths[-1],
        seed=seed,
        runs=runs,
        sampling=sampling or Sampling(),
        filler=False,
        history_floor=False,
        user_persona=False,
        measure=False,
        batch=side_by_side * len(wanted),
    )
    base, own, _ = cast(
        suite or default_suite(model), persona, agents, users, topic=topic, pairs=pairs, seed=seed
    )
    check(model, judge_model, base, p)
    _check_scoring(model, scoring)
    after = _after(lengths, question_rounds)
    source = str(questions or default_suite(model))
    asked = {} if source == "none" else _dealt(source, base, after, each, seed)
    planned = [
        talk
        for start in range(0, len(base), side_by_side)
        for c in base[start : start + side_by_side]
        for talk in under(c, wanted, len(base))
    ]
    stage = Stage(model, other, p)
    described = manifest(stage, base, own.name, judge_model, wanted)
    described |= {"command": "compare", "controls": wanted, "questions": _listed(asked)}
    described["scoring"] = scoring if asked else None
    run = opened(out, described, where)
    stage = replace(
        stage,
        questions=_everywhere(asked, len(base), len(wanted)),
        likelihood=scoring == "likelihood",
    )
    shown = progress or Progress(enabled=False)
    began = time.monotonic()
    with shown.of(batches(planned, p) * (p.rounds + 1)):
        timing = partial(_timed, len(base), side_by_side)
        converse(stage, planned, run, shown, timing=timing, where=where)
    talks = judged(run.records, planned, verdicts(run, planned, judge_model))
    found = [
        _scored(lane, base)
        for lane in lanes(wanted, base, talks, run.records, run.times, asked, p.rounds)
    ]
    page = run.folder / "report.html" if run.folder else None
    summary: Record = {
        **setting(stage, base, own.name),
        "lengths": lengths,
        "command": command,
        **_rows(found, base, after),
        "floor": numbers(mean(scores(talks[:: len(wanted)], "floor", 1)[:, 0])),
        "question_source": source if asked else None,
        "scoring": scoring if asked else None,
        "capability_rounds": sorted({r for _, r in asked}),
        "questions": dict(
            Counter(q.kind for (_, r), held in asked.items() if r in after[p.rounds] for q in held)
        ),
        "refused": refused,
        "failures": costs(run.records)["failures"],
        "verdicts": counted(run) if run.verdicts else None,
        "seconds": round(time.monotonic() - began, 1),
        "note": NOTES.get(model.name),
        "report": str(page) if page else None,
    }
    conversations = _merged(wanted, base, talks, run.records, asked)
    run.finish(summary)
    if page:
        report.write_compare(summary, conversations, page)
    return Comparison(summary, conversations)


def _scored(lane: Lane, base: Sequence[Conversation]) -> Lane:
    """The lane, of the personas that its control was made for."""
    personas = trained_on(lane.control)
    return lane if personas is None else lane.only([c.agent.prompt in personas for c in base])


def _rows(
    found: Sequence[Lane], base: Sequence[Conversation], after: Mapping[int, Sequence[int]]
) -> Record:
    """The rows of every length, and what they recommend over the longest."""
    longest = max(after)
    by_rounds = {str(length): rows(found, base, length, at) for length, at in after.items()}
    advice = advise(found, base, longest, after[longest])
    return {
        "rows": by_rounds[str(longest)],
        "by_rounds": by_rounds,
        "recommended": advice.control,
        "recommendation": advice.sentence,
        "chosen_on": advice.chosen_on,
        "reported_on": advice.reported_on,
    }


def _wanted(
    model: Backend, controls: Sequence[str] | None, also: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """The controls to run, `none` first, and those of the default set that the model refuses."""
    given = DEFAULT if controls is None else [text.strip() for text in controls]
    named = ["none", *given, *also]
    refused = {text: why for text in named if (why := model.refusal(text))}
    if refused and controls is not None:
        raise ControlError(next(iter(refused.values())))
    return [text for text in dict.fromkeys(named) if text not in refused], refused


def _check_scoring(model: Backend, scoring: str) -> None:
    if scoring not in SCORING:
        raise HoldfastError(f"--scoring is {' or '.join(SCORING)}, not {scoring!r}")
    if scoring == "likelihood":
        model.likelihoods((), ())  # refuses where only text comes back


def _after(lengths: Sequence[int], chosen: Sequence[int]) -> dict[int, list[int]]:
    """For every length, the rounds whose questions count: those chosen, else its last."""
    for r in chosen:
        if not 1 <= r <= lengths[-1]:
            raise HoldfastError(
                f"--question-round is a round from 1 to {lengths[-1]}, not {r}: choose another"
            )
    return {
        length: sorted({r for r in chosen if r <= length}) if chosen else [length]
        for length in lengths
    }


def _dealt(
    source: str,
    base: Sequence[Conversation],
    after: Mapping[int, Sequence[int]],
    each: int,
    seed: int,
) -> dict[tuple[int, int], list[Question]]:
    """`each` questions of every kind to each conversation, by (conversation, round)."""
    dealt: dict[tuple[int, int], list[Question]] = {}
    for r in sorted({r for at in after.values() for r in at}):
        drawn = seed_of(seed, "questions", r)
        kinds: dict[str, list[Question]] = {}
        for question in capability.load(source, n=each * len(base), seed=drawn, rounds=r):
            kinds.setdefault(question.kind, []).append(question)
        for i, c in enumerate(base):
            hand = [q for held in kinds.values() for q in held[i * each : (i + 1) * each]]
            dealt[c.id, r] = hand
    return dealt


def _listed(asked: Asked) -> list[Any]:
    """What the questions put before the model, for the manifest."""
    return [
        [*key, [[q.kind, q.asked, q.plant, q.back, q.alone] for q in asked[key]]]
        for key in sorted(asked)
    ]


def _everywhere(asked: Asked, of: int, controls: int) -> dict[tuple[int, int], Sequence[Question]]:
    """The same questions under every control."""
    return {
        (number(k, id_, of), r): held for k in range(controls) for (id_, r), held in asked.items()
    }


def _timed(
    of: int, side_by_side: int, talks: Sequence[Talk], r: int, seconds: float, said: Sequence[Reply]
) -> TurnTime:
    """How long the agents' turns of a batch took, under one control."""
    first = talks[0].plan
    return TurnTime(
        batch=first.id % of // side_by_side,
        round=r,
        control=first.control,
        seconds=round(seconds, 6),
        tokens=sum(reply.completion_tokens for reply in said),
    )


def _merged(
    controls: Sequence[str],
    base: Sequence[Conversation],
    talks: Sequence[Record],
    records: Sequence[Record],
    asked: Asked,
) -> list[Record]:
    """The conversations, each under every control, as the page shows them."""
    held: dict[int, Record] = {talk["id"]: talk for talk in talks}
    examined: dict[int, list[Record]] = {}
    for record in records:
        examined.setdefault(record["conversation"], []).extend(
            {
                "round": record["round"],
                "kind": question.kind,
                "question": question.asked,
                "plant": question.plant,
                "expected": question.answer,
                "answer": answer["text"],
                "right": capability.right(question, answer["text"]),
                "stop": answer["stop"],
            }
            for question, answer in answered(record, asked, len(base))
        )
    return [
        {name: held[c.id][name] for name in ("id", "agent", "user", "starter")}
        | {
            "controls": {
                control: {"rounds": held[id_]["rounds"], "questions": examined.get(id_, [])}
                for k, control in enumerate(controls)
                for id_ in (number(k, c.id, len(base)),)
            }
        }
        for c in base
    ]
