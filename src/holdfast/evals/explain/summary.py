"""From records to numbers: share, dimension and score by round, and how they go together.

Means and intervals are those of a drift run: over conversations, and differences between
controls and between sets are paired by conversation.
Correlations are taken within each round, since over the rounds everything falls or rises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from holdfast.core.intervals import Sample
from holdfast.core.stats import Array, mean, numbers
from holdfast.evals.conversation.controlled import ControlledPlan
from holdfast.evals.conversation.curves import sample_of
from holdfast.evals.conversation.judging import scores
from holdfast.evals.conversation.prompt_share import prompt_share
from holdfast.evals.explain.intrinsic_dimension import Dimension
from holdfast.evals.explain.rank_correlation import Correlation, correlation, pooled_correlation
from holdfast.evals.explain.value_vectors import COUNTS, DRAWS, VectorSet, dimension_array, turns_of
from holdfast.results.conversation import JudgedConversation, ProbeAnswer, RoundRecord
from holdfast.results.drift import Values
from holdfast.results.explain import (
    Association,
    ControlExplanation,
    ConversationMean,
    DimensionCurve,
    DimensionGrowth,
    DimensionSummary,
    RankCorrelation,
    RoundCorrelation,
    SetDimension,
    ShareBefore,
)

NO_PERSONA, SHUFFLED = "no persona", "shuffled"
FIRST_ROUNDS = {"few": 0, "many": 1}
"""The first round that has an equal number of vectors."""


@dataclass(frozen=True)
class RecordsByControl:
    """The same conversations under every control: their records and scores."""

    plan: ControlledPlan
    """The conversations and the controls."""
    rounds: int
    """R, the rounds of each conversation."""
    records: Sequence[RoundRecord]
    """The records of the run."""
    conversations: Sequence[JudgedConversation]
    """The conversations with their scores."""

    @property
    def sample(self) -> Sample:
        """What the conversations share, for every interval."""
        return sample_of(self.plan.conversations)

    def under(self, k: int) -> list[RoundRecord]:
        """The records under the control at a position."""
        return [one for one in self.records if self.plan.locate(one.conversation)[0] == k]

    def turns(self, k: int, conversation: int) -> list[str]:
        """The turns of a conversation under the control at a position."""
        return turns_of(self.records, self.plan.record_id(k, conversation))

    def scores(self, k: int) -> Array:
        """Judge scores under one control: (conversations, rounds + 1)."""
        by_id = {one.id: one for one in self.conversations}
        return scores([by_id[id_] for id_ in self.plan.record_ids(k)], "own", self.rounds + 1)

    def shares(self, k: int) -> tuple[Array, Array]:
        """Share of the probe's answer, and dilution: (conversations, rounds + 1) each."""
        size = len(self.plan.conversations), self.rounds + 1
        share, dilution = np.full((2, *size), np.nan)
        for record in self.under(k):
            _, conversation = self.plan.locate(record.conversation)
            for answer in record.answers:
                if answer.arm == "own" and answer.share:
                    at = conversation, record.round
                    share[at] = float(np.mean(answer.share.heads))
                    dilution[at] = answer.share.span / answer.share.length
        return share, dilution


def control_explanations(records: RecordsByControl) -> list[ControlExplanation]:
    """Stability and share under every control, by round, layer and head, and against `none`."""
    sample = records.sample
    return [_control(records, k, sample) for k in range(len(records.plan.controls))]


def _control(records: RecordsByControl, k: int, sample: Sample) -> ControlExplanation:
    plan = records.plan
    conversations = [
        replace(c, id=id_) for c, id_ in zip(plan.conversations, plan.record_ids(k), strict=True)
    ]
    own, share = records.scores(k), records.shares(k)[0]
    # Beside itself `none` differs by nothing, and that is no estimate.
    plain, bare = (records.scores(0), records.shares(0)[0]) if k else (None, None)
    before = prompt_share(_before(records.under(k)), conversations, records.rounds)
    detail = before.share_detail
    return ControlExplanation(
        control=plan.controls[k].text,
        n=[int(v) for v in (~np.isnan(own)).sum(axis=0)],
        stability=numbers(mean(own)),
        interval=numbers(sample.score_interval(own)),
        stability_delta=_difference(own, plain, sample.difference_interval),
        share=prompt_share(records.under(k), conversations, records.rounds),
        share_delta=_difference(share, bare, sample.share_difference_interval),
        before=ShareBefore(
            before.prompt_share,
            before.prompt_share_interval,
            detail.layers if detail else None,
            detail.heads if detail else None,
        ),
    )


def _before(records: Sequence[RoundRecord]) -> list[RoundRecord]:
    """The records with the share that plain attention would have given."""
    return [
        replace(record, answers=tuple(map(_without_steering, record.answers))) for record in records
    ]


def _without_steering(answer: ProbeAnswer) -> ProbeAnswer:
    share = answer.share
    if not share or not share.heads_before:
        return answer
    return replace(answer, share=replace(share, heads=share.heads_before))


