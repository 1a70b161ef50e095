"""The records of a run as a log of Inspect, for its viewer and its data frames.

A sample is a conversation; in a comparison, a conversation under one control. Its score is that of
the task `holdfast/drift` (`scores`), and the log's results have the same metric once for each
control. Everything is computed again from the records, so that the log says what the run's own page
says. The log has the answers to a comparison's questions, but not which of them are right: the
manifest does not say so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from inspect_ai.event import InfoEvent, SpanBeginEvent, SpanEndEvent
from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
    ModelOutput,
    ModelUsage,
)

from holdfast.core.errors import RunError
from holdfast.core.records import as_record, dumps
from holdfast.evals.conversation.costs import costs
from holdfast.evals.conversation.judging import judge_conversations
from holdfast.evals.conversation.plan import Conversation
from holdfast.evals.conversation.run_folder import RecordedRun, read_run
from holdfast.evals.gate.pairing import unfinished_conversations
from holdfast.evals.inspect.scores import as_score, model_usage, sample_id, stability_table
from holdfast.results.conversation import JudgedConversation, JudgedRound, RoundRecord

COMMANDS = ("drift", "compare")
"""Commands whose runs can be exported."""
JUDGE = "persona_judge"
"""The name of a sample's score, as in the task."""


@dataclass(frozen=True)
class Export(RecordedRun):
    """A run with what Inspect calls its parts."""

    @property
    def end_time(self) -> datetime:
        """When its last record was written."""
        return datetime.fromtimestamp((self.folder / "records.jsonl").stat().st_mtime, UTC)

    @property
    def several(self) -> bool:
        """Whether the conversations were held under several controls."""
        return len(self.controls) > 1

    def name(self, plan: Conversation) -> str:
        """A sample's id: one conversation has the same number under every control."""
        of = len(self.run.manifest["conversations"])
        return sample_id(replace(plan, id=plan.id % of), self.several)

    @property
    def model(self) -> str:
        """The model as Inspect would name it, or the user's of chats that were only judged."""
        model = self.run.manifest["model"]
        return f"holdfast/{model['name'] if model else 'history'}"


def export(folder: Path | str, out: Path | str) -> Path:
    """Write a run's records to a log of Inspect.

    Args:
        folder: the folder of a run of `drift` or `compare`.
        out: the log, which ends in .eval or .json.

    Returns:
        The path of the log.

    Raises:
        RunError: the folder holds no such run, or no log can have that name.
    """
    out = Path(out)
    if out.suffix not in (".eval", ".json"):
        raise RunError(f"a log of Inspect ends in .eval or .json, not as {out.name}: rename it.")
    run = read_run(Path(folder), COMMANDS)
    log = _log(Export(run.folder, run.run, run.plans))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_eval_log(log, str(out))
    except OSError as error:
        raise RunError(f"{out} could not be written ({error.strerror}): choose another.") from error
    return out


def _log(source: Export) -> EvalLog:
    run, plans = source.run, source.plans
    conversations = judge_conversations(run, plans, None)
    records: dict[int, list[RoundRecord]] = {plan.id: [] for plan in plans}
    for record in run.records:
        records[record.conversation].append(record)
    samples = [
        _sample(source, plan, conversation, records[plan.id])
        for plan, conversation in zip(plans, conversations, strict=True)
        if records[plan.id]
    ]
    when = source.end_time.isoformat()
    return EvalLog(
        status="cancelled" if unfinished_conversations(source) else "success",
        eval=_spec(source, [str(sample.id) for sample in samples], when),
        results=_results(source, samples),
        stats=EvalStats(
            started_at=when,
            completed_at=when,
            model_usage={source.model: _usage(run.records)},
        ),
        samples=samples,
    )


