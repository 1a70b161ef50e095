"""The five stages of training, each with its artefact in the run's folder.

    queries/    what the model asked for each persona
    answers/    both answers to each query
    verdicts/   which of the two is better
    gate.safetensors, adapter_config.json, adapter_model.safetensors    what is served
    route.json  the same decision from the text alone (`control.router`)
    prism.json  what they were made with, and how well the gate ranks personas it never saw

A run that was stopped goes on where it was. The gate learns from all verdicts, the adapter from
the answers that a persona won. Queries that repeat another of the same persona are dropped before
they are answered. The gate is measured on personas and on queries that it did not learn from,
fold by fold; near-duplicates are always in the same fold.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from holdfast.core.backend import Backend
from holdfast.core.errors import ModelError
from holdfast.core.folder import lock, write_whole
from holdfast.core.progress import Progress
from holdfast.core.records import dumps, read_record
from holdfast.core.run import refuse_another_run, refuse_other_files
from holdfast.core.settings import settle
from holdfast.evals.tasks.tasks import load_tasks_with_form
from holdfast.models.local import gate
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.gated_adapter import ABOUT, read_about
from holdfast.models.notes import NOTES, own_source
from holdfast.persona.experts import Expert, describe_experts, load_experts
from holdfast.report.words import notes
from holdfast.results.training.prism import (
    AnswerComparison,
    AnswerPair,
    ControlVerdicts,
    Outcome,
    PrismAbout,
    PrismSummary,
    Query,
)
from holdfast.results.training.recipe import TrainingEstimate
from holdfast.training.adapter_card import prism_card, write_adapter_card
from holdfast.training.estimate import check_fits, show
from holdfast.training.prism.control_pairs import check_judge, positions, try_judge
from holdfast.training.prism.deciders import gate_warning, train_deciders
from holdfast.training.prism.distillation import (
    Distillation,
    Divergences,
    distil,
    linear_names,
    require_peft,
    two_views,
)
from holdfast.training.prism.plan import estimate_training
from holdfast.training.prism.queries import distinct_queries, query_chat, query_text
from holdfast.training.prism.settings import PrismSettings
from holdfast.training.prism.stages import (
    Training,
    cut_by_persona,
    make_answers,
    make_comparisons,
    make_queries,
)

JUDGE = "judge.json"


@dataclass(frozen=True)
class PrismResult:
    """A trained adapter with its gate."""

    summary: PrismSummary
    """What `holdfast prism train --json` prints."""
    answers: Sequence[AnswerPair]
    """Both answers to each query."""
    comparisons: Sequence[AnswerComparison]
    """Which of them is better, in the same order."""

    @property
    def folder(self) -> Path:
        """Where adapter and gate are."""
        return Path(self.summary.adapter)

    def examples(self, count: int = 2) -> list[tuple[AnswerPair, AnswerComparison]]:
        """The first answers that were won and lost, `count` of each."""
        both = list(zip(self.answers, self.comparisons, strict=True))
        outcomes: tuple[Outcome, ...] = ("win", "loss")
        return [
            one
            for outcome in outcomes
            for one in [pair for pair in both if pair[1].verdict == outcome][:count]
        ]


def train(
    model: Backend,
    settings: PrismSettings | None = None,
    *,
    out: Path | str,
    experts: Sequence[Expert] | None = None,
    judge: Backend | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    **changes: Any,
) -> PrismResult:
    """Train an adapter with its gate; what the command `holdfast prism train` does.

    Where a task has an answer or a judge a verifier decides, elsewhere the model, in both orders.

    Args:
        model: A model on this machine whose decoder is one list of layers.
        settings: What is asked and how the adapter is trained.
        out: The folder; the same call goes on there.
        experts: The personas, in place of a source in the settings.
        judge: Compares answers where nothing else decides; by default the model itself.
        command: The command that was given, for the summary.
        progress: Shows the steps of each stage.
        changes: Fields of the settings that differ from them.

    Raises:
        ModelError: The model cannot be trained or cannot judge, no persona won any query, or a
            stage gives numbers that are not finite.
        HoldfastError: It does not fit, nearly all first answers are cut, or the folder is in use.
    """
    start = time.monotonic()
    settings = settle(settings, PrismSettings, changes, model)
    training = _set_up(model, settings, Path(out), experts, progress, judge)
    _check_plan(training)
    _ = lock(training.folder)  # to the end, so that no other process trains there
    control = _control_judge(training)
    drafts = make_queries(training)
    queries = distinct_queries(drafts)
    answers = make_answers(training, queries)
    comparisons = make_comparisons(training, answers)
    distillation = Distillation.of(settings, training.model)
    if (summary := _read_summary(training, distillation)) is not None:
        return PrismResult(summary, answers, comparisons)
    wins = _wins(answers, comparisons)
    gate_scores, router_scores = train_deciders(training, queries, wins)
    summary = PrismSummary(
        model=training.model.name,
        **_counts(drafts, queries),
        **_outcomes(answers, comparisons),
        gate=gate_scores,
        router=router_scores,
        **_divergences(_distil(training, answers, wins, distillation)),
        control=control,
        adapter=str(training.folder),
        command=command,
        seconds=round(time.monotonic() - start, 1),
        note=notes(NOTES.get(training.model.name), gate_warning(gate_scores)),
    )
    _write_about(training, summary, queries, distillation)
    return PrismResult(summary, answers, comparisons)


def _set_up(
    model: Backend,
    settings: PrismSettings,
    folder: Path,
    experts: Sequence[Expert] | None = None,
    progress: Progress | None = None,
    judge: Backend | None = None,
) -> Training:
    if not isinstance(model, LocalBackend):
        raise ModelError(
            f"{model.name} cannot be trained for: an adapter needs a model on this machine."
        )
    settings.check()
    layers = gate.find_layers_name(model.engine.model, model.name)
    linear_names(model.engine.model, layers)  # refuses a model without any
    require_peft()
    own = own_source(model.name)
    # mini's own questions are too easy to separate personas, so it gets tasks by default.
    source = str(settings.tasks) if settings.tasks else ("mini" if own == "mini" else None)
    source = None if source == "none" else source
    n, seed, form = settings.queries, settings.seed, settings.form
    return Training(
        model,
        settings,
        tuple(experts) if experts is not None else load_experts(settings.personas or own),
        load_tasks_with_form(source, n=n, seed=seed, form=form) if source else (),
        source,
        folder,
        progress or Progress(enabled=False),
        judge,
    )


def _check_plan(training: Training) -> None:
    """Say what a training that begins will take, and refuse one that does not fit."""
    if not any((training.folder / name).exists() for name in (JUDGE, "queries")):
        refuse_other_files(training.folder)
        estimate = estimate_training(training)
        show(estimate, "prism train")
        check_fits(estimate, training.model, training.folder)


def plan_training(
    model: Backend, settings: PrismSettings | None = None, *, out: Path | str, **changes: Any
) -> TrainingEstimate:
    """What `train` with the same arguments would take; `holdfast prism train --plan`.

    Raises:
        HoldfastError: As `train`; and it does not fit.
    """
    settings = settle(settings, PrismSettings, changes, model)
    training = _set_up(model, settings, Path(out))
    estimate = estimate_training(training)
    check_fits(estimate, training.model, training.folder)
    return estimate


def _control_judge(training: Training) -> ControlVerdicts | None:
    """Try the judge on pairs with a known answer before it is needed; keep what it said."""
    path = training.folder / JUDGE
    if not training.needs_comparer or training.comparer is None:
        return None
    if path.exists():
        control = read_record(ControlVerdicts, json.loads(path.read_text("utf-8")), str(path))
        if control.judge == training.comparer.name:
            return control
    control = try_judge(training.comparer)
    check_judge(control)
    training.folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, dumps(control) + "\n")
    return control


def _wins(answers: Sequence[AnswerPair], comparisons: Sequence[AnswerComparison]) -> list[bool]:
    """Whether the persona won, query by query. Raises `ModelError` if it never or always did."""
    wins = [one.verdict == "win" for one in comparisons]
    if not any(wins):
        ties = sum(one.verdict == "tie" for one in comparisons)
        place = positions([one.said for one in comparisons])
        details = f", {place} named one place in both orders" if place else ""
        cut = [one for some in cut_by_persona(answers).values() for one in some]
        if any(cut):
            details += f"; the limit of tokens cut {sum(cut)} of {len(cut)} answers"
        raise ModelError(
            f"no persona won any of {len(wins)} queries ({ties} were ties{details}), so there is "
            "nothing to distil: choose personas that help (holdfast effect), tasks of middling "
            "difficulty, another `judge_model`, or write more queries."
        )
    if all(wins):
        raise ModelError(
            f"the personas won all {len(wins)} queries, and a gate learns from won and lost ones: "
            "add tasks that they do not help with (`tasks`), or keep them as system prompts."
        )
    return wins


def _distil(
    training: Training,
    answers: Sequence[AnswerPair],
    wins: Sequence[bool],
    distillation: Distillation,
) -> Divergences:
    """Train and save the adapter on the answers that the personas won."""
    prompts = {expert.id: expert.full for expert in training.experts}
    views = [
        two_views(
            training.model,
            prompts[pair.query.expert],
            query_chat(pair.query),
            pair.persona,
            ended=pair.ended,
        )
        for pair, win in zip(answers, wins, strict=True)
        if win
    ]
    folder, seed = training.folder, training.settings.seed
    return distil(training.model, views, distillation, folder, seed, training.progress)


def _read_summary(training: Training, distillation: Distillation) -> PrismSummary | None:
    """The summary of a training that is done; None before that.

    Raises:
        RunError: The folder's adapter was distilled otherwise, and would be lost.
    """
    path = training.folder / ABOUT
    if not path.exists():
        return None
    about = read_record(PrismAbout, read_about(training.folder), str(path))
    now = json.loads(dumps({"recipe": asdict(distillation)}))
    refuse_another_run(json.loads(dumps({"recipe": about.recipe})), now, training.folder)
    return replace(about.summary, adapter=str(training.folder))


def _counts(drafts: Sequence[Query], queries: Sequence[Query]) -> dict[str, Any]:
    """The fields of the summary that count queries."""
    return {
        "queries": len(queries),
        "dropped": len(drafts) - len(queries),
        "repeated": sum(bool(query.query) for query in drafts) - len(queries),
    }


def _divergences(kl: Divergences) -> dict[str, Any]:
    """The fields of the summary that say what the distillation reached."""
    return {
        "kl_first": round(kl.first, 5),
        "kl_last": round(kl.last, 5),
        "kl_same": kl.same,
        "too_long": kl.too_long,
        "mass": kl.mass,
    }


def _outcomes(
    answers: Sequence[AnswerPair], comparisons: Sequence[AnswerComparison]
) -> dict[str, Any]:
    """The fields of the summary that count outcomes, and answers that were cut."""
    total = Counter(one.verdict for one in comparisons)
    by_persona: dict[str, Counter[str]] = {}
    for one in comparisons:
        by_persona.setdefault(one.expert, Counter())[one.verdict] += 1
    return {
        "wins": total["win"],
        "losses": total["loss"],
        "ties": total["tie"],
        "unparsed": sum(one.by == "unparsed" for one in comparisons),
        "by_persona": {expert: dict(outcomes) for expert, outcomes in by_persona.items()},
        "cut": {who: round(sum(cut) / len(cut), 4) for who, cut in cut_by_persona(answers).items()},
    }


def _write_about(
    training: Training, summary: PrismSummary, queries: Sequence[Query], distillation: Distillation
) -> None:
    about = PrismAbout(
        summary=summary,
        base=training.model.describe(),
        recipe=asdict(distillation),
        seed=training.settings.seed,
        personas=tuple(describe_experts(training.experts)),
        trained_on=tuple(query_text(query) for query in queries),
    )
    write_adapter_card(training.folder, prism_card(about))
    write_whole(training.folder / ABOUT, dumps(about, indent=1) + "\n")
