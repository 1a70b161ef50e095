"""From records to numbers: scores, curves and intervals of a drift run.

Everything is computed from the records and the personas, so that a changed judge
needs no new conversations. Means are over conversations (a conversation's probe runs
averaged first), intervals resample conversations, or the agents' and users' personas
where these recur (`stats`). A reply that failed or is empty scores 0 and is counted.

    normalised(r) = (stability(r) - floor) / (ceiling - floor),  ceiling = stability(0)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from holdfast import judge
from holdfast.core.records import Record
from holdfast.core.stats import Array, Resampler, mean, normalised, numbers
from holdfast.evals.conversation.plan import Conversation
from holdfast.judge import Judge, Score
from holdfast.persona.suite import Persona
from holdfast.report.words import headline

Key = tuple[int, int, str, int]  # conversation, round, arm, run: an answer
_USERS = ("user", "user_floor")


@dataclass(frozen=True)
class Result:
    """What a drift run found.

    `summary` is the object that `holdfast drift --json` prints; `conversations` holds
    every message and judged answer, as the page shows them.
    """

    summary: Record
    conversations: list[Record]

    @property
    def stability(self) -> list[float]:
        """Mean judge score after r rounds, r = 0…R."""
        return list(self.summary["stability"])

    @property
    def headline(self) -> str:
        """What was found, in one sentence."""
        return headline(self.summary)

    @property
    def records(self) -> list[Record]:
        """One flat record per probe answer, ready for `pandas.DataFrame`."""
        return [
            {
                "conversation": talk["id"],
                "round": entry["round"],
                "agent": talk["agent"]["id"],
                "category": talk["agent"]["category"],
                "user": talk["user"]["id"],
                **answer,
            }
            for talk in self.conversations
            for entry in talk["rounds"]
            for answer in entry["probes"]
        ]


def answers(
    records: Sequence[Record], planned: Sequence[Conversation]
) -> Iterator[tuple[Key, Persona, Record]]:
    """Every answer, with what identifies it and the persona whose judge scores it.

    That is the user's persona for its own probes, and else the agent's.
    """
    talks = {conversation.id: conversation for conversation in planned}
    for record in records:
        talk = talks[record["conversation"]]
        for answer in record["answers"]:
            key = (talk.id, record["round"], answer["arm"], answer["run"])
            yield key, talk.user if answer["arm"] in _USERS else talk.agent, answer


def _score(judges: dict[Persona, Judge], persona: Persona, answer: Mapping[str, Any]) -> Score:
    """The score by the persona's own judge, which is built once and kept in `judges`."""
    if not answer["text"].strip():
        ended = "an empty reply" if answer["stop"] == "stop" else f"no answer ({answer['stop']})"
        return Score(0.0, answer.get("error") or ended)
    if persona not in judges:
        judges[persona] = judge.build(persona.judge)
    return judges[persona](answer["text"])


def judged(
    records: Sequence[Record],
    planned: Sequence[Conversation],
    verdicts: Mapping[Key, Score] | None = None,
) -> list[Record]:
    """Conversations with every answer scored, as the page and `Result` hold them.

    An answer that a judge model has scored takes its verdict, any other its persona's
    own judge.
    """
    talks: dict[int, Record] = {
        c.id: {
            "id": c.id,
            "agent": _who(c.agent),
            "user": _who(c.user),
            "starter": c.starter,
            "rounds": [],
        }
        for c in planned
    }
    for record in records:
        talks[record["conversation"]]["rounds"].append(
            {
                "round": record["round"],
                "user": record["user"]["text"] if "user" in record else None,
                "agent": record["agent"]["text"] if "agent" in record else None,
                "probes": [],
                "share": _own_share(record),
            }
        )
    judges: dict[Persona, Judge] = {}
    rounds = {(id_, e["round"]): e["probes"] for id_, t in talks.items() for e in t["rounds"]}
    for key, persona, answer in answers(records, planned):
        value, why = (verdicts or {}).get(key) or _score(judges, persona, answer)
        kept = {name: answer[name] for name in ("arm", "run", "probe", "stop")}
        scored = {**kept, "answer": answer["text"], "score": value, "why": why}
        rounds[key[:2]].append(scored)
    return list(talks.values())