def _spec(source: Export, ids: list[str], when: str) -> EvalSpec:
    manifest = source.run.manifest
    sampling = manifest["protocol"]["sampling"]
    mark = hashlib.blake2b(dumps(manifest).encode(), digest_size=11).hexdigest()
    return EvalSpec(
        created=when,
        eval_id=mark,
        run_id=mark,
        task_id=mark,
        task=f"holdfast/{manifest['command']}",
        task_args={"suite": manifest["suite"], "rounds": source.rounds},
        dataset=EvalDataset(name=manifest["suite"], samples=len(ids), sample_ids=ids),
        model=source.model,
        model_args={"control": ", ".join(source.controls)},
        model_generate_config=GenerateConfig(
            temperature=sampling["temperature"],
            top_p=sampling["top_p"],
            max_tokens=sampling["max_new_tokens"],
            seed=manifest["protocol"]["seed"],
        ),
        config=EvalConfig(epochs=1),
        packages={"holdfast": manifest["version"]},
        metadata={"model": manifest["model"], "protocol": manifest["protocol"]},
    )


def _sample(
    source: Export,
    plan: Conversation,
    conversation: JudgedConversation,
    records: list[RoundRecord],
) -> EvalSample:
    """A conversation: the agent's view of it as messages, its rounds and probes as a transcript."""
    control = str(plan.control)
    score = as_score(conversation, source.rounds)
    messages: list[ChatMessage] = [ChatMessageSystem(content=plan.agent.prompt)]
    for at in conversation.rounds:
        if at.user is not None and at.agent is not None:
            messages.append(ChatMessageUser(content=at.user))
            messages.append(ChatMessageAssistant(content=at.agent, model=source.model))
    return EvalSample(
        id=source.name(plan),
        epoch=1,
        input=plan.starter,
        target="",
        messages=messages,
        output=ModelOutput.from_content(source.model, messages[-1].text if messages[1:] else ""),
        scores={JUDGE: score},
        metadata={
            "conversation": plan.id,
            "control": control,
            "agent": plan.agent.id,
            "category": plan.agent.category,
            "user": plan.user.id,
            "user_prompt": plan.user.prompt,
        },
        store={"rounds": as_record(records)},
        events=[event for at in conversation.rounds for event in _events(source, at)],
        model_usage={source.model: _usage(records)},
    )


def _events(source: Export, at: JudgedRound) -> list[Any]:
    """A round as a span: its two turns, and every probe with its judge's score."""
    name = f"round {at.round}"
    turns = [("user", at.user), ("agent", at.agent)] if at.user is not None else []
    probes: list[tuple[str, Any]] = [
        (
            f"probe: {a.arm}",
            {name: getattr(a, name) for name in ("probe", "answer", "score", "why", "stop")},
        )
        for a in at.probes
    ]
    when: dict[str, Any] = {"timestamp": source.end_time, "working_start": 0.0, "span_id": name}
    return [
        SpanBeginEvent(id=name, name=name, **when),
        *(InfoEvent(source=label, data=data, **when) for label, data in (*turns, *probes)),
        SpanEndEvent(id=name, **when),
    ]


def _results(source: Export, samples: Sequence[EvalSample]) -> EvalResults:
    """The metric over each control's conversations."""
    plans = {source.name(plan): plan for plan in source.plans}
    scores = []
    for control in source.controls:
        own = [one for one in samples if one.metadata["control"] == control]
        if not own:
            continue
        rows = [_values(one) for one in own]
        metrics = stability_table(np.array(rows, float), [plans[str(one.id)] for one in own])
        scores.append(
            EvalScore(
                name=control if source.several else JUDGE,
                scorer=JUDGE,
                scored_samples=len(own),
                metrics={
                    key: EvalMetric(name=key, group="stability", value=value)
                    for key, value in metrics.items()
                    if value == value  # the floor is asked under the first control alone
                },
            )
        )
    return EvalResults(
        total_samples=len(source.plans), completed_samples=len(samples), scores=scores
    )


def _values(sample: EvalSample) -> list[float]:
    value = (sample.scores or {})[JUDGE].value
    assert isinstance(value, dict)
    return [float(number) for number in value.values()]


def _usage(records: Sequence[RoundRecord]) -> ModelUsage:
    tokens = costs(records).tokens
    return model_usage(tokens.prompt, tokens.cached, tokens.completion)