def _difference(
    values: Array, others: Array | None, interval: Callable[[Array, Array], Array]
) -> ConversationMean:
    """The mean over rounds 1…R of each conversation less the others', both in [0, 1].

    `others` is None for the control that the others are compared with: it differs by exactly 0.
    """
    if others is None:
        n = int((~np.isnan(values[:, 1:])).any(axis=1).sum())
        if not n:
            return ConversationMean(None, [None, None], 0)
        return ConversationMean(0.0, [0.0, 0.0], n)
    missing = np.isnan(values) | np.isnan(others)
    a, b = (mean(np.where(missing, np.nan, v)[:, 1:], axis=1) for v in (values, others))
    n = int((~np.isnan(a)).sum())
    return ConversationMean(numbers(mean(a - b)), numbers(interval(a, b)), n)


def _estimate(values: Array, sample: Sample) -> ConversationMean:
    """The mean over conversations, its interval, and how many entered."""
    interval = sample.mean_interval(values)
    return ConversationMean(
        numbers(mean(values)), numbers(interval), int((~np.isnan(values)).sum())
    )


def dimension_summary(
    records: RecordsByControl, sets: Sequence[VectorSet], counts: Mapping[str, int]
) -> DimensionSummary:
    """Both counts of every set by round and layer, and how much each grows beyond the others.

    Args:
        records: the conversations.
        sets: the sets of every conversation.
        counts: their equal numbers of vectors.
    """
    sample = records.sample
    by_count = {count: _arrays(records, sets, count) for count in COUNTS}

    def curves(name: str, measure: int) -> dict[str, DimensionCurve]:
        return {count: _curve(by_count[count][name][..., measure], sample) for count in COUNTS}

    return DimensionSummary(
        vectors=dict(counts),
        draws=DRAWS,
        sets=[
            SetDimension(name, _tokens(records, sets, name), curves(name, 0), curves(name, 1))
            for name in by_count["all"]
        ],
        growth=[
            row
            for count, first in FIRST_ROUNDS.items()
            for row in _growth(by_count[count], count, first, sample)
        ],
    )


def _arrays(records: RecordsByControl, sets: Sequence[VectorSet], count: str) -> dict[str, Array]:
    """By set, (conversations, rounds + 1, layers, 2), from the first round that all reach."""
    ids, arrays = [c.id for c in records.plan.conversations], dict[str, Array]()
    for name in dict.fromkeys(one.set for one in sets):
        own = [one for one in sets if one.set == name]
        arrays[name] = dimension_array(own, ids, count, records.rounds)
        arrays[name][:, : FIRST_ROUNDS.get(count, 0)] = np.nan
    return arrays


def _tokens(records: RecordsByControl, sets: Sequence[VectorSet], name: str) -> Values:
    """Mean number of vectors by round."""
    tokens = np.full((len(records.plan.conversations), records.rounds + 1), np.nan)
    for row, one in enumerate(one for one in sets if one.set == name):
        tokens[row, : len(one.tokens)] = one.tokens
    values: Values = numbers(mean(tokens))
    return values


def _curve(values: Array, sample: Sample) -> DimensionCurve:
    """From (conversations, rounds + 1, layers): the mean over layers, and each layer's."""
    overall = mean(values, axis=2)
    interval = sample.mean_interval(overall)
    return DimensionCurve(numbers(mean(overall)), numbers(interval), numbers(mean(values)))


def _growth(
    arrays: Mapping[str, Array], count: str, first: int, sample: Sample
) -> Iterator[DimensionGrowth]:
    """Growth of each measure from a round to the last, mean over layers, and beyond other sets."""
    for i, measure in enumerate(Dimension._fields):
        growth = {
            name: mean(values[:, -1, :, i] - values[:, first, :, i], axis=1)
            for name, values in arrays.items()
        }
        for name, own in growth.items():
            others = [] if name in (NO_PERSONA, SHUFFLED) else [NO_PERSONA, SHUFFLED]
            yield DimensionGrowth(
                set=name,
                measure=measure,
                count=count,
                from_round=first,
                growth=_estimate(own, sample),
                beyond={other: _estimate(own - growth[other], sample) for other in others},
            )


def associations(records: RecordsByControl, sets: Sequence[VectorSet]) -> list[Association]:
    """How share, dilution and dimension go with the score under every control."""
    sample = records.sample
    dimensions = _arrays(records, sets, "many") if sets else {}
    return [
        row
        for k in range(len(records.plan.controls))
        for row in _associations(records, k, dimensions, sample)
    ]


def _associations(
    records: RecordsByControl, k: int, dimensions: Mapping[str, Array], sample: Sample
) -> Iterator[Association]:
    """Rank correlations with the score, round by round and averaged over rounds 1…R."""
    control, score = records.plan.controls[k].text, records.scores(k)[:, 1:]
    share, dilution = (values[:, 1:] for values in records.shares(k))
    measures = {"share": share, "dilution": dilution}
    if dimensions:
        measures["dimension"] = mean(dimensions[control][:, 1:, :, 0], axis=2)
    for measure, values in measures.items():
        at_dilution = None
        if measure != "dilution":
            at_dilution = _rank_correlation(pooled_correlation(values, score, sample, dilution))
        yield Association(
            control=control,
            measure=measure,
            by_round=[
                RoundCorrelation(
                    round=r + 1,
                    correlation=_rank_correlation(correlation(values[:, r], score[:, r], sample)),
                )
                for r in range(score.shape[1])
            ],
            pooled=_rank_correlation(pooled_correlation(values, score, sample)),
            given_dilution=at_dilution,
        )


def _rank_correlation(one: Correlation) -> RankCorrelation:
    return RankCorrelation(numbers(np.array(one.rho)), numbers(np.array(one.interval)), one.n)
