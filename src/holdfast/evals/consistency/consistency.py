"""Do both sides of recorded conversations keep to their prompts, and was the user a user?

With a judge, for the lines l₁ … lₙ of one side of a conversation and its prompt P,

    prompt to line    share of lines of which the judge does not say that they contradict P
    line to line      1 - Σᵢ |earlier lines that lᵢ contradicts| / Σᵢ (i - 1)
    question, answer  share of questions on P that are answered rightly from what was said

each a mean over conversations; in the folder of a run over pairs of personas, of each the mean
under all controls, since what a pair says under one is much like what it says under another.
Questions and their judges are those that `personas draft` makes of
P: names and facts. Verdicts that say neither are left out and counted, and before anything is
judged the judge must do well on labelled lines. Without a judge only the rules of `simulated_user`
look at the conversations.

Source: Abdulhai et al., *Consistently Simulating Human Personas with Multi-Turn Reinforcement
Learning*, 2025 (arXiv:2511.00222). In its code the questions are answered with the prompt in
sight, and a verdict without YES counts as consistent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast import judge as judges
from holdfast.core.backend import Backend
from holdfast.core.errors import HoldfastError, PersonaError
from holdfast.core.intervals import Sample
from holdfast.core.records import dumps
from holdfast.core.run import Run
from holdfast.core.settings import changed_settings, option, settle
from holdfast.core.stats import Array, mean, numbers
from holdfast.core.version import __version__
from holdfast.evals.consistency.dialogues import Dialogue, read_dialogues
from holdfast.evals.consistency.planted import try_rules
from holdfast.evals.consistency.simulated_user import KINDS, find_faults
from holdfast.evals.consistency.verdicts import LABELS, ModelJudge, check_judge, read_labels
from holdfast.evals.logs.formats import FORMAT_HELP
from holdfast.persona.draft.demand import material
from holdfast.persona.draft.drafting import ALWAYS, draft
from holdfast.persona.files import text_or_file
from holdfast.results.interval import Interval
from holdfast.results.recorded.consistency import (
    Consistency,
    ConsistencyManifest,
    ConsistencySummary,
    JudgeCheck,
    JudgeReply,
    SideConsistency,
)

SIDES = {"user": "user", "agent": "assistant"}
"""The sides by their roles."""


@dataclass(frozen=True, kw_only=True)
class ConsistencySettings:
    """What is looked at, and how good a judge must be."""

    format: str | None = option(None, FORMAT_HELP)
    user_prompt: str | None = option(
        None, "The simulated user's prompt, or @FILE with one, where the log does not have it."
    )
    labels: Path | None = option(None, "Labelled lines to try the judge on; by default 24 of ours.")
    """JSONL of prompt, line and contradicts."""
    least: float = option(0.75, "Balanced accuracy on them that a judge needs.")
    """The least mean of the shares of contradictions found and agreements let pass."""

    def __post_init__(self) -> None:
        if not 0 <= self.least <= 1:
            raise HoldfastError(f"`least` is a share from 0 to 1, not {self.least:g}")


def consistency(
    log: Path | str,
    judge_model: Backend | None = None,
    settings: ConsistencySettings | None = None,
    *,
    out: Path | str | None = None,
    **changes: Any,
) -> ConsistencySummary:
    """Measure both sides' consistency; what `holdfast personas consistency` does.

    Args:
        log: a log in any format, or the folder of a drift or compare run.
        judge_model: judges lines; without one only the rules look at them.
        settings: what to do; by default the defaults of `ConsistencySettings`.
        out: folder of the judge's replies, from which the same call goes on; None keeps none.
        **changes: fields of `ConsistencySettings` in place of those in `settings`.

    Raises:
        HoldfastError: something the user can mend, such as a judge that is no better than chance.
    """
    settings = settle(settings, ConsistencySettings, changes, *filter(None, (judge_model,)))
    if judge_model is None and (unread := changed_settings(settings, "labels", "least")):
        raise HoldfastError(f"{unread[0]} is of a judge: name a `judge_model`, or leave it out.")
    prompt = text_or_file(settings.user_prompt) if settings.user_prompt else None
    dialogues, reading = read_dialogues(Path(log), settings.format, prompt)
    faults, counts = find_faults(dialogues)
    run = judge = check = None
    if judge_model is not None:
        run = _run(out, dialogues, judge_model)
        judge = ModelJudge(judge_model, run)
        check = _check_judge(judge, settings)
    runs, pairs = len(dialogues), _PersonaPairs.of(dialogues)
    flagged_runs = {fault.run for fault in faults}
    is_valid = np.array([one.where not in flagged_runs for one in dialogues], float)
    summary = ConsistencySummary(
        log=str(log),
        runs=runs,
        pairs=pairs.sample.n,
        valid=int(is_valid.sum()),
        valid_interval=pairs.mean(is_valid)[1],
        faults={kind: sum(fault.kind == kind for fault in faults) for kind in KINDS},
        checked=counts,
        prompted=sum(one.user_prompt is not None for one in dialogues),
        planted=try_rules(dialogues, faults),
        flagged=tuple(faults),
        judge=check,
        user=_side("user", dialogues, judge) if judge else None,
        agent=_side("agent", dialogues, judge) if judge else None,
        reading=reading,
        version=__version__,
    )
    if run is not None:
        run.finish(summary)
    return summary


@dataclass(frozen=True)
class _PersonaPairs:
    """Which conversations are of one pair of personas; of a log each stands for itself."""

    rows: NDArray[np.int_]
    """The pair of each conversation."""
    sample: Sample
    """The pairs, in which personas recur."""

    @classmethod
    def of(cls, dialogues: Sequence[Dialogue]) -> _PersonaPairs:
        """The pairs of some conversations."""
        ids = list(dict.fromkeys(one.pair or one.where for one in dialogues))
        at = {one: i for i, one in enumerate(ids)}
        rows = np.array([at[one.pair or one.where] for one in dialogues])
        known = [one for one in ids if not isinstance(one, str)]
        personas = [*zip(*known, strict=True)] if len(known) == len(ids) else []
        return cls(rows, Sample(len(ids), personas))

    def mean(self, shares: Array) -> tuple[float, Interval, int]:
        """The mean over pairs of a share of each conversation, its interval, and how many enter."""
        there = ~np.isnan(shares)
        sums = np.bincount(self.rows, np.where(there, shares, 0.0))
        counts = np.bincount(self.rows, there)
        values = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
        low, high = numbers(self.sample.score_interval(values))
        return float(mean(values)), (low, high), int((~np.isnan(values)).sum())


def _run(
    out: Path | str | None, dialogues: Sequence[Dialogue], judge_model: Backend
) -> Run[JudgeReply]:
    texts = dumps([(one.turns, one.user_prompt, one.agent_prompt) for one in dialogues])
    manifest = ConsistencyManifest(
        command="personas consistency",
        version=__version__,
        log=hashlib.sha256(texts.encode()).hexdigest(),
        judge=judge_model.describe(),
    )
    return Run(out, manifest, JudgeReply)


def _check_judge(judge: ModelJudge, settings: ConsistencySettings) -> JudgeCheck:
    labels = read_labels(settings.labels or LABELS)
    check = check_judge(judge.contradictions, judge.name, labels)
    if check.balanced_accuracy < settings.least:
        raise HoldfastError(
            f"{judge.name} is no judge of lines: on {check.n} labelled ones it finds "
            f"{check.contradictions:.0%} of the contradictions and lets {check.agreements:.0%} of "
            f"the others pass ({check.unparsed} verdicts say neither); name another `judge_model`, "
            "or a lower `least`."
        )
    return check


def _side(name: str, dialogues: Sequence[Dialogue], judge: ModelJudge) -> SideConsistency | None:
    role = SIDES[name]
    with_prompt = [(one, prompt) for one in dialogues if (prompt := _prompt(one, name))]
    if not with_prompt:
        return None
    of_pairs = _PersonaPairs.of([one for one, _ in with_prompt])
    lines = [one.lines(role) for one, _ in with_prompt]
    pairs = [(n, (prompt, line)) for n, (_, prompt) in enumerate(with_prompt) for line in lines[n]]
    verdicts = judge.contradictions([pair for _, pair in pairs])
    to_prompt = _measure(
        [
            (n, None if v is None else float(not v), 1.0)
            for (n, _), v in zip(pairs, verdicts, strict=True)
        ],
        of_pairs,
    )
    later = [(n, (own[:i], own[i])) for n, own in enumerate(lines) for i in range(1, len(own))]
    counts = judge.conflicts([pair for _, pair in later])
    to_lines = _measure(
        [
            (n, None if count is None else len(earlier) - count, float(len(earlier)))
            for (n, (earlier, _)), count in zip(later, counts, strict=True)
        ],
        of_pairs,
    )
    to_questions, unsaid = _questions(name, with_prompt, judge, of_pairs)
    return SideConsistency(
        prompt_to_line=to_prompt, line_to_line=to_lines, question_answer=to_questions, unsaid=unsaid
    )


def _prompt(one: Dialogue, side: str) -> str | None:
    return one.user_prompt if side == "user" else one.agent_prompt


def _questions(
    side: str,
    with_prompt: Sequence[tuple[Dialogue, str]],
    judge: ModelJudge,
    of_pairs: _PersonaPairs,
) -> tuple[Consistency, int]:
    """Questions on the prompts, answered from the conversations; and how many are unsaid."""
    demands = {
        prompt: _facts(prompt) for prompt in dict.fromkeys(prompt for _, prompt in with_prompt)
    }
    questions = []
    for n, (one, prompt) in enumerate(with_prompt):
        text = "\n".join(
            f"{'agent' if who == 'assistant' else who}: {line}" for who, line in one.turns
        )
        questions += [
            (n, spec, (text, f"the {side}", question)) for question, spec in demands[prompt]
        ]
    answers = judge.answers([question for *_, question in questions])
    rows: list[tuple[int, float | None, float]] = []
    unsaid = 0
    for (n, spec, _), (parsed, answer) in zip(questions, answers, strict=True):
        if parsed and answer is None:
            unsaid += 1
            continue
        score = None if answer is None else float(judges.build(spec)(answer).value >= 0.5)
        rows.append((n, score, 1.0))
    return _measure(rows, of_pairs), unsaid


def _facts(prompt: str) -> list[tuple[str, Any]]:
    """Questions on what a prompt states, each with the judge of its answer."""
    try:
        demands = draft(prompt).demands
    except PersonaError:
        return []
    manner = ALWAYS | {tone["name"] for tone in material("tones")["tone"]}
    facts = [one for one in demands if one.kind == "deterministic" and one.name not in manner]
    return [(one.probes[0], one.judge) for one in facts if one.category in ("character", "memory")]


def _measure(
    verdicts: Sequence[tuple[int, float | None, float]], of_pairs: _PersonaPairs
) -> Consistency:
    """A measure over pairs.

    Args:
        verdicts: a conversation, how much of it is consistent (None: unparsed), and out of how
            much.
        of_pairs: the pair of each conversation.
    """
    sums = np.zeros((len(of_pairs.rows), 2))
    unparsed = 0
    for n, value, of in verdicts:
        if value is None:
            unparsed += 1
        else:
            sums[n] += (value, of)
    there = sums[:, 1] > 0
    if not there.any():
        return Consistency(None, (None, None), 0, 0, unparsed)
    shares = np.full(len(sums), np.nan)
    shares[there] = sums[there, 0] / sums[there, 1]
    return Consistency(*of_pairs.mean(shares), len(verdicts) - unparsed, unparsed)
