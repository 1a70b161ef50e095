"""From records to numbers: share, dimension and score by round, and how they go together.

Means and intervals are those of a drift run: over conversations, resampled with one set of
draws for everything, so that differences between controls and between sets are paired.
Correlations are taken within each round, since over the rounds everything falls or rises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from holdfast.core.records import Record, as_record
from holdfast.core.stats import Array, Resampler, mean, numbers
from holdfast.evals.conversation.controlled import ControlledPlan
from holdfast.evals.conversation.curves import cluster_labels
from holdfast.evals.conversation.judging import scores
from holdfast.evals.conversation.prompt_share import prompt_share
from holdfast.evals.explain import value_vectors as vectors
from holdfast.evals.explain.intrinsic_dimension import Dimension
from holdfast.evals.explain.rank_correlation import Correlation, correlation, pooled
from holdfast.results.conversation import JudgedConversation, ProbeAnswer, RoundRecord

PLAIN, SHUFFLED = "no persona", "shuffled"
_GROWTH = {"few": 0, "many": 1}  # an equal number of vectors, and the first round that has it


@dataclass(frozen=True)
class Lanes:
    """The same conversations under every control: their records, and them judged."""

    plan: ControlledPlan
    rounds: int
    records: Sequence[RoundRecord]
    talks: Sequence[JudgedConversation]

    def ids(self, k: int) -> list[int]:
        """The conversations' ids in the records, under one control."""
        return self.plan.record_ids(k)

    def of(self, k: int) -> list[RoundRecord]:
        """The records under one control."""
        ids = set(self.ids(k))
        return [record for record in self.records if record.conversation in ids]

    def said(self, k: int, conversation: int) -> list[str]:
        """The turns of a conversation under a control."""
        return vectors.said(self.records, self.plan.record_id(k, conversation))

    def scores(self, k: int) -> Array:
        """Judge scores under one control: (conversations, rounds + 1)."""
        held = {talk.id: talk for talk in self.talks}
        return scores([held[id_] for id_ in self.ids(k)], "own", self.rounds + 1)

    def shares(self, k: int) -> tuple[Array, Array]:
        """Share of the probe's answer, and dilution: (conversations, rounds + 1) each."""
        rows = {id_: row for row, id_ in enumerate(self.ids(k))}
        share, dilution = np.full((2, len(rows), self.rounds + 1), np.nan)
        for record in self.of(k):
            for answer in record.answers:
                if answer.arm == "own" and answer.share:
                    at = rows[record.conversation], record.round
                    share[at] = float(np.mean(answer.share.heads))
                    dilution[at] = answer.share.span / answer.share.length
        return share, dilution


def account(lanes: Lanes, sets: Sequence[Record], counts: Mapping[str, int]) -> Record:
    """What the summary says: `controls`, `dimension` (None without sets) and `association`.

    `counts` are the equal numbers of vectors of the sets.
    """
    sample = Resampler.of(*cluster_labels(lanes.plan.conversations))
    controls = range(len(lanes.plan.controls))
    return {
        "controls": [_control(lanes, k, sample) for k in controls],
        "dimension": _dimension(lanes, sets, counts, sample) if sets else None,
        "association": [row for k in controls for row in _associations(lanes, k, sets, sample)],
    }


def _control(lanes: Lanes, k: int, sample: Resampler) -> Record:
    """Stability and share under one control, by round, layer and head, and against `none`."""
    planned = [
        replace(c, id=id_) for c, id_ in zip(lanes.plan.conversations, lanes.ids(k), strict=True)
    ]
    own, plain = lanes.scores(k), lanes.scores(0)
    share, bare = lanes.shares(k)[0], lanes.shares(0)[0]
    before = prompt_share(_before(lanes.of(k)), planned, lanes.rounds)
    detail = before.share_detail
    return {
        "control": lanes.plan.controls[k].text,
        "n": [int(v) for v in (~np.isnan(own)).sum(axis=0)],
        "stability": numbers(mean(own)),
        "interval": numbers(sample.interval(own)),
        "stability_delta": _later(own - plain, sample),
        **as_record(prompt_share(lanes.of(k), planned, lanes.rounds)),
        "share_delta": _later(share - bare, sample),
        "before": {
            "prompt_share": before.prompt_share,
            "prompt_share_interval": before.prompt_share_interval,
            "layers": detail.layers if detail else None,
            "heads": detail.heads if detail else None,
        },
    }


def _before(records: Sequence[RoundRecord]) -> list[RoundRecord]:
    """The records with the share that plain attention would have given."""
    return [replace(record, answers=tuple(map(_unsteered, record.answers))) for record in records]


