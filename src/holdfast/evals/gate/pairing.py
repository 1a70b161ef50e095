"""Two runs of drift as pairs of the same conversations, or why they are none.

A conversation has a pair where both runs have the same personas by id, the same first message and
the same seed (in recorded chats: the same messages of the user; where only their replies are judged
the seed, which chooses probes, does not count). What is measured must be the same
too: probes, judges, and how often a probe is asked. What answers may differ, and is named: the
model, the prompts, the control, the sampling.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.core.errors import RunError
from holdfast.core.records import Record
from holdfast.evals.conversation.judging import judge_conversations
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.run_folder import RecordedRun, read_run
from holdfast.results.conversation import JudgedConversation

SAME = ("seed", "runs", "reference")
"""What a protocol must have in common."""


@dataclass(frozen=True)
class GateSide:
    """One of two runs, its conversations in the order of the pairs."""

    source: RecordedRun
    plans: Sequence[Conversation]
    """Its paired conversations."""
    conversations: Sequence[JudgedConversation]
    """These conversations with their scores, without answers that failed."""
    errors: Sequence[int]
    """The round of each answer that failed."""

    @property
    def manifest(self) -> Record:
        """What determined its records."""
        return self.source.run.manifest

    @property
    def unpaired_count(self) -> int:
        """Conversations without a pair."""
        return len(self.source.plans) - len(self.plans)


def pair(baseline: Path, candidate: Path) -> tuple[GateSide, GateSide]:
    """Both runs, with the conversations that they share.

    Raises:
        RunError: One is no finished run of drift, or they cannot be compared; names what differs.
    """
    before, after = (read_run(folder, ("drift",)) for folder in (baseline, candidate))
    for run in (before, after):
        _refuse_unfinished(run)
    _refuse_other_questions(before, after)
    old, new = _by_key(before), _by_key(after)
    shared_keys = [key for key in old if key in new]
    if len(shared_keys) < min(len(old), len(new)):
        raise RunError(_other_conversations(before, after, len(shared_keys)))
    return (
        _side(before, [old[key] for key in shared_keys]),
        _side(after, [new[key] for key in shared_keys]),
    )


def _by_key(run: RecordedRun) -> dict[Hashable, Conversation]:
    """The conversations by what a pair has in common; of those alike the first meets the first."""
    probed = run.run.manifest["model"] is not None
    counts = Counter[Hashable]()
    by_key: dict[Hashable, Conversation] = {}
    for plan in run.plans:
        seed = plan.seed if probed else None
        key = plan.agent.id, plan.user.id, plan.starter, seed, (plan.script or ())[::2]
        by_key[key, counts[key]] = plan
        counts[key] += 1
    return by_key


def _side(run: RecordedRun, plans: Sequence[Conversation]) -> GateSide:
    by_id = {one.id: one for one in judge_conversations(run.run, run.plans, None)}
    conversations = [by_id[plan.id] for plan in plans]
    errors = [
        at.round
        for one in conversations
        for at in one.rounds
        for answer in at.probes
        if answer.arm in ("own", "reply") and answer.stop == "error"
    ]
    return GateSide(run, plans, [_without_errors(one) for one in conversations], errors)


def _without_errors(conversation: JudgedConversation) -> JudgedConversation:
    """The conversation without answers that failed, which say nothing of a persona."""
    rounds = (
        replace(at, probes=tuple(one for one in at.probes if one.stop != "error"))
        for at in conversation.rounds
    )
    return replace(conversation, rounds=tuple(rounds))


def unfinished_conversations(run: RecordedRun) -> list[int]:
    """Ids of the conversations that have rounds left."""
    records = run.run.records
    ended_early = {record.conversation for record in records if record.stopped}
    last = {record.conversation: record.round for record in records}
    return [
        plan.id
        for plan in run.plans
        if plan.id not in ended_early and last.get(plan.id, -1) < plan.rounds(run.rounds)
    ]


def _refuse_unfinished(run: RecordedRun) -> None:
    records = run.run.records
    if unfinished := unfinished_conversations(run):
        raise RunError(
            f"{run.folder} is not finished ({len(unfinished)} of {len(run.plans)} conversations "
            "have rounds left): run its command again first."
        )
    verdict_keys = {verdict.answer[:2] for verdict in run.run.verdicts}
    rubric = {plan.id for plan in run.plans if plan.agent.needs_model}
    answer_keys = {
        (r.conversation, r.round) for r in records if r.conversation in rubric and r.answers
    }
    if not answer_keys <= verdict_keys:
        raise RunError(
            f"{run.folder} lacks verdicts of its judge model: run its command again first."
        )


def _refuse_other_questions(baseline: RecordedRun, candidate: RecordedRun) -> None:
    """Raise `RunError` where the two were measured in different ways."""
    was, now = baseline.run.manifest, candidate.run.manifest
    for name in SAME:
        old, new = was["protocol"].get(name), now["protocol"].get(name)
        if old != new:
            raise RunError(
                f"the runs cannot be compared: {name} was {old} in {baseline.folder}, is {new} in "
                f"{candidate.folder}; run the candidate with the baseline's --{name}."
            )
    if (was["model"] is None) != (now["model"] is None):
        probed, judged = (candidate, baseline) if was["model"] is None else (baseline, candidate)
        raise RunError(
            f"the runs cannot be compared: {probed.folder} asked a model probes, {judged.folder} "
            "judged the replies of its chats; name a `model` in both runs, or in neither."
        )
    judges = [(manifest["judge_model"] or {}).get("name", "none") for manifest in (was, now)]
    if was["judge_model"] != now["judge_model"]:
        raise RunError(
            f"the runs cannot be compared: their judge models differ ({judges[0]} and "
            f"{judges[1]}); run the candidate with the baseline's `judge_model`."
        )
    screens = [(manifest.get("screened") or {}).get("personas") for manifest in (was, now)]
    if screens[0] != screens[1]:
        raise RunError(
            "the runs cannot be compared: their screenings kept different personas, and one that "
            "a run no longer holds is left out of it; run both without `screen`, or choose the "
            "personas with `agents`."
        )
    agents = [{plan.agent.id: plan.agent for plan in run.plans} for run in (baseline, candidate)]
    for id_, persona in agents[0].items():
        for what in ("probes", "judge") if id_ in agents[1] else ():
            if getattr(persona, what) != getattr(agents[1][id_], what):
                raise RunError(
                    f"the runs cannot be compared: {what} of the persona {id_} differ; run the "
                    "baseline again with the candidate's persona file."
                )


def _other_conversations(baseline: RecordedRun, candidate: RecordedRun, shared_count: int) -> str:
    """Why two plans are not the same conversations, in one sentence."""
    names = [str(run.run.manifest["suite"]) for run in (baseline, candidate)]
    agents = [{plan.agent.id for plan in run.plans} for run in (baseline, candidate)]
    common = len(agents[0] & agents[1])
    if names[0] != names[1]:
        why = f"their suites differ ({names[0]} and {names[1]}"
        why += f", with {common} personas in common)" if common else ")"
    elif agents[0] != agents[1]:
        one = sorted(agents[0] ^ agents[1])[0]
        why = f"their personas differ ({one} is in one of them only)"
    else:
        why = "their conversations differ (another first message, user or chat)"
    return (
        f"the runs cannot be compared: {why}, and they share {shared_count} of "
        f"{len(baseline.plans)} and {len(candidate.plans)} conversations; run the candidate with "
        "the baseline's `suite`, `persona`, `agents`, `users` and `topic`."
    )


def differences(baseline: GateSide, candidate: GateSide) -> Iterator[str]:
    """What differs between the runs that may: all that answers."""
    was, now = baseline.manifest, candidate.manifest
    yield from _differing(was, now, ("model", "user_model", "control_files", "version"), _name)
    yield from _differing(was["protocol"], now["protocol"], ("control",), str)
    sampling = was["protocol"]["sampling"], now["protocol"]["sampling"]
    yield from _differing(*sampling, list(sampling[0]), str)
    prompts = [
        {p.id: p.prompt for plan in side.plans for p in (plan.agent, plan.user)}
        for side in (baseline, candidate)
    ]
    changed_ids = [id_ for id_, prompt in prompts[0].items() if prompts[1][id_] != prompt]
    if changed_ids:
        more = f" and {len(changed_ids) - 3} more" if len(changed_ids) > 3 else ""
        yield f"prompt of {', '.join(changed_ids[:3])}{more}"


def _differing(
    was: Mapping[str, Any], now: Mapping[str, Any], keys: Sequence[str], name: Callable[[Any], str]
) -> Iterator[str]:
    for key in keys:
        old, new = was.get(key), now.get(key)
        if old != new:
            texts = name(old), name(new)
            pair_ = f" ({texts[0]}, {texts[1]})" if texts[0] != texts[1] else ""
            yield f"{key.replace('_', ' ')}{pair_}"


def _name(value: Any) -> str:
    return str(value.get("name", "") if isinstance(value, Mapping) else value)
