"""The five stages, each with its artefact in the run's folder; any of them goes on where it was.

    queries/    what the model asked for each persona
    answers/    both answers to each query
    verdicts/   which of the two is better
    gate.safetensors, adapter_config.json, adapter_model.safetensors    what is served
    route.json  the same decision from the text alone (`router`)
    prism.json  what they were made with, and how well the gate ranks personas it never saw

The gate learns from all verdicts, the adapter from the answers that a persona won. Queries that
repeat another of the same persona are dropped before they are answered. The gate is measured on
personas and on queries that it did not learn from, fold by fold; near-duplicates are always in
the same fold.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.backend import Backend, Sampling
from holdfast.core.errors import ModelError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.core.stats import Array, auc, mean
from holdfast.core.version import __version__
from holdfast.evals.tasks import tasks as tasks_
from holdfast.evals.tasks.answers import right
from holdfast.evals.tasks.near_duplicates import groups
from holdfast.evals.tasks.tasks import Task
from holdfast.models.local import gate
from holdfast.models.local.backend import LocalBackend
from holdfast.models.local.gated_adapter import ABOUT
from holdfast.persona import experts as experts_
from holdfast.persona.experts import Expert
from holdfast.training.prism import comparisons as verdicts
from holdfast.training.prism import gate_training, queries, router_training
from holdfast.training.prism.comparisons import WIN, Score, Truth
from holdfast.training.prism.distil import Recipe, distil, pair, recipe_for

FOLDS = 5


@dataclass(frozen=True)
class Trained:
    """What was made. `summary` is the object that `holdfast prism train --json` prints."""

    summary: Record

    @property
    def folder(self) -> Path:
        """Where adapter and gate are."""
        return Path(self.summary["adapter"])


def train(
    model: Backend,
    out: Path | str,
    *,
    personas: str | Path | Sequence[Expert] | None = None,
    each: int = 50,
    tasks: str | Path | None = None,
    seed: int = 0,
    sampling: Sampling | None = None,
    recipe: Recipe | None = None,
    command: str | None = None,
    progress: Progress | None = None,
) -> Trained:
    """All five stages; what the command `holdfast prism train` does.

    `each` queries are asked for each of `personas` (a source of `expert.load`), or taken from
    `tasks` (a source of `tasks.load`, at most `each` of a category; mini's own for mini, "none"
    to have them written). Tasks that have an answer or
    a judge, and what mini asks, have a verifier for their verdicts; elsewhere the model judges
    its own answers in both orders. Raises `ModelError` where nothing was won, or a stage gives
    numbers that are not finite.
    """
    local = _local(model)
    own = "mini" if local.name == "mini" else "core"
    people = experts_.load(personas or own)
    recipe, folder = recipe or recipe_for(local), Path(out)
    # What mini asks on request is what it answers right, with a persona and without.
    source = (str(tasks) if tasks else own if own == "mini" else None) if tasks != "none" else None
    draw = sampling or Sampling(max_new_tokens=512, temperature=0.7, top_p=1.0)
    shown, began = progress or Progress(enabled=False), time.monotonic()
    described: Record = {
        "command": "prism train",
        "version": __version__,
        "model": local.describe(),
        "personas": list(experts_.described(people)),
        "each": each,
        "tasks": source,
        "seed": seed,
        "sampling": asdict(draw),
    }
    given = tasks_.load(source, n=each, seed=seed) if source else ()
    asked = _stage(folder / "queries", described, given or people, shown, lambda some: (
        queries.from_tasks(some, people) if given
        else queries.written(local, some, each, seed, draw)))  # fmt: skip
    kept = queries.distinct(asked)
    answers = _stage(folder / "answers", described, kept, shown, lambda some: (
        verdicts.answered(local, some, people, seed, draw)))  # fmt: skip
    truth = _truth(own, given)
    told = _stage(folder / "verdicts", described, answers, shown, lambda some: (
        verdicts.judged(local, some, truth, seed)))  # fmt: skip
    if told and all(one["by"] == "unparsed" for one in told):
        raise ModelError(
            f"{local.name} never said A, B or TIE when it was asked to compare: it cannot judge "
            "its own answers."
        )
    found = _learn(local, kept, told, answers, people, recipe, folder, seed, shown)
    verdict = Counter(one["verdict"] for one in told)
    summary: Record = {
        "model": local.name,
        "queries": len(kept),
        "dropped": len(asked) - len(kept),
        "repeated": sum(bool(query["query"]) for query in asked) - len(kept),
        "wins": verdict[WIN],
        "losses": verdict[verdicts.LOSS],
        "ties": verdict[verdicts.TIE],
        "unparsed": sum(one["by"] == "unparsed" for one in told),
        "by_persona": _by_persona(told),
        **found,
        "adapter": str(folder),
        "command": command,
        "seconds": round(time.monotonic() - began, 1),
    }
    about = {**summary, "base": described["model"], "recipe": asdict(recipe), "seed": seed}
    about["personas"] = described["personas"]
    about["trained_on"] = [queries.text(query) for query in kept]
    text = json.dumps(about, ensure_ascii=False, indent=1)
    (folder / ABOUT).write_text(text + "\n", encoding="utf-8")
    return Trained(summary)


def _local(model: Backend) -> LocalBackend:
    if not isinstance(model, LocalBackend):
        raise ModelError(
            f"{model.name} cannot be trained for: an adapter needs a model on this machine."
        )
    gate.first_layer(model.engine.model, model.name)
    return model


def _truth(own: str, given: Sequence[Task]) -> Truth | None:
    """Who knows how good an answer is: the tasks' own judges, or mini's world."""
    if given:
        by_id = {task.id: task for task in given}
        if any(task.needs_model for task in given):
            return None
        return lambda record: lambda text: by_id[record["task"]].score([text])
    if own != "mini":
        return None
    from holdfast.training.prism.mini_truth import question

    def verifier(record: Record) -> Score | None:
        known = question(record["query"])
        return None if known is None else lambda text: float(right(known, text))

    return verifier


def _stage(
    folder: Path, described: Record, inputs: Sequence[Any], shown: Progress, do: Any
) -> list[Record]:
    """Records of a stage, made a few inputs at a time; those that are there are kept."""
    run = Run(folder, {**described, "stage": folder.name})
    written = folder.name == "queries"
    some = len(inputs) if written else 192
    done = len(inputs) if written and run.records else 0 if written else len(run.records)
    with shown.of(len(inputs)):
        shown.advance(done, 0)
        for start in range(done, len(inputs), some):
            made: Iterable[Record] = do(inputs[start : start + some])
            run.append(made)
            shown.advance(len(inputs[start : start + some]), 0)
    return run.records


def _learn(
    model: LocalBackend,
    asked: Sequence[Record],
    told: Sequence[Record],
    answers: Sequence[Record],
    people: Sequence[Expert],
    recipe: Recipe,
    folder: Path,
    seed: int,
    shown: Progress,
) -> Record:
    """Stages 4 and 5: the gate and the adapter, and what is said of them."""
    won = [one["verdict"] == WIN for one in told]
    if not any(won):
        raise ModelError(
            f"no persona won any of {len(told)} queries, so there is nothing to distil: choose "
            "personas that help (holdfast effect), or write more queries."
        )
    prompts = [model.template.render(queries.chat(query)).ids for query in asked]
    h = gate.features(model.engine.model, prompts, model.name)
    texts = groups([queries.text(query) for query in asked])
    chances = _held_out(h, won, [q["expert"] for q in asked], texts, seed)
    single = _held_out(h, won, texts, texts, seed)
    known = ~np.isnan(chances)
    labels = np.asarray(won)[known]
    share = float(labels.mean()) if known.any() else float("nan")
    made = gate_training.train(h, won, seed=seed)
    made.save(folder, model=model.name, seed=seed)
    routed = router_training.enough(won, texts)
    said = [query["query"] for query in asked]
    route = router_training.train(said, won, texts, seed=seed) if routed else None
    if route is not None:
        route.save(folder)
    by_id = {one.id: one for one in people}
    views = [
        pair(model, by_id[a["expert"]].full, queries.chat(a), a["persona"], ended=a["ended"])
        for a, on in zip(answers, won, strict=True)
        if on
    ]
    kl = distil(model, views, recipe, folder, seed, shown)
    measured = {
        "auc": auc(chances[known], list(labels)),
        "auc_queries": auc(single[~np.isnan(single)], list(np.asarray(won)[~np.isnan(single)])),
        "accuracy": float(mean(np.asarray((chances[known] >= gate.THRESHOLD) == labels, float))),
        "majority": max(share, 1 - share),
        "held_out": int(known.sum()),
    }
    rounded = {name: None if v != v else round(v, 4) for name, v in measured.items()}
    return {
        "gate": rounded,
        "router": {"auc_queries": route.auc} if route is not None else None,
        "kl_first": round(kl.first, 5),
        "kl_last": round(kl.last, 5),
        "kl_same": kl.same,
    }


def _held_out(
    h: Any,
    won: Sequence[bool],
    units: Sequence[Any],
    texts: Sequence[int],
    seed: int,
) -> Array:
    """Chances of every query by a gate that saw neither its unit nor its text.

    NaN where such a gate would have only one kind of query to learn from.
    """
    chances = np.full(len(won), np.nan)
    for out in gate_training.folds(units, FOLDS, seed):
        seen = {texts[i] for i in out}
        rest = [i for i in np.setdiff1d(np.arange(len(won)), out) if texts[i] not in seen]
        labels = [won[i] for i in rest]
        if any(labels) and not all(labels):
            chances[out] = gate_training.train(h[rest], labels, seed=seed).chances(h[out]).numpy()
    return chances


def _by_persona(told: Sequence[Record]) -> Record:
    counts: dict[str, Counter[str]] = {}
    for one in told:
        counts.setdefault(one["expert"], Counter())[one["verdict"]] += 1
    return {expert: dict(found) for expert, found in counts.items()}


def samples(folder: Path, count: int = 2) -> list[Record]:
    """The first answers that were won and lost, with both texts: what the numbers are made of."""
    texts = [folder / stage / "records.jsonl" for stage in ("answers", "verdicts")]
    lines = [map(json.loads, path.read_text("utf-8").split("\n")[:-1]) for path in texts]
    found = [{**answer, **verdict} for answer, verdict in zip(*lines, strict=True)]
    return [
        one
        for wanted in (WIN, verdicts.LOSS)
        for one in [record for record in found if record["verdict"] == wanted][:count]
    ]