def _who(persona: Persona) -> Record:
    return {"id": persona.id, "category": persona.category, "prompt": persona.prompt}


def _own_share(record: Record) -> float | None:
    shares = [a["share"]["heads"] for a in record["answers"] if "share" in a]
    return round(float(np.mean(shares[0])), 4) if shares else None


def scores(talks: Sequence[Record], arm: str, points: int, *, first: bool = False) -> Array:
    """Scores of one arm: (conversations, points), the runs averaged, NaN where not asked.

    `first` takes the first run alone, to compare with arms that have one.
    An answer that did not fit the context is no answer: it would look like drift.
    """
    values = np.full((len(talks), points), np.nan)
    for row, talk in enumerate(talks):
        for entry in talk["rounds"]:
            found = [
                answer["score"]
                for answer in entry["probes"]
                if answer["arm"] == arm
                and answer["stop"] != "overflow"
                and not (first and answer["run"])
            ]
            if found:
                values[row, entry["round"]] = float(np.mean(found))
    return values


def labels(planned: Sequence[Conversation]) -> list[list[str]]:
    """What to resample: the agents' and the users' personas where they recur, else conversations.

    Fewer than five personas cannot be resampled: they are then taken as given, and the
    interval is about them alone. So are the personas of recorded chats.
    """
    recurring = []
    if all(c.script is None for c in planned):
        for ids in ([c.agent.id for c in planned], [c.user.id for c in planned]):
            if 5 <= len(set(ids)) < len(ids):
                recurring.append(ids)
    return recurring or [[str(c.id) for c in planned]]


def curves(talks: Sequence[Record], planned: Sequence[Conversation], rounds: int) -> Record:
    """Every curve of the run with its intervals, by category too."""
    points = rounds + 1
    own, floor = scores(talks, "own", points), scores(talks, "floor", points)[:, :1]
    replies = scores(talks, "reply", points)
    if np.isnan(own).all():
        own = replies  # recorded chats without a model: the replies are all there is
    sample = Resampler.of(*labels(planned))
    found: Record = {
        "n": [int(v) for v in (~np.isnan(own)).sum(axis=0)],
        **_curve("stability", "interval", own, sample),
        **_curve("normalised", "normalised_interval", own, sample, floor),
        "ceiling": numbers(mean(own)[0]),
        "ceiling_interval": numbers(sample.interval(own[:, 0])),
        "floor": numbers(mean(floor)[0]),
        "floor_interval": numbers(sample.interval(floor[:, 0])),
        "change": _change(own, sample),
    }
    found.update(
        _curve("user_persona", "user_persona_interval", scores(talks, "user", points), sample)
    )
    user_floor = scores(talks, "user_floor", points)[:, 0]
    found["user_persona_floor"] = numbers(mean(user_floor))
    found["user_persona_floor_interval"] = numbers(sample.interval(user_floor))
    arms = {arm: scores(talks, arm, points) for arm in ("history_floor", "filler")}
    for arm, values in (arms | {"replies": replies}).items():
        if np.isnan(values).all():
            found[arm] = found[f"{arm}_interval"] = None
            continue
        if arm != "replies":  # round 0 has no history: the same question on the empty one
            source = "floor" if arm == "history_floor" else "own"
            values[:, 0] = scores(talks, source, points, first=True)[:, 0]
        found.update(_curve(arm, f"{arm}_interval", values, sample))
    found["by_category"] = _by_category(own, floor, planned, sample)
    return found


def _curve(
    name: str, band: str, values: Array, sample: Resampler, floor: Array | None = None
) -> Record:
    if floor is None:
        return {name: numbers(mean(values)), band: numbers(sample.interval(values))}

    def of(value: Array, low: Array) -> Array:
        return normalised(value, low, value[..., :1])

    interval = sample.statistic(of, values, floor)
    return {name: numbers(of(mean(values), mean(floor))), band: numbers(interval)}


def _change(own: Array, sample: Resampler) -> Record:
    """Last point minus first, on the conversations that reached the last."""
    whole = np.where(np.isnan(own[:, -1:]), np.nan, own)
    value = mean(whole)
    interval = sample.statistic(lambda v: np.asarray(v[..., -1] - v[..., 0]), whole)
    return {"value": numbers(value[-1] - value[0]), "interval": numbers(interval)}


