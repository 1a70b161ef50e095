"""Every control on the same conversations: what holds, what it costs, which one to use.

The plan of a drift run is held once under each control, with the same personas,
starters, probes and seeds, controls taking turns round by round so that a slow machine
hits all alike. After the last round of each length, capability questions are asked on
branches, under the control. How rows are made of that is `tradeoff`'s.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from holdfast import __version__, capability, report
from holdfast.backend import Ask, Backend, Reply, Sampling
from holdfast.capability import Question
from holdfast.control import DEFAULT, parse
from holdfast.conversation import Protocol, Stage, batches, converse
from holdfast.curve import costs, judged
from holdfast.drift import NOTES, Pairs, cast, check, default_suite, manifest
from holdfast.errors import ControlError, HoldfastError
from holdfast.persona import Suite
from holdfast.plan import Conversation
from holdfast.progress import Progress
from holdfast.run import Record, Run
from holdfast.stats import Array
from holdfast.tradeoff import Lane, own_scores, recommendation, rows
from holdfast.verdict import counted, verdicts

ROWS = 384  # conversations, controls counted, held side by side


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
    def records(self) -> list[Record]:
        """One flat record per row of the table, ready for `pandas.DataFrame`."""
        nested = ("by_category", "capability_by_kind", "failures", "curve", "curve_interval")
        return [
            {k: v for k, v in row.items() if k not in nested}
            | {f"stability_{k}": v for k, v in row["by_category"].items()}
            | {f"capability_{k}": v for k, v in row["capability_by_kind"].items()}
            for row in self.summary["rows"]
        ]


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
    user_model: Backend | None = None,
    judge_model: Backend | None = None,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare controls; what the command `holdfast compare` does.

    `controls` are texts (`control.parse`), by default `control.DEFAULT` but for those that
    the model refuses; `none` is always among them. `rounds` may be several lengths: one run
    to the longest serves all. `questions` is a source of `capability.load` ("none" asks
    nothing; by default `mini` for the embedded model and `core` for others), `each` how
    many of a kind every conversation is asked after the last round of every length.
    The rest is as in `drift`. Raises `ControlError` for a control that is named and cannot
    be had, and HoldfastError for what else the user can mend.
    """
    lengths = sorted({rounds} if isinstance(rounds, int) else {*rounds})
    wanted, refused = _wanted(model, controls)
    base, own, _ = cast(
        suite or default_suite(model), persona, agents, users, topic=topic, pairs=pairs, seed=seed
    )
    per_batch = max(1, ROWS // len(wanted))
    p = Protocol(
        rounds=lengths[-1] if lengths else 0,
        seed=seed,
        runs=runs,
        sampling=sampling or Sampling(),
        filler=False,
        history_floor=False,
        user_persona=False,
        measure=False,
        batch=per_batch * len(wanted),
    )
    if lengths[0] < 1:
        raise HoldfastError(f"rounds must be at least 1, not {lengths[0]}")
    check(model, judge_model, base, p)
    planned = _under_each(base, wanted, per_batch)
    source = questions or default_suite(model)
    asked = {} if source == "none" else _dealt(source, base, lengths, each, seed)
    clock = _Clock(model)
    n = len(base)
    stage = Stage(
        clock,
        user_model or clock,
        p,
        (),
        {
            (c.id, length): asked[c.id % n, length]
            for c in planned
            for length in lengths
            if (c.id % n, length) in asked
        },
    )
    described = manifest(
        replace(stage, agent=model, user=user_model or model), base, own.name, judge_model
    )
    described |= {"command": "compare", "controls": wanted, "lengths": lengths}
    described["questions"] = [[*k, [q.asked for q in v]] for k, v in sorted(asked.items())]
    run = Run(out, described)
    clock.times = _Times(run.folder, len(run.records))
    shown = progress or Progress(enabled=False)
    began = time.monotonic()
    with shown.of(batches(planned, p) * (p.rounds + 1)):
        converse(stage, planned, run, shown)
    talks = judged(run.records, planned, verdicts(run, planned, judge_model))
    lanes = _lanes(wanted, base, talks, run.records, stage, clock.times.by_control, lengths)
    by_rounds = {str(length): rows(lanes, base, length) for length in lengths}
    chosen, sentence = recommendation(lanes, base, lengths[-1])
    page = run.folder / "report.html" if run.folder else None
    summary: Record = {
        "model": model.name,
        "user_model": stage.other.name if stage.other else None,
        "suite": own.name,
        "seed": seed,
        "runs": runs,
        "conversations": n,
        "rounds": p.rounds,
        "lengths": lengths,
        "version": __version__,
        "sampling": {k: v for k, v in described["protocol"]["sampling"].items() if k != "stop"},
        "command": command,
        "rows": by_rounds[str(lengths[-1])],
        "by_rounds": by_rounds,
        "capability_rounds": lengths if asked else [],
        "questions": _counts(asked, lengths[-1]),
        "question_source": str(source),
        "recommended": chosen,
        "recommendation": sentence,
        "refused": refused,
        "failures": costs(run.records)["failures"],
        "verdicts": counted(run) if run.verdicts else None,
        "seconds": round(time.monotonic() - began, 1),
        "note": NOTES.get(model.name),
        "report": str(page) if page else None,
    }
    run.finish(summary)
    conversations = _merged(wanted, base, talks, run.records, stage)
    if page:
        report.write_compare(summary, conversations, page)
    return Comparison(summary, conversations)


def _wanted(model: Backend, controls: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """The controls to run, `none` first, and those of the default set that the model refuses."""
    named = [text.strip() for text in (DEFAULT if controls is None else controls)]
    refused = {text: why for text in named if (why := model.refusal(text))}
    if refused and controls is not None:
        raise ControlError(next(iter(refused.values())))
    kept = [text for text in dict.fromkeys(named) if text not in refused]
    plain = [text for text in kept if parse(text) == replace(parse("none"), text=text)][:1]
    none = plain or ["none"]
    return [*none, *(text for text in kept if text not in none)], refused


def _under_each(
    base: Sequence[Conversation], controls: Sequence[str], per_batch: int
) -> list[Conversation]:
    """The plan under every control, batch by batch; conversation i of control k is k·n + i."""
    n = len(base)
    return [
        replace(c, id=k * n + c.id, control=control)
        for start in range(0, n, per_batch)
        for k, control in enumerate(controls)
        for c in base[start : start + per_batch]
    ]


def _dealt(
    source: str | Path, base: Sequence[Conversation], lengths: Sequence[int], each: int, seed: int
) -> dict[tuple[int, int], list[Question]]:
    """`each` questions of every kind to each conversation, by (conversation, length)."""
    dealt: dict[tuple[int, int], list[Question]] = {}
    for length in lengths:
        drawn = capability.load(source, n=each * len(base), seed=seed + length, rounds=length)
        kinds: dict[str, list[Question]] = {}
        for question in drawn:
            kinds.setdefault(question.kind, []).append(question)
        for i, c in enumerate(base):
            hand = [q for held in kinds.values() for q in held[i * each : (i + 1) * each]]
            dealt[c.id, length] = hand
    return dealt


def _counts(asked: Mapping[tuple[int, int], Sequence[Question]], length: int) -> dict[str, int]:
    """Questions of each kind that one control is asked at a length."""
    counts: dict[str, int] = {}
    for (_, at), questions in asked.items():
        for question in questions if at == length else ():
            counts[question.kind] = counts.get(question.kind, 0) + 1
    return counts


class _Times:
    """Seconds and tokens of the agents' turns by control, kept beside the records.

    Times do not belong into records. Where an earlier run's are no longer those of the
    records (it was killed in between), they are dropped.
    """

    def __init__(self, folder: Path | None, records: int) -> None:
        self.by_control: dict[str, list[tuple[float, int]]] = {}
        self._path = folder / "timing.jsonl" if folder else None
        if self._path is None or not self._path.exists():
            return
        if not records:
            self._path.unlink()
            return
        for line in self._path.read_text(encoding="utf-8").split("\n")[:-1]:
            control, seconds, tokens = json.loads(line)
            self.by_control.setdefault(control, []).append((seconds, tokens))

    def add(self, control: str, seconds: float, tokens: int) -> None:
        self.by_control.setdefault(control, []).append((seconds, tokens))
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([control, round(seconds, 6), tokens]) + "\n")


class _Clock:
    """The model, with the agents' turns timed: calls whose every reply is to be followed."""

    def __init__(self, model: Backend) -> None:
        self.model = model
        self.times = _Times(None, 0)
        self.name, self.local = model.name, model.local
        self.context, self.user_first = model.context, model.user_first
        self.refusal, self.count = model.refusal, model.count
        self.forget, self.describe = model.forget, model.describe

    def reply(self, asks: Sequence[Ask], sampling: Sampling) -> list[Reply]:
        began = time.perf_counter()
        replies = self.model.reply(asks, sampling)
        if asks and all(ask.keep for ask in asks):
            tokens = sum(reply.completion_tokens for reply in replies)
            self.times.add(asks[0].control, time.perf_counter() - began, max(1, tokens))
        return replies


def _lanes(
    controls: Sequence[str],
    base: Sequence[Conversation],
    talks: Sequence[Record],
    records: Sequence[Record],
    stage: Stage,
    times: Mapping[str, Sequence[tuple[float, int]]],
    lengths: Sequence[int],
) -> list[Lane]:
    """Each control's measurements, conversations in the plan's order."""
    n = len(base)
    at = {talk["id"]: talk for talk in talks}
    lanes = []
    for k, control in enumerate(controls):
        ids = [k * n + c.id for c in base]
        mine = [record for record in records if record["conversation"] // n == k]
        sent = [record["agent"]["tokens"] for record in mine if "agent" in record]
        lanes.append(
            Lane(
                control,
                own_scores([at[id_] for id_ in ids], stage.protocol.rounds),
                {length: _right(mine, ids, stage, length) for length in lengths},
                float(np.mean([prompt + reply for prompt, _, reply in sent])) if sent else 0.0,
                np.array(times.get(control, ()), float).reshape(-1, 2),
                costs(mine)["failures"],
            )
        )
    return lanes


def _right(
    records: Sequence[Record], ids: Sequence[int], stage: Stage, length: int
) -> dict[str, Array]:
    """Share of each conversation's questions answered right, by kind: (conversations,)."""
    row = {id_: i for i, id_ in enumerate(ids)}
    marks: dict[str, list[list[bool]]] = {}
    for record in records:
        questions = stage.questions.get((record["conversation"], length), ())
        if record["round"] != length or "questions" not in record:
            continue
        for question, answer in zip(questions, record["questions"], strict=True):
            held = marks.setdefault(question.kind, [[] for _ in ids])
            held[row[record["conversation"]]].append(capability.right(question, answer["text"]))
    return {
        kind: np.array([np.mean(of) if of else np.nan for of in held])
        for kind, held in marks.items()
    }


def _merged(
    controls: Sequence[str],
    base: Sequence[Conversation],
    talks: Sequence[Record],
    records: Sequence[Record],
    stage: Stage,
) -> list[Record]:
    """The conversations, each under every control, as the page shows them."""
    n = len(base)
    at = {talk["id"]: talk for talk in talks}
    examined: dict[int, list[Record]] = {}
    for record in records:
        key = (record["conversation"], record["round"])
        for question, answer in zip(
            stage.questions.get(key, ()), record.get("questions", ()), strict=False
        ):
            shown = {
                "round": record["round"],
                "kind": question.kind,
                "question": question.asked,
                "plant": question.plant,
                "expected": question.answer,
                "answer": answer["text"],
                "right": capability.right(question, answer["text"]),
            }
            examined.setdefault(record["conversation"], []).append(shown)
    merged = []
    for c in base:
        first = at[c.id]
        under = {
            control: {
                "rounds": at[k * n + c.id]["rounds"],
                "questions": examined.get(k * n + c.id, []),
            }
            for k, control in enumerate(controls)
        }
        kept: dict[str, Any] = {name: first[name] for name in ("id", "agent", "user", "starter")}
        merged.append(kept | {"controls": under})
    return merged
