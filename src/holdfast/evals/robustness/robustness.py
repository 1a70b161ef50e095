"""How much accuracy the wrong persona costs: the same tasks under every persona of a pool.

    A[persona, item] = share of samples that are right,  mean, worst, best, worst/best, …

over the personas, with intervals over the items (`lottery`, which has the equations). Every
item is asked with the same seeds, template and sampling under every persona, and without one.
An answer is looked for strictly and leniently (`verifier`), since a persona may change the
phrasing and not the reasoning; the matrix takes the lenient reading unless told otherwise.

This module plans and runs. `matrix` makes numbers of the records.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from holdfast import report
from holdfast.core.backend import Backend, Sampling
from holdfast.core.errors import HoldfastError
from holdfast.core.progress import Progress
from holdfast.core.records import Record
from holdfast.core.run import Run
from holdfast.core.seeds import seed_of
from holdfast.core.shards import Where, open_run
from holdfast.core.version import __version__
from holdfast.evals.robustness import persona_lottery as lottery
from holdfast.evals.robustness import summary as matrix
from holdfast.evals.tasks import questions, verifier
from holdfast.evals.tasks import tasks as tasks_
from holdfast.evals.tasks.asking import Arm, ask, batches
from holdfast.evals.tasks.math_equality import MathCheck
from holdfast.evals.tasks.settings import PLACES
from holdfast.evals.tasks.tasks import Task
from holdfast.models.notes import NOTES
from holdfast.persona import pool
from holdfast.persona.pool import Member
from holdfast.report.robustness import headline

READINGS = ("lenient", "strict")
# Where an answer is to stand, said with the question; a source that is not here is left as it is.
FORMS = {
    "gsm8k": "Reason step by step, and end with “#### ” and the number alone.",
    questions.MATH: "Reason step by step, and put the final answer in \\boxed{}.",
}


@dataclass(frozen=True)
class Robustness:
    """What was found. `summary` is the object that `holdfast robustness --json` prints."""

    summary: Record

    @property
    def rows(self) -> list[Record]:
        """One row per persona, in the pool's order."""
        return list(self.summary["rows"])

    @property
    def lottery(self) -> list[float]:
        """Expected accuracy of the best of k personas, k = 1…n."""
        return list(self.summary["lottery"])


def robustness(
    model: Backend,
    *,
    tasks: str | Path | None = None,
    personas: str | Path | Sequence[Member] | None = None,
    split: str = "all",
    n: int | None = None,
    samples: int = 1,
    seed: int = 0,
    sampling: Sampling | None = None,
    place: str = "system",
    verify: str = "auto",
    reading: str = "lenient",
    form: str | None = None,
    pss: str = "worst/best",
    search: bool = False,
    out: Path | str | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    where: Where = None,
) -> Robustness:
    """Measure accuracy under every persona; what the command `holdfast robustness` does.

    `tasks` is a source of `tasks.load` or "math-500", `personas` one of `pool.load` or members
    themselves; `mini` for the embedded model and `core` for others. `n` bounds the tasks of each
    category (of mini 20), `form` says where an answer is to stand (`FORMS`; "" for nothing).
    `verify` is one of `verifier.CHOSEN`, `reading` of `READINGS`, `pss` of `lottery.PSS`.
    `search` chooses the best persona on half of the items and scores it on the others; `where`
    says where batches are asked (`cluster`). Raises
    HoldfastError for what the user can mend.
    """
    _check(samples, place, reading, pss)
    own = "mini" if model.name == "mini" else "core"
    people = _people(personas or own, split)
    whole = load(tasks or own, n=n, seed=seed, form=form)
    # The built-in tasks have some that only a model can judge; the user's own must all be right.
    kept = [t for t in whole if str(tasks or own) not in ("core", "mini") or not t.needs_model]
    kinds = {task.id: verifier.verifier(task, verify) for task in kept}
    if len(people) < 2 or len(kept) < 2:
        raise HoldfastError(
            f"at least 2 personas and 2 tasks are needed, not {len(people)} and {len(kept)}."
        )
    drawn = sampling or Sampling(max_new_tokens=512, temperature=0.0)
    described: Record = {
        "command": "robustness",
        "version": __version__,
        "model": model.describe(),
        "tasks": [asdict(task) for task in kept],
        "personas": pool.described(people),
        "place": place,
        "samples": samples,
        "seed": seed,
        "sampling": asdict(drawn),
    }
    run: Run[Record] = open_run(out, described, where=where)
    began = time.monotonic()
    arms = (Arm(), *(Arm("pool", "", place, one.id, one.text) for one in people))
    units = ((task, sample, arms) for task in kept for sample in range(samples))
    asked = [(0, batch) for batch in batches(units)]
    ask(run, asked, [model], drawn, seed, progress or Progress(enabled=False, step="items"), where)
    with MathCheck() as math:
        found = matrix.Answers.of(run.records, kept, people, kinds, math)
    page = run.folder / "report.html" if run.folder else None
    numbers = matrix.summed(found, reading, pss, search, seed)
    summary: Record = {
        "model": model.name,
        "command": command,
        "headline": headline(numbers),
        **numbers,
        "lost": matrix.lost(found, run.records, reading),
        "samples": samples,
        "seed": seed,
        "place": place,
        "verifiers": {kind: sum(k == kind for k in kinds.values()) for kind in kinds.values()},
        "left_out": [t.id for t in whole if t not in kept],
        "seconds": round(time.monotonic() - began, 1),
        "note": NOTES.get(model.name),
        "report": str(page) if page else None,
    }
    run.finish(summary)
    if page:
        report.write_robustness(summary, page)
    return Robustness(summary)


def _people(personas: str | Path | Sequence[Member], split: str) -> tuple[Member, ...]:
    if isinstance(personas, str | Path):
        return pool.load(personas, split=split)
    return tuple(personas)


def _check(samples: int, place: str, reading: str, pss: str) -> None:
    if samples < 1:
        raise HoldfastError(f"at least 1 sample of each task is needed, not {samples}")
    for given, known, what in (
        (place, PLACES, "placement"),
        (reading, READINGS, "reading"),
        (pss, tuple(lottery.PSS), "PSS"),
    ):
        if given not in known:
            raise HoldfastError(f"there is no {what} {given!r}: use {', '.join(known)}.")


def load(
    source: str | Path, *, n: int | None = None, seed: int = 0, form: str | None = None
) -> tuple[Task, ...]:
    """Tasks of a source, with where the answer is to stand said at the end of the last turn.

    Of `mini` those with one right answer. Raises HoldfastError as `tasks.load` does.
    """
    name = str(source)
    if name == questions.MATH:
        drawn = questions.hub(name, n or 500, random.Random(seed_of("questions", name, seed)))
        found = tuple(tasks_.of_question(q, f"{name}-{i}") for i, q in enumerate(drawn))
    else:
        found = tasks_.load(source, n=n, seed=seed)
    if name == "mini":
        found = tuple(task for task in found if task.question)
    text = FORMS.get(name, "") if form is None else form
    if not text:
        return found
    return tuple(
        replace(task, turns=(*task.turns[:-1], f"{task.turns[-1]}\n\n{text}")) for task in found
    )