def _by_category(
    own: Array, floor: Array, planned: Sequence[Conversation], sample: Resampler
) -> Record:
    found: Record = {}
    categories = np.array([c.agent.category for c in planned])
    for category in dict.fromkeys(categories):
        where = categories == category
        curve, low = mean(own[where]), mean(floor[where])
        found[str(category)] = {
            "n": int(where.sum()),
            "stability": numbers(curve),
            "interval": numbers(sample.interval(own, where)),
            "ceiling": numbers(curve[0]),
            "floor": numbers(low[0]),
            "normalised": numbers(normalised(curve, low, curve[:1])),
        }
    return found


def prompt_share(records: Sequence[Record], planned: Sequence[Conversation], rounds: int) -> Record:
    """Prompt share by round, layer and head, or nulls where none was measured."""
    by_talk = np.full((len(planned), rounds + 1), np.nan)
    rows = {conversation.id: row for row, conversation in enumerate(planned)}
    probes: list[list[Record]] = [[] for _ in range(rounds + 1)]
    turns: list[list[Record]] = [[] for _ in range(rounds + 1)]
    for record in records:
        found = [a["share"] for a in record["answers"] if a.get("share")]
        probes[record["round"]] += found
        if found:
            share = float(np.mean(found[0]["heads"]))
            by_talk[rows[record["conversation"]], record["round"]] = share
        if "agent" in record and record["agent"].get("share"):
            turns[record["round"]].append(record["agent"]["share"])
    if not any(probes):
        return {"prompt_share": None, "prompt_share_interval": None, "share_detail": None}
    heads = [_mean([s["heads"] for s in at]) for at in probes]
    detail = {
        "heads": [None if h is None else numbers(h) for h in heads],
        "layers": [None if h is None else numbers(h.mean(axis=1)) for h in heads],
        "template": [_scalar([s["heads_template"] for s in at]) for at in probes],
        "dilution": [_scalar([s["span"] / s["length"] for s in at]) for at in probes],
        "within": [_within(at) for at in probes],
        "turns": {
            "rounds": list(range(1, rounds + 1)),
            "within": [_within(at) for at in turns[1:]],
        },
    }
    return {
        "prompt_share": numbers(mean(by_talk)),
        "prompt_share_interval": numbers(Resampler.of(*labels(planned)).interval(by_talk)),
        "share_detail": detail,
    }


def _mean(values: Sequence[Any]) -> Array | None:
    return np.mean(np.asarray(values, float), axis=0) if values else None


def _scalar(values: Sequence[Any]) -> float | None:
    return round(float(np.mean(np.asarray(values, float))), 4) if values else None


def _within(shares: Sequence[Record], positions: int = 32) -> list[float | None]:
    """Mean share at each token of the reply, over the replies that are that long."""
    longest = min(positions, max((len(s["tokens"]) for s in shares), default=0))
    return [
        _scalar([s["tokens"][i] for s in shares if len(s["tokens"]) > i]) for i in range(longest)
    ]


def costs(records: Sequence[Record]) -> Record:
    """Failures and tokens, over every reply of the run."""
    failures: Counter[str] = Counter(empty=0, length=0, overflow=0, error=0)
    tokens = np.zeros(3, int)
    for record in records:
        parts = [*record["answers"], *record.get("questions", ())]
        parts += [record[k] for k in ("user", "agent") if k in record]
        parts += [record["filled"]["agent"]] if "filled" in record else []
        for reply in parts:
            tokens += reply["tokens"]
            if reply["stop"] != "stop":
                failures[reply["stop"]] += 1
            elif not reply["text"].strip():
                failures["empty"] += 1
    ratios = [r["filled"]["tokens"] for r in records if "filled" in r]
    ratio = sum(f for _, f in ratios) / max(1, sum(u for u, _ in ratios)) if ratios else None
    return {
        "failures": dict(failures),
        "tokens": dict(zip(("prompt", "cached", "completion"), map(int, tokens), strict=True)),
        "filler_token_ratio": None if ratio is None else round(ratio, 3),
    }