def _unsteered(answer: ProbeAnswer) -> ProbeAnswer:
    if not answer.share or not answer.share.heads_before:
        return answer
    return replace(answer, share=replace(answer.share, heads=answer.share.heads_before))


def _later(values: Array, sample: Resampler) -> Record:
    """The mean over rounds 1…R of each conversation, averaged."""
    return _value(mean(values[:, 1:], axis=1), sample)


def _value(values: Array, sample: Resampler) -> Record:
    """The mean over conversations, its interval, and how many entered."""
    interval = sample.statistic(lambda v: v, values)
    n = int((~np.isnan(values)).sum())
    return {"value": numbers(mean(values)), "interval": numbers(interval), "n": n}


def _arrays(lanes: Lanes, sets: Sequence[Record], count: str) -> dict[str, Array]:
    """By set, (conversations, rounds + 1, layers, 2), from the first round that all reach."""
    ids, names = (
        [c.id for c in lanes.plan.conversations],
        dict.fromkeys(record["set"] for record in sets),
    )
    found = {}
    for name in names:
        mine = [record for record in sets if record["set"] == name]
        found[name] = vectors.array(mine, ids, count, lanes.rounds)
        found[name][:, : _GROWTH.get(count, 0)] = np.nan
    return found


def _dimension(
    lanes: Lanes, sets: Sequence[Record], counts: Mapping[str, int], sample: Resampler
) -> Record:
    """Both counts of every set by round and layer, and how much each grows beyond the others."""
    by_count = {count: _arrays(lanes, sets, count) for count in vectors.COUNTS}
    names = list(by_count["all"])
    return {
        "vectors": dict(counts),
        "draws": vectors.DRAWS,
        "sets": [
            {"set": name, "tokens": _tokens(lanes, sets, name)}
            | {
                field: {
                    count: _by_round(by_count[count][name][..., i], sample)
                    for count in vectors.COUNTS
                }
                for i, field in enumerate(Dimension._fields)
            }
            for name in names
        ],
        "growth": [
            row
            for count, first in _GROWTH.items()
            for row in _growth(by_count[count], count, first, sample)
        ],
    }


def _tokens(lanes: Lanes, sets: Sequence[Record], name: str) -> Any:
    """Mean number of vectors by round."""
    found = np.full((len(lanes.plan.conversations), lanes.rounds + 1), np.nan)
    for row, record in enumerate(r for r in sets if r["set"] == name):
        found[row, : len(record["tokens"])] = record["tokens"]
    return numbers(mean(found))


def _by_round(values: Array, sample: Resampler) -> Record:
    """(conversations, rounds + 1, layers): the mean over layers with its interval, and layers."""
    overall = mean(values, axis=2)
    return {
        "mean": numbers(mean(overall)),
        "interval": numbers(sample.statistic(lambda v: v, overall)),
        "layers": numbers(mean(values)),
    }


def _growth(
    arrays: Mapping[str, Array], count: str, first: int, sample: Resampler
) -> Iterator[Record]:
    """Growth of each count from a round to the last, mean over layers, and beyond other sets."""
    for i, field in enumerate(Dimension._fields):
        grown = {
            name: mean(values[:, -1, :, i] - values[:, first, :, i], axis=1)
            for name, values in arrays.items()
        }
        for name, own in grown.items():
            others = [] if name in (PLAIN, SHUFFLED) else [PLAIN, SHUFFLED]
            yield {
                "set": name,
                "measure": field,
                "count": count,
                "from": first,
                **_value(own, sample),
                "beyond": {other: _value(own - grown[other], sample) for other in others},
            }


def _associations(
    lanes: Lanes, k: int, sets: Sequence[Record], sample: Resampler
) -> Iterator[Record]:
    """Rank correlations with the score, round by round and averaged over rounds 1…R."""
    score = lanes.scores(k)[:, 1:]
    share, dilution = (values[:, 1:] for values in lanes.shares(k))
    measured = {"share": share, "dilution": dilution}
    if sets:
        many = _arrays(lanes, sets, "many")[lanes.plan.controls[k].text]
        measured["dimension"] = mean(many[:, 1:, :, 0], axis=2)
    for name, values in measured.items():
        fixed = None if name == "dilution" else _correlated(pooled(values, score, sample, dilution))
        yield {
            "control": lanes.plan.controls[k].text,
            "measure": name,
            "by_round": [
                {"round": r + 1, **_correlated(correlation(values[:, r], score[:, r], sample))}
                for r in range(score.shape[1])
            ],
            "pooled": _correlated(pooled(values, score, sample)),
            "given_dilution": fixed,
        }


def _correlated(found: Correlation) -> Record:
    return {
        "rho": numbers(np.array(found.rho)),
        "interval": numbers(np.array(found.interval)),
        "n": found.n,
    }
